//! Records the bodies that the hosts of this process have queued or started and that have not ended yet. The state of
//! each body is also recorded.

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
    traits::RunningBody,
};

use crate::engine::instance::mail::{Mail, MailSender};

/// The bodies of all hosts of this process. A host may release or lose an instance while a body of the instance still
/// runs here. Another host, or the same host, may then claim the instance, because the store is not aware of the body.
/// Instances are identified by their ids. Two stores contain the same id only if one database is a copy of the other.
static HOSTS: LazyLock<Mutex<Vec<Weak<InFlight>>>> = LazyLock::new(Mutex::default);

/// The bodies of one host. A cancelled body is included until it has ended or was dropped.
pub(in crate::engine) struct InFlight {
    instances: Mutex<HashMap<Arc<str>, Instance>>,
    made: AtomicU64,
}

#[derive(Default)]
struct Instance {
    bodies: Vec<Body>,
    /// Pointers that wait until an earlier body of their step has ended.
    held: Vec<String>,
    /// The instance waits as a whole: it may crash its process, so other instances run before it.
    is_set_aside: bool,
}

impl Instance {
    fn is_idle(&self) -> bool {
        self.bodies.is_empty() && self.held.is_empty() && !self.is_set_aside
    }
}

/// The state of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyState {
    /// The body waits for a slot.
    Waits,
    /// The body has been running since this time.
    Runs(DateTime<Utc>),
    /// The body waits until an earlier body of the step has ended.
    Held,
}

/// The states of the bodies of an instance.
#[derive(Debug, Default)]
pub(crate) struct BodyStates {
    of: HashMap<String, BodyState>,
    /// The instance waits as a whole.
    is_set_aside: bool,
}

impl BodyStates {
    /// Returns the state of the body at this pointer, or `None` if the pointer has no body.
    pub fn at(&self, pointer: &str) -> Option<BodyState> {
        self.of.get(pointer).copied()
    }

    /// Whether the instance waits as a whole: it may crash its process, so other instances run before it.
    pub fn is_set_aside(&self) -> bool {
        self.is_set_aside
    }
}

struct Body {
    number: u64,
    execution: StepExecution,
    state: BodyState,
    token: CancellationToken,
    /// The other actors that wait for the end of the body, each with the job number that the actor uses for the body.
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

    /// Adds a body that waits for a slot. Returns the number by which this list identifies the body.
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

    /// Removes a body that has ended, and notifies the other actors that waited for its end.
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
            // The mail is discarded if the actor has ended.
            mail.send(Mail::NotRun(job));
        }
    }

    /// Records that exactly these pointers of the instance wait until an earlier body of their step has ended.
    pub fn hold(&self, instance: &Arc<str>, held: Vec<String>) {
        let mut instances = lock(&self.instances);
        let of = instances.entry(instance.clone()).or_default();
        of.held = held;
        if of.is_idle() {
            instances.remove(instance);
        }
    }

    /// Records whether the instance waits as a whole.
    pub fn set_aside(&self, instance: &str, is_set_aside: bool) {
        let mut instances = lock(&self.instances);
        let of = instances.entry(instance.into()).or_default();
        of.is_set_aside = is_set_aside;
        if of.is_idle() {
            instances.remove(instance);
        }
    }

    /// Returns the states of the bodies of the instance, except for cancelled bodies: if a cancelled body still runs,
    /// its pointer has already moved on.
    pub fn of(&self, instance: &str) -> BodyStates {
        let instances = lock(&self.instances);
        let Some(of) = instances.get(instance) else { return BodyStates::default() };
        let held = of.held.iter().map(|pointer| (pointer.clone(), BodyState::Held));
        let wanted = of.bodies.iter().filter(|body| !body.token.is_cancelled());
        let wanted = wanted.map(|body| (body.execution.pointer().to_owned(), body.state));
        BodyStates { of: held.chain(wanted).collect(), is_set_aside: of.is_set_aside }
    }

    /// Returns the number of bodies that run on this host, including cancelled ones, and the `most` of them that have run
    /// longest, oldest first.
    pub fn running(&self, most: usize) -> (u64, Vec<RunningBody>) {
        let instances = lock(&self.instances);
        let mut running: Vec<_> = instances
            .iter()
            .flat_map(|(instance, of)| of.bodies.iter().map(move |body| (instance, body)))
            .filter_map(|(instance, body)| match body.state {
                BodyState::Runs(since) => Some((since, instance, body)),
                BodyState::Waits | BodyState::Held => None,
            })
            .collect();
        running.sort_by_key(|(since, instance, body)| (*since, *instance, body.number));
        let described = |(since, instance, body): &(DateTime<Utc>, &Arc<str>, &Body)| RunningBody {
            instance: instance.to_string(),
            step: body.execution.step().to_owned(),
            since: *since,
        };
        (running.len() as u64, running.iter().take(most).map(described).collect())
    }

    /// Returns all bodies of the instance that this process has queued or started and that have not ended yet,
    /// whichever host they belong to. The end of each body is mailed as the end of a separate job. These jobs are
    /// numbered consecutively, starting with `from`.
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
