//! A suspect's way to its trial.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{Isolation, Pace, SuspectState};

/// A suspect from the moment it requests its trial until it is no suspect, or this process does not work on it any more.
pub(in crate::engine) struct Ticket {
    pub(super) isolation: &'static Isolation,
    pub(super) number: u64,
    pub(super) called: Option<oneshot::Receiver<()>>,
}

impl Ticket {
    /// By which its bodies [enter](Isolation::enter).
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the trial to begin: no other body begins from here on. Whether none runs: those that go on for longer than
    /// `patience` run on beside it; those of instances that are no suspects only if they were waited for as long as the
    /// process may be closed at a time.
    pub async fn begin(&mut self, patience: Duration) -> bool {
        let isolation = self.isolation;
        if let Some(called) = &mut self.called {
            // It fails only if the sender is dropped unsent, which never happens.
            let _called = called.await;
            self.called = None;
        }
        let rest = isolation.lock().rest;
        if let Some(rest) = rest {
            before(rest, isolation.has_emptied()).await;
        }
        let give_up = Instant::now() + patience;
        let Pace { first_closure, longest_rest, .. } = isolation.pace;
        let mut closure = first_closure.min(longest_rest);
        loop {
            isolation.close();
            let closed = Instant::now();
            let ordinary_ended = until(&isolation.emptied, || (isolation.lock().ordinary == 0).then_some(()));
            let may_begin = if before(closed + closure, ordinary_ended).await.is_some() {
                let all_ended = until(&isolation.emptied, || {
                    let state = isolation.lock();
                    (state.ordinary == 0 && state.lasting == 0).then_some(())
                });
                if before(give_up.min(closed + longest_rest), all_ended).await.is_some() {
                    return true;
                }
                true
            } else {
                closure >= longest_rest
            };
            if may_begin && Instant::now() >= give_up {
                return false;
            }
            isolation.open(&mut isolation.lock());
            // For as long, unless what waits has begun and ended, and with it what was waited for.
            before(Instant::now() + closed.elapsed(), isolation.has_emptied()).await;
            closure = closure.saturating_mul(2).min(longest_rest);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.isolation.change(self.number, SuspectState::Cleared);
    }
}

/// Waits until `is_so` answers: it is called now, and each time that this is notified.
pub(super) async fn until<T>(notify: &Notify, mut is_so: impl FnMut() -> Option<T>) -> T {
    let mut notified = pin!(notify.notified());
    loop {
        // Before the call: else what happens in between would be missed.
        notified.as_mut().enable();
        if let Some(answer) = is_so() {
            return answer;
        }
        notified.as_mut().await;
        notified.set(notify.notified());
    }
}

/// What came of it until then; `None`: nothing.
pub(super) async fn before<T>(end: Instant, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(end, work).await.ok()
}
