//! Bodies that have not ended.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::{limits::later, steps::Place};

/// Bodies at work, between the [`Run`](super::Run) that has begun them and the one that goes on in its place.
#[derive(Default)]
pub struct RunningBodies {
    pub(super) running: HashMap<String, RunningBody>,
    /// Those whose results are not wanted any more, and that have not ended.
    pub(super) lingering: HashMap<u64, Lingering>,
    /// Those of them who have not been told so.
    pub(super) cancelled: Vec<CancellationToken>,
    pub(super) jobs: u64,
}

impl RunningBodies {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.lingering.is_empty()
    }

    /// The next jobs get numbers above this one: how a body ended that nobody waits for any more is not taken for how
    /// another one did.
    #[must_use]
    pub fn numbered_after(mut self, job: u64) -> Self {
        self.jobs = self.jobs.max(job);
        self
    }
}

/// A body at work.
pub(in crate::executor) struct RunningBody {
    pub job: u64,
    pub place: Arc<Place>,
    pub token: CancellationToken,
    /// How long it may take.
    pub allowed: Option<Duration>,
    /// When it has had its time; `None`: it has not begun, or may take as long as it likes.
    pub limit: Option<DateTime<Utc>>,
}

/// A body that lingers.
pub(in crate::executor) struct Lingering {
    /// The place of its pointer.
    pub path: String,
    /// The place that its idempotency key names. It differs in a compensation, with which another saga may go on.
    pub named: String,
}

/// The bodies of an instance that have not ended, and those that may begin.
#[derive(Default)]
pub(in crate::executor) struct Bodies {
    at_work: RunningBodies,
    /// When a body at work has had its time, and which job it is.
    limits: BTreeSet<(DateTime<Utc>, String, u64)>,
    /// Pointers whose bodies may begin once they are stored.
    ready: Vec<String>,
}

impl Bodies {
    /// How many are at work whose results are wanted.
    pub fn running(&self) -> usize {
        self.at_work.running.len()
    }

    /// Whether a body lingers.
    pub fn has_lingering(&self) -> bool {
        !self.at_work.lingering.is_empty()
    }

    /// The places of those that linger.
    pub fn lingering(&self) -> impl Iterator<Item = &Lingering> {
        self.at_work.lingering.values()
    }

    /// Whether the body of this job is at work.
    pub fn runs(&self, job: u64) -> bool {
        self.at_work.running.values().any(|work| work.job == job)
    }

    /// Whether the body of this job is at work for this pointer.
    pub fn runs_at(&self, pointer: &str, job: u64) -> bool {
        self.at_work.running.get(pointer).is_some_and(|work| work.job == job)
    }

    /// A number that no body of the instance has had.
    pub fn next_job(&mut self) -> u64 {
        self.at_work.jobs += 1;
        self.at_work.jobs
    }

    /// Later jobs get higher numbers than this one.
    pub fn number_after(&mut self, job: u64) {
        self.at_work.jobs = self.at_work.jobs.max(job);
    }

    /// The body of this pointer is at work.
    pub fn add(&mut self, pointer: String, work: RunningBody) {
        self.limits.extend(work.limit.map(|limit| (limit, pointer.clone(), work.job)));
        self.at_work.running.insert(pointer, work);
    }

    /// The time of this job's body runs from now on, if it is limited.
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

    /// When the next body has had its time; `None`: none is limited.
    pub fn next_limit(&self) -> Option<DateTime<Utc>> {
        self.limits.first().map(|(at, ..)| *at)
    }

    /// A pointer whose body has had its time.
    pub fn take_timed_out(&mut self, now: DateTime<Utc>) -> Option<String> {
        while self.next_limit().is_some_and(|at| at <= now) {
            let (_, pointer, job) = self.limits.pop_first()?;
            if self.runs_at(&pointer, job) {
                return Some(pointer);
            }
        }
        None
    }

    /// The pointer's body has ended, or is no longer wanted.
    pub fn remove(&mut self, pointer: &str) -> Option<RunningBody> {
        let work = self.at_work.running.remove(pointer)?;
        if let Some(limit) = work.limit {
            self.limits.remove(&(limit, pointer.to_owned(), work.job));
        }
        Some(work)
    }

    /// The body of this job goes on, though its result is not wanted any more.
    pub fn linger(&mut self, job: u64, place: Lingering) {
        self.at_work.lingering.insert(job, place);
    }

    /// The body of this job lingers no more; `false`: it did not.
    pub fn over(&mut self, job: u64) -> bool {
        self.at_work.lingering.remove(&job).is_some()
    }

    /// A body is told, after the next commit, that its result is not wanted.
    pub fn cancel(&mut self, token: CancellationToken) {
        self.at_work.cancelled.push(token);
    }

    pub fn take_cancelled(&mut self) -> Vec<CancellationToken> {
        std::mem::take(&mut self.at_work.cancelled)
    }

    /// The body of this pointer may begin once that is stored.
    pub fn make_ready(&mut self, pointer: String) {
        self.ready.push(pointer);
    }

    pub fn ready(&self) -> &[String] {
        &self.ready
    }

    pub fn take_ready(&mut self) -> Vec<String> {
        std::mem::take(&mut self.ready)
    }

    /// The body of this pointer does not begin.
    pub fn not_ready(&mut self, pointer: &str) {
        self.ready.retain(|id| id != pointer);
    }

    /// The bodies at work, for the `Run` that goes on in place of this one.
    pub fn leave(&mut self) -> RunningBodies {
        let jobs = self.at_work.jobs;
        std::mem::replace(&mut self.at_work, RunningBodies { jobs, ..RunningBodies::default() })
    }

    /// Goes on with what an earlier `Run` has left, but for the bodies whose results it wanted: those are given back.
    pub fn take_over(&mut self, left: RunningBodies) -> HashMap<String, RunningBody> {
        self.at_work.jobs = left.jobs;
        self.at_work.cancelled.extend(left.cancelled);
        self.at_work.lingering.extend(left.lingering);
        left.running
    }
}
