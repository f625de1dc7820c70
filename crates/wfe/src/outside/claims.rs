//! The claims of the workers in this process: they are counted, and none is kept that will not be answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::timeout};
use wfe_core::{WfeError, logging};

use super::ActivityClaim;

/// How long `stop` waits, when the grace time is over, for workers to give back what they have not answered. As long as
/// steps are left then.
const PARTING: Duration = Duration::from_secs(1);

/// The claims of all workers of a host, for its end.
#[derive(Default)]
pub(crate) struct Claims(watch::Sender<Counts>);

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// The host has ended: nothing is claimed any more.
    is_closed: bool,
    /// Claims that are being made, are worked on, or are being given back.
    all: usize,
    /// Those of them that end only if their worker runs on: one that blocks its thread never comes to that.
    worked_on: usize,
}

/// One of the claims.
pub(super) struct Counted {
    claims: Arc<Claims>,
    is_worked_on: bool,
}

impl Claims {
    /// A claim is about to be made; `None`: the host has ended.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Counted> {
        let begins = self.0.send_if_modified(|counts| {
            counts.all += usize::from(!counts.is_closed);
            !counts.is_closed
        });
        begins.then(|| Counted { claims: self.clone(), is_worked_on: false })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.borrow().is_closed
    }

    /// From now on nothing is claimed.
    pub fn close(&self) {
        self.0.send_modify(|counts| counts.is_closed = true);
    }

    /// Waits until all claims are answered or given back. The workers know of the end and give up by themselves when the
    /// grace time is over; whoever does not hear that is left. Real time: what it is to be in time for knows of no virtual
    /// one.
    pub async fn drain(&self, grace: Duration) {
        let began = Instant::now();
        let mut counts = self.0.subscribe();
        // None of the waits fails: this has the sender.
        if timeout(grace, counts.wait_for(|counts| counts.all == 0)).await.is_ok() {
            return;
        }
        if timeout(PARTING, counts.wait_for(|counts| counts.worked_on == 0)).await.is_err() {
            let claims = counts.borrow().worked_on;
            let waited = began.elapsed();
            logging::warn!(
                claims,
                ?waited,
                "workers do not end; what they have claimed is theirs until the leases run out"
            );
        }
        // What is left of these is up to the store.
        let _all = counts.wait_for(|counts| counts.all == counts.worked_on).await;
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        self.0.send_modify(change);
    }
}

impl Counted {
    fn set_worked_on(&mut self, is_worked_on: bool) {
        if std::mem::replace(&mut self.is_worked_on, is_worked_on) != is_worked_on {
            self.claims.change(|counts| {
                if is_worked_on {
                    counts.worked_on += 1;
                } else {
                    counts.worked_on -= 1;
                }
            });
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set_worked_on(false);
        self.claims.change(|counts| counts.all -= 1);
    }
}

/// A claim of a worker. It is given back when it is dropped, unless it was answered or lost: others need not wait for its
/// lease.
pub(super) struct Held {
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
                // Not found: it was somebody else's already, or nobody waits for it any more.
                Ok(()) | Err(WfeError::SubscriptionNotFound(_)) => {}
                Err(error) => logging::warn!(
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
