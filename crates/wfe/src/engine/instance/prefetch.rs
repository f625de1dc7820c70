//! What an actor waits for before it begins to work, and what is checked before each body starts.

use chrono::{DateTime, Utc};
use wfe_core::{models::PointerStatus, traits::Loaded};

use super::{actor::Actor, commit, isolated_run::Trial, ownership::Ownership};
use crate::engine::message::Phase;

/// The result of waiting for the due time of an instance that was claimed ahead.
pub(in crate::engine) enum Due {
    Now,
    /// The instance may have a request, or another host may have taken the instance over. The instance must be read
    /// from the store again.
    Look,
    /// The host stops.
    Never,
}

impl Actor {
    /// Waits until the start of a new instance was published. Returns at once if the instance has run before, because
    /// no instance runs before its start is published.
    pub(in crate::engine) async fn await_start(&self, loaded: &Loaded) {
        let pointers = &loaded.instance.execution_pointers;
        if pointers.iter().any(|pointer| pointer.status != PointerStatus::Pending) {
            return;
        }
        let mut phase = self.bodies.phase.clone();
        tokio::select! {
            () = self.shared.start_barrier.passed(&loaded.instance) => {}
            // The host closes, and the start may never finish. (An error means that the dispatcher has ended.)
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
        }
    }

    /// Waits for the due time of an instance that was claimed ahead. The instance then runs in the state that was read.
    /// During the wait, no other host may change the instance, and a request for the instance arrives as mail.
    pub(in crate::engine) async fn await_due(&mut self, loaded: &Loaded) -> Due {
        let clock = self.shared.options.clock.clone();
        let now = clock.now();
        let due = loaded.instance.next_execution.and_then(DateTime::from_timestamp_millis);
        let is_ahead =
            |due: &DateTime<Utc>| *due > now && self.shared.ahead(now).is_some_and(|at| *due <= at);
        let due = due.filter(is_ahead).filter(|_| loaded.control.is_none() && loaded.deliveries.is_empty());
        if let Some(due) = due {
            self.ticket = None; // a ticket would make other instances wait
            loop {
                if *self.bodies.phase.borrow_and_update() != Phase::Running {
                    let (shared, phase, fence) = (&self.shared, &self.bodies.phase, self.claimed.fence);
                    commit::release(shared, phase, fence, &self.work.id, false).await;
                    return Due::Never;
                }
                tokio::select! {
                    biased;
                    _ = self.mailbox.recv() => {
                        // One read of the store covers all of this mail.
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

    /// Returns this host's ownership of the instance.
    pub(in crate::engine) fn ownership(&self) -> Ownership {
        let suspect = self.trial.as_ref().map(Trial::number);
        Ownership { fence: self.claimed.fence, seen: self.seen, suspect }
    }
}
