//! How many claims the workers in this process have: none is to be kept at the end of the host that will not be answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout};
use wfe_core::logging;

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
pub(crate) struct Counted {
    claims: Arc<Claims>,
    is_worked_on: bool,
}

impl Claims {
    /// A claim is about to be made; `None`: the host has ended.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Counted> {
        let begins = self.0.send_if_modified(|counts| {
            counts.all += usize::from(!counts.is_closed);
            !counts.is_closed
        });
        begins.then(|| Counted { claims: self.clone(), is_worked_on: false })
    }

    pub(crate) fn is_closed(&self) -> bool {
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
    pub(crate) fn set_worked_on(&mut self, is_worked_on: bool) {
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
