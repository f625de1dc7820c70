//! The bodies of an instance that have not ended.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::{limits::later, steps::Execution};

/// The running bodies that one [`Run`](super::Run) hands over to the next `Run` of the same instance.
#[derive(Default)]
pub struct RunningBodies {
    pub(super) running: HashMap<String, RunningBody>,
    /// The bodies that have not ended, although their results are no longer needed. The key is the number of the job.
    pub(super) lingering: HashMap<u64, Lingering>,
    /// The tokens by which cancelled bodies are still to be notified.
    pub(super) cancelled: Vec<CancellationToken>,
    pub(super) jobs: u64,
}

impl RunningBodies {
    /// Whether no body is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.lingering.is_empty()
    }

    /// Gives later jobs higher numbers than `job`. This way, the end of an abandoned body is not mistaken for the end
    /// of another body.
    #[must_use]
    pub fn numbered_after(mut self, job: u64) -> Self {
        self.jobs = self.jobs.max(job);
        self
    }
}

/// A running body.
pub(super) struct RunningBody {
    pub job: u64,
    pub execution: Arc<Execution>,
    pub token: CancellationToken,
    /// The time limit of the body's attempt.
    pub allowed: Option<Duration>,
    /// The time at which the body's attempt times out. `None` means that the body has not begun, or that the attempt
    /// has no time limit.
    pub limit: Option<DateTime<Utc>>,
}

/// A lingering body: it has not ended, although its result is no longer needed.
pub(super) struct Lingering {
    /// The attempt path of the body's pointer.
    pub path: String,
    /// The attempt path that the body's idempotency key contains. In a compensation, this attempt path may differ from
    /// `path`, because another saga may continue the compensation.
    pub named: String,
}

/// The bodies of an instance that have not ended, and the bodies that may begin.
#[derive(Default)]
pub(super) struct Bodies {
    at_work: RunningBodies,
    /// The time limits of the running bodies. An entry contains the time at which a body times out, the body's pointer
    /// and the body's job.
    limits: BTreeSet<(DateTime<Utc>, String, u64)>,
    /// The pointers whose bodies may begin once the pointers are stored.
    ready: Vec<String>,
    /// The pointers that were pending when the instance was opened. An earlier [`Run`](super::Run) may have begun their
    /// bodies.
    reopened: HashSet<String>,
}

impl Bodies {
    /// The number of running bodies whose results are still needed.
    pub fn running(&self) -> usize {
        self.at_work.running.len()
    }

    /// Notes that an earlier `Run` may have begun the body of this pointer.
    pub fn reopened(&mut self, pointer: String) {
        self.reopened.insert(pointer);
    }

    /// Whether an earlier `Run` may have begun the body of this pointer.
    pub fn may_have_begun(&self, pointer: &str) -> bool {
        self.reopened.contains(pointer)
    }

    /// Whether a body lingers.
    pub fn has_lingering(&self) -> bool {
        !self.at_work.lingering.is_empty()
    }

    /// The attempt paths of the lingering bodies.
    pub fn lingering(&self) -> impl Iterator<Item = &Lingering> {
        self.at_work.lingering.values()
    }

    /// Whether the body of this job is running.
    pub fn runs(&self, job: u64) -> bool {
        self.at_work.running.values().any(|work| work.job == job)
    }

    /// Whether the body of this job is running for this pointer.
    pub fn runs_at(&self, pointer: &str, job: u64) -> bool {
        self.at_work.running.get(pointer).is_some_and(|work| work.job == job)
    }

    /// Returns a job number that no body of the instance has had.
    pub fn next_job(&mut self) -> u64 {
        self.at_work.jobs += 1;
        self.at_work.jobs
    }

    /// Gives later jobs higher numbers than `job`.
    pub fn number_after(&mut self, job: u64) {
        self.at_work.jobs = self.at_work.jobs.max(job);
    }

    /// Adds the running body of this pointer.
    pub fn add(&mut self, pointer: String, work: RunningBody) {
        self.limits.extend(work.limit.map(|limit| (limit, pointer.clone(), work.job)));
        self.at_work.running.insert(pointer, work);
    }

    /// Starts the time limit of this job's body, if it has one.
    pub fn begun(&mut self, pointer: &str, job: u64, now: DateTime<Utc>) {
        if let Some(work) = self.at_work.running.get_mut(pointer)
            && work.job == job
            && let (Some(allowed), None) = (work.allowed, work.limit)
        {
            let limit = later(now, allowed);
            work.limit = Some(limit);
            self.limits.insert((limit, pointer.to_owned(), job));
        }
    }

    /// The time at which the next body times out, or `None` if no running body has a time limit.
    pub fn next_limit(&self) -> Option<DateTime<Utc>> {
        self.limits.first().map(|(at, ..)| *at)
    }

    /// Returns the next pointer whose body has timed out, and removes the time limit of this body.
    pub fn take_timed_out(&mut self, now: DateTime<Utc>) -> Option<String> {
        while self.next_limit().is_some_and(|at| at <= now) {
            let (_, pointer, job) = self.limits.pop_first()?;
            if self.runs_at(&pointer, job) {
                return Some(pointer);
            }
        }
        None
    }

    /// Removes the body of the pointer, because the body has ended or its result is no longer needed.
    pub fn remove(&mut self, pointer: &str) -> Option<RunningBody> {
        let work = self.at_work.running.remove(pointer)?;
        if let Some(limit) = work.limit {
            self.limits.remove(&(limit, pointer.to_owned(), work.job));
        }
        Some(work)
    }

    /// Notes that the body of this job lingers.
    pub fn linger(&mut self, job: u64, place: Lingering) {
        self.at_work.lingering.insert(job, place);
    }

    /// Notes that the body of this job no longer lingers. Returns `false` if the body did not linger.
    pub fn over(&mut self, job: u64) -> bool {
        self.at_work.lingering.remove(&job).is_some()
    }

    /// Cancels the token of a body after the next commit, because the body's result is no longer needed.
    pub fn cancel(&mut self, token: CancellationToken) {
        self.at_work.cancelled.push(token);
    }

    pub fn take_cancelled(&mut self) -> Vec<CancellationToken> {
        std::mem::take(&mut self.at_work.cancelled)
    }

    /// Lets the body of this pointer begin once the pointer is stored.
    pub fn make_ready(&mut self, pointer: String) {
        self.ready.push(pointer);
    }

    pub fn ready(&self) -> &[String] {
        &self.ready
    }

    pub fn take_ready(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ready)
    }

    /// Prevents the body of this pointer from beginning.
    pub fn not_ready(&mut self, pointer: &str) {
        self.ready.retain(|id| id != pointer);
    }

    /// Hands over the running bodies to the `Run` that replaces this `Run`.
    pub fn leave(&mut self) -> RunningBodies {
        let jobs = self.at_work.jobs;
        std::mem::replace(&mut self.at_work, RunningBodies { jobs, ..RunningBodies::default() })
    }

    /// Takes over the bodies of an earlier `Run`. Returns the bodies whose results the earlier `Run` still needed.
    pub fn take_over(&mut self, left: RunningBodies) -> HashMap<String, RunningBody> {
        self.at_work.jobs = left.jobs;
        self.at_work.cancelled.extend(left.cancelled);
        self.at_work.lingering.extend(left.lingering);
        left.running
    }
}
