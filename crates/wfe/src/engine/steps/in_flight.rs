//! Which bodies the hosts of this process have taken up and that have not ended, and how far each of them has come.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use wfe_core::{
    executor::{Job, StepExecution},
    sync::lock,
};

use crate::engine::instance::mail::{Mail, MailSender};

/// Those of all hosts of this process. An instance that one of them gave back, or lost, may be claimed by another one, or
/// by itself, while a body of it still runs here; the store does not know that. Instances are told apart by their ids, which
/// differ from store to store but for copies of a database.
static HOSTS: LazyLock<Mutex<Vec<Weak<InFlight>>>> = LazyLock::new(Mutex::default);

/// The bodies of one host. A cancelled one is among them until it has ended or was dropped.
pub(in crate::engine) struct InFlight {
    instances: Mutex<HashMap<Arc<str>, Instance>>,
    made: AtomicU64,
}

#[derive(Default)]
struct Instance {
    bodies: Vec<Body>,
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

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyState {
    /// It waits for a slot.
    Waits,
    /// It runs, since then.
    Runs(DateTime<Utc>),
    /// It waits until an earlier body of the step has ended.
    Held,
}

/// How far the bodies of an instance have come.
#[derive(Debug, Default)]
pub(crate) struct BodyStates {
    of: HashMap<String, BodyState>,
    /// The instance waits as a whole.
    is_set_aside: bool,
}

impl BodyStates {
    /// That of the body at this pointer; `None`: none was taken up.
    pub fn at(&self, pointer: &str) -> Option<BodyState> {
        self.of.get(pointer).copied()
    }

    /// Whether the instance waits as a whole: it may kill its process, and others run before it.
    pub fn is_set_aside(&self) -> bool {
        self.is_set_aside
    }
}

struct Body {
    number: u64,
    execution: StepExecution,
    state: BodyState,
    token: CancellationToken,
    /// The actors that wait for its end beside its own, and as which job.
    waiting: Vec<(MailSender, u64)>,
}

impl InFlight {
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
        let (execution, token) = (job.execution(), job.token().clone());
        let body = Body { number, execution, state: BodyState::Waits, token, waiting: Vec::new() };
        lock(&self.instances).entry(instance.clone()).or_default().bodies.push(body);
        number
    }

    pub fn begins(&self, instance: &str, number: u64, time: DateTime<Utc>) {
        let mut instances = lock(&self.instances);
        let mut bodies = instances.get_mut(instance).into_iter().flat_map(|of| &mut of.bodies);
        if let Some(body) = bodies.find(|body| body.number == number) {
            body.state = BodyState::Runs(time);
        }
    }

    /// The body has ended. Other actors that waited for that get mail.
    pub fn remove(&self, instance: &str, number: u64) {
        let mut instances = lock(&self.instances);
        let Some(of) = instances.get_mut(instance) else { return };
        let ended =
            of.bodies.iter().position(|body| body.number == number).map(|at| of.bodies.swap_remove(at));
        if of.is_idle() {
            instances.remove(instance);
        }
        drop(instances);
        for (mail, job) in ended.into_iter().flat_map(|body| body.waiting) {
            // Void if the actor has ended.
            mail.send(Mail::NotRun(job));
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

    /// How far the bodies of the instance have come, but for cancelled ones: where such a body goes on, its pointer has come
    /// further than that.
    pub fn of(&self, instance: &str) -> BodyStates {
        let instances = lock(&self.instances);
        let Some(of) = instances.get(instance) else { return BodyStates::default() };
        let held = of.held.iter().map(|pointer| (pointer.clone(), BodyState::Held));
        let wanted = of.bodies.iter().filter(|body| !body.token.is_cancelled());
        let wanted = wanted.map(|body| (body.execution.pointer().to_owned(), body.state));
        BodyStates { of: held.chain(wanted).collect(), is_set_aside: of.is_set_aside }
    }

    /// All bodies of the instance that have not ended in this process, whichever host has begun them. The end of each is
    /// mailed as that of a job of its own: these jobs are numbered from `from` on.
    pub fn in_process(instance: &str, mail: &MailSender, from: u64) -> Vec<(u64, StepExecution)> {
        let hosts: Vec<_> = lock(&HOSTS).iter().filter_map(Weak::upgrade).collect();
        let (mut found, mut job) = (Vec::new(), from);
        for host in hosts {
            for body in lock(&host.instances).get_mut(instance).into_iter().flat_map(|of| &mut of.bodies) {
                body.waiting.push((mail.clone(), job));
                found.push((job, body.execution.clone()));
                job += 1;
            }
        }
        found
    }
}
