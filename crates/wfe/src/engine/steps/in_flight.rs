//! Which bodies the hosts of this process have taken up and that have not ended, and where each of them stands.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use wfe_core::executor::{Job, StepExecution};

use crate::engine::message::Mail;

/// Those of all hosts of this process. An instance that one of them gave back, or lost, may be claimed by another one, or
/// by itself, while a body of it still runs here; the store cannot tell that. Instances are told apart by their ids, which
/// differ from store to store but for copies of a database.
static HOSTS: LazyLock<Mutex<Vec<Weak<AtHand>>>> = LazyLock::new(Mutex::default);

/// The bodies of one host. One whose result is not wanted any more is among them until it has ended or was dropped.
pub(crate) struct AtHand {
    instances: Mutex<HashMap<Arc<str>, Instance>>,
    made: AtomicU64,
}

#[derive(Default)]
struct Instance {
    bodies: Vec<Hand>,
    /// Pointers that wait until an earlier body of their step has ended.
    held: Vec<String>,
    /// The instance waits as a whole: it may kill its process, and others run before it.
    is_set_aside: bool,
}

impl Instance {
    fn is_idle(&self) -> bool {
        self.bodies.is_empty() && self.held.is_empty() && !self.is_set_aside
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It waits for a place.
    Waits,
    Runs(DateTime<Utc>),
    /// It waits until an earlier body of the step has ended.
    Held,
}

struct Hand {
    number: u64,
    place: StepExecution,
    stand: Stand,
    token: CancellationToken,
    /// Who waits for its end beside its own actor, and as which job.
    waiting: Vec<(UnboundedSender<Mail>, u64)>,
}

impl AtHand {
    /// Stands for an instance where the id of a pointer would be.
    pub const WHOLE: &str = "";

    pub fn new() -> Arc<Self> {
        let this = Arc::new(Self { instances: Mutex::default(), made: AtomicU64::new(0) });
        let mut hosts = lock(&HOSTS);
        hosts.retain(|host| host.strong_count() > 0);
        hosts.push(Arc::downgrade(&this));
        drop(hosts);
        this
    }

    /// A body was taken up. Gives the number by which it is known here.
    pub fn add(&self, instance: &Arc<str>, job: &Job) -> u64 {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let (place, token) = (job.place(), job.token().clone());
        let hand = Hand { number, place, stand: Stand::Waits, token, waiting: Vec::new() };
        lock(&self.instances).entry(instance.clone()).or_default().bodies.push(hand);
        number
    }

    pub fn begins(&self, instance: &str, number: u64, time: DateTime<Utc>) {
        let mut instances = lock(&self.instances);
        let mut bodies = instances.get_mut(instance).into_iter().flat_map(|of| &mut of.bodies);
        if let Some(hand) = bodies.find(|hand| hand.number == number) {
            hand.stand = Stand::Runs(time);
        }
    }

    /// The body has ended. Whoever else waited for that is told.
    pub fn remove(&self, instance: &str, number: u64) {
        let mut instances = lock(&self.instances);
        let Some(of) = instances.get_mut(instance) else { return };
        let ended =
            of.bodies.iter().position(|hand| hand.number == number).map(|at| of.bodies.swap_remove(at));
        if of.is_idle() {
            instances.remove(instance);
        }
        drop(instances);
        for (mail, job) in ended.into_iter().flat_map(|hand| hand.waiting) {
            // It fails only if whoever waited has ended.
            let _void = mail.send(Mail::NotRun(job));
        }
    }

    /// These pointers of the instance, and no others, wait until an earlier body of their step has ended.
    pub fn hold(&self, instance: &Arc<str>, held: Vec<String>) {
        let mut instances = lock(&self.instances);
        let of = instances.entry(instance.clone()).or_default();
        of.held = held;
        if of.is_idle() {
            instances.remove(instance);
        }
    }

    /// Whether the instance waits as a whole.
    pub fn set_aside(&self, instance: &str, is_set_aside: bool) {
        let mut instances = lock(&self.instances);
        let of = instances.entry(instance.into()).or_default();
        of.is_set_aside = is_set_aside;
        if of.is_idle() {
            instances.remove(instance);
        }
    }

    /// Where the bodies of the instance stand that are wanted: where the body of one that is not goes on, its pointer is
    /// further than that.
    pub fn of(&self, instance: &str) -> HashMap<String, Stand> {
        let instances = lock(&self.instances);
        let Some(of) = instances.get(instance) else { return HashMap::new() };
        let wanted = of.bodies.iter().filter(|hand| !hand.token.is_cancelled());
        let held = of.held.iter().map(|pointer| (pointer.clone(), Stand::Held));
        let whole = of.is_set_aside.then(|| (Self::WHOLE.to_owned(), Stand::Waits));
        let wanted = wanted.map(|hand| (hand.place.pointer().to_owned(), hand.stand));
        held.chain(wanted).chain(whole).collect()
    }

    /// All bodies of the instance that have not ended in this process, whichever host has begun them. The end of each is
    /// mailed as that of a job of its own: these jobs are numbered from `from` on.
    pub fn in_process(instance: &str, mail: &UnboundedSender<Mail>, from: u64) -> Vec<(u64, StepExecution)> {
        let hosts: Vec<_> = lock(&HOSTS).iter().filter_map(Weak::upgrade).collect();
        let (mut found, mut job) = (Vec::new(), from);
        for host in hosts {
            for hand in lock(&host.instances).get_mut(instance).into_iter().flat_map(|of| &mut of.bodies) {
                hand.waiting.push((mail.clone(), job));
                found.push((job, hand.place.clone()));
                job += 1;
            }
        }
        found
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding one; if it did, what it guards would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
