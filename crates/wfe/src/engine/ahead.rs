//! What an actor waits for before it begins.

use std::time::Duration;

use chrono::{DateTime, Utc};
use wfe_core::{models::PointerStatus, traits::Loaded};

use super::{Phase, actor::Actor, storing};

/// What came of waiting for the time of an instance that was claimed ahead.
pub(super) enum Due {
    Now,
    /// Somebody asked something of it, or may have taken it over: from the store, once more.
    Look,
    /// The host stops.
    Never,
}

impl Actor {
    /// Waits until it is told that a new instance was started. One that has run before was.
    pub(super) async fn await_start(&self, loaded: &Loaded) {
        let pointers = &loaded.instance.execution_pointers;
        if pointers.iter().any(|pointer| pointer.status != PointerStatus::Pending) {
            return;
        }
        let mut phase = self.bodies.phase.clone();
        tokio::select! {
            () = self.shared.births.told(&loaded.instance) => {}
            // Who stores it does not come to an end. (An error: the dispatcher is gone.)
            _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
        }
    }

    /// Waits until the time has come of an instance that was claimed ahead. It goes on as it was read: nobody else may
    /// change it meanwhile, and whoever asks something of it sends mail.
    pub(super) async fn await_due(&mut self, loaded: &Loaded) -> Due {
        let clock = self.shared.options.clock.clone();
        let (now, began) = (clock.now(), clock.monotonic());
        let due = loaded.instance.next_execution.and_then(DateTime::from_timestamp_millis);
        let is_ahead =
            |due: &DateTime<Utc>| *due > now && self.shared.ahead(now).is_some_and(|at| *due <= at);
        let Some(due) = due.filter(is_ahead) else { return Due::Now };
        if loaded.control.is_some() || !loaded.deliveries.is_empty() {
            return Due::Now;
        }
        loop {
            if *self.bodies.phase.borrow_and_update() != Phase::Running {
                storing::release(&self.shared, &self.bodies.phase, self.claimed.fence, &self.work.id, false)
                    .await;
                return Due::Never;
            }
            tokio::select! {
                biased;
                // `None` cannot be: this actor has the other end.
                _ = self.mailbox.recv() => return Due::Look,
                () = clock.sleep_until(due) => {
                    let slept = clock.monotonic().saturating_sub(began);
                    return if self.may_be_lost_after(slept) { Due::Look } else { Due::Now };
                }
                changed = self.bodies.phase.changed() => if changed.is_err() {
                    return Due::Never; // the dispatcher has ended
                },
            }
        }
    }

    /// A process that was frozen for its lease has lost what it owned, and no commit may come between this sleep and the next
    /// body. Half of it, since the lease runs from a sign of life that is older than the sleep.
    fn may_be_lost_after(&self, slept: Duration) -> bool {
        self.shared.owner().and_then(|owner| owner.lease()).is_some_and(|lease| slept >= lease / 2)
    }
}
