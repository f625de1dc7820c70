//! What an actor waits for before it begins, and what it looks at before a body does.

use chrono::{DateTime, Utc};
use wfe_core::{models::PointerStatus, traits::Loaded};

use super::{actor::Actor, commit, ownership::Ownership, trial::Trial};
use crate::engine::message::Phase;

/// What came of waiting for the time of an instance that was claimed ahead.
pub(in crate::engine) enum Due {
    Now,
    /// It may have a request, or another host may have taken it over: from the store, once more.
    Look,
    /// The host stops.
    Never,
}

impl Actor {
    /// Waits until the start of a new instance was published. That of one that has run before was.
    pub(in crate::engine) async fn await_start(&self, loaded: &Loaded) {
        let pointers = &loaded.instance.execution_pointers;
        if pointers.iter().any(|pointer| pointer.status != PointerStatus::Pending) {
            return;
        }
        let mut phase = self.bodies.phase.clone();
        tokio::select! {
            () = self.shared.start_barrier.passed(&loaded.instance) => {}
            // The start does not come to an end. (An error: the dispatcher has ended.)
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
        }
    }

    /// Waits until the time has come of an instance that was claimed ahead. It goes on as it was read: no other host
    /// may change it meanwhile, and of a request it gets mail.
    pub(in crate::engine) async fn await_due(&mut self, loaded: &Loaded) -> Due {
        let clock = self.shared.options.clock.clone();
        let now = clock.now();
        let due = loaded.instance.next_execution.and_then(DateTime::from_timestamp_millis);
        let is_ahead =
            |due: &DateTime<Utc>| *due > now && self.shared.ahead(now).is_some_and(|at| *due <= at);
        let due = due.filter(is_ahead).filter(|_| loaded.control.is_none() && loaded.deliveries.is_empty());
        if let Some(due) = due {
            self.ticket = None; // it would keep others waiting
            loop {
                if *self.bodies.phase.borrow_and_update() != Phase::Running {
                    let (shared, phase, fence) = (&self.shared, &self.bodies.phase, self.claimed.fence);
                    commit::release(shared, phase, fence, &self.work.id, false).await;
                    return Due::Never;
                }
                tokio::select! {
                    biased;
                    _ = self.mailbox.recv() => {
                        // One look answers all of it.
                        while self.mailbox.try_recv().is_some() {}
                        return Due::Look;
                    }
                    () = clock.sleep_until(due) => break,
                    changed = self.bodies.phase.changed() => if changed.is_err() {
                        return Due::Never; // the dispatcher has ended
                    },
                }
            }
        }
        if self.ownership().may_be_lost(&self.shared) { Due::Look } else { Due::Now }
    }

    /// That the instance is this host's.
    pub(in crate::engine) fn ownership(&self) -> Ownership {
        let suspect = self.trial.as_ref().map(Trial::number);
        Ownership { fence: self.claimed.fence, seen: self.seen, suspect }
    }
}
