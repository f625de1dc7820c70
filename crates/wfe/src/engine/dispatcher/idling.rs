//! Detects when the host is idle. A host is idle when nothing can happen automatically until some time has passed.

use super::Dispatcher;
use crate::engine::state::outcome::Idle;

impl Dispatcher {
    /// If the host is idle, replies to the callers that wait for this. The store is read first, so that notifications
    /// that have not arrived yet and changes of the clock are taken into account.
    pub(super) async fn answer_if_idle(&mut self) {
        self.idlers.retain(|idler| !idler.is_closed());
        if self.idlers.is_empty() || self.is_at_work() {
            return;
        }
        let before = self.shared.now();
        let now = before.timestamp_millis();
        if self.timers.next().is_some_and(|at| at <= now) {
            self.timers_are_due().await;
        }
        if self.dates.next().is_some_and(|at| at <= now) {
            self.events_are_due().await;
        }
        self.deliver(Vec::new()).await;
        self.attend().await;
        self.peek_at_timers(before).await;
        self.peek_at_events(before).await;
        // Otherwise the host checks again when the work on an instance has ended, or at the next poll.
        if !self.is_at_work()
            && !self.backlog
            && !self.unread
            && !self.in_doubt
            && !self.pace.is_looking()
            && self.unpositioned.is_none()
        {
            let idle = Idle {
                next: self.next_due().and_then(chrono::DateTime::from_timestamp_millis),
                works: self.actors.made(),
            };
            for idler in self.idlers.drain(..) {
                // Sending fails only if the caller no longer waits.
                let _gone = idler.send(idle);
            }
        }
    }

    /// When the next instance or event becomes due, in milliseconds since the Unix epoch.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.timers.upcoming().into_iter().chain(self.dates.upcoming()).min()
    }

    fn is_at_work(&self) -> bool {
        !self.actors.is_empty() || self.shared.is_at_work() || self.shared.reports.are_running()
    }
}
