//! Counts the claims of a host's workers, so that the host can stop once each claim is answered or given back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout};
use wfe_core::logging;

/// How long `stop` waits, after the grace time, until workers have given back the activities that they have not
/// answered. Steps that still run get the same time to react to their cancellation token.
const PARTING: Duration = Duration::from_secs(1);

/// The number of claims of all workers of a host.
#[derive(Default)]
pub(crate) struct Claims(watch::Sender<Counts>);

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Whether the host has ended: workers may claim nothing further.
    is_closed: bool,
    /// The number of claims that are being made, that are worked on, or that are being given back.
    all: usize,
    /// The number of claims that are worked on. A worker has to give back its claims itself, and a worker that
    /// blocks its thread never does so.
    worked_on: usize,
}

/// One counted claim. Dropping this value removes the claim from the count.
pub(crate) struct Counted {
    claims: Arc<Claims>,
    is_worked_on: bool,
}

impl Claims {
    /// Counts a claim before it is made. Returns `None` if the host has ended.
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

    /// Forbids further claims.
    pub fn close(&self) {
        self.0.send_modify(|counts| counts.is_closed = true);
    }

    /// Waits until all claims are answered or given back. The workers notice that the host ends, and give their
    /// claims back when the grace time is over. If a worker does not give its claims back, this stops waiting for
    /// it. The grace time is real time, because a service manager that stops the process waits in real time too.
    pub async fn drain(&self, grace: Duration) {
        let began = Instant::now();
        let mut counts = self.0.subscribe();
        // No wait fails, because `self` holds the sender.
        if timeout(grace, counts.wait_for(|counts| counts.all == 0)).await.is_ok() {
            return;
        }
        if timeout(PARTING, counts.wait_for(|counts| counts.worked_on == 0)).await.is_err() {
            let claims = counts.borrow().worked_on;
            let waited = began.elapsed();
            logging::warn!(
                claims,
                ?waited,
                "workers did not stop within the grace time; their activities become available to other workers when the leases expire"
            );
        }
        // The remaining claims are being made or given back, and end as soon as the store answers.
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
