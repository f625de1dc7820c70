//! The claims of the workers in this process: they are counted, and none is kept that will not be answered.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::JoinHandle};
use wfe_core::Family;

use super::ActivityClaim;
use crate::{engine::state::claim_count::Counted, store::loss::warn_unless_lost};

/// A claim of a worker. It is given back when it is dropped, unless it was answered or lost: others need not wait for its
/// lease.
pub(in crate::external_tasks) struct Held {
    pub claim: Arc<ActivityClaim>,
    /// When it was asked for, by the monotonic clock: its lease counts from then.
    pub since: Duration,
    counted: Option<Counted>,
    runtime: Handle,
}

impl Held {
    /// To be called on a runtime, on which it is given back.
    pub fn new(claim: ActivityClaim, since: Duration, mut counted: Counted) -> Self {
        counted.set_worked_on(true);
        Self { claim: Arc::new(claim), since, counted: Some(counted), runtime: Handle::current() }
    }

    /// It was answered, or is somebody else's.
    pub fn forget(mut self) {
        self.counted = None;
    }

    /// Gives it back. What does that goes on if this future is dropped.
    pub async fn give_back(mut self) {
        if let Some(given_back) = self.let_go() {
            // It fails only if the runtime shuts down.
            let _gone = given_back.await;
        }
    }

    fn let_go(&mut self) -> Option<JoinHandle<()>> {
        let mut counted = self.counted.take()?;
        let claim = self.claim.clone();
        counted.set_worked_on(false);
        let given_back = async move {
            match claim.give_back().await {
                Ok(()) => {}
                // It was no longer this worker's.
                Err(error) if error.family() == Family::Worker => {}
                Err(error) => warn_unless_lost!(
                    claim.loss(),
                    activity = claim.activity().name,
                    %error,
                    "a claim could not be given back; others get it when its lease has run out"
                ),
            }
            drop(counted);
        };
        Some(self.runtime.spawn(given_back))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}
