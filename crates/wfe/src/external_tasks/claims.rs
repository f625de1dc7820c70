//! The claims of the workers in this process. They are counted, and a claim that will not be answered is given back.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::JoinHandle};
use wfe_core::Family;

use super::ActivityClaim;
use crate::{host::claim_count::Counted, store::loss::warn_unless_lost};

/// A claim of a worker. Dropping it gives the activity back, unless the claim was answered or lost, so that other
/// workers need not wait until the lease expires.
pub(in crate::external_tasks) struct HeldClaim {
    pub claim: Arc<ActivityClaim>,
    /// When the claim was requested, by the monotonic clock. Its lease counts from this time.
    pub since: Duration,
    counted: Option<Counted>,
    runtime: Handle,
}

impl HeldClaim {
    /// Must be called on a tokio runtime: the claim is given back on it.
    pub fn new(claim: ActivityClaim, since: Duration, mut counted: Counted) -> Self {
        counted.set_worked_on(true);
        Self { claim: Arc::new(claim), since, counted: Some(counted), runtime: Handle::current() }
    }

    /// Ends this value without giving the activity back, because the activity was answered or the claim was lost.
    pub fn forget(mut self) {
        self.counted = None;
    }

    /// Gives the activity back. This completes even if the future is dropped.
    pub async fn give_back(mut self) {
        if let Some(given_back) = self.release() {
            // Fails only if the runtime shuts down.
            let _gone = given_back.await;
        }
    }

    fn release(&mut self) -> Option<JoinHandle<()>> {
        let mut counted = self.counted.take()?;
        let claim = self.claim.clone();
        counted.set_worked_on(false);
        let given_back = async move {
            match claim.give_back().await {
                Ok(()) => {}
                // The claim was lost: another worker has it already, or the instance does not wait for it any more.
                Err(error) if error.family() == Family::Worker => {}
                Err(error) => warn_unless_lost!(
                    claim.loss(),
                    activity = claim.activity().name,
                    %error,
                    "a claim could not be released; the activity becomes available to other workers when the lease expires"
                ),
            }
            drop(counted);
        };
        Some(self.runtime.spawn(given_back))
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        self.release();
    }
}
