//! Bodies that have not ended.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::steps::Place;

/// Bodies at work, between the [`Run`](super::Run) that has begun them and the one that goes on in its place.
#[derive(Default)]
pub struct RunningBodies {
    pub(super) running: HashMap<String, Working>,
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
pub(super) struct Working {
    pub job: u64,
    pub place: Arc<Place>,
    pub token: CancellationToken,
    /// How long it may take.
    pub allowed: Option<Duration>,
    /// When it has had its time; `None`: it has not begun, or may take as long as it likes.
    pub limit: Option<DateTime<Utc>>,
}

/// A body that lingers.
pub(super) struct Lingering {
    /// The place of its pointer.
    pub path: String,
    /// The place that its idempotency key names. It differs in a compensation, with which another saga may go on.
    pub named: String,
}
