//! When the dispatcher looks again by itself.

use chrono::{DateTime, Utc};

use super::Dispatcher;
use crate::post::millis_rounded_up;

/// Due times read from the store at once: enough for minutes of a busy store, little enough to hold.
const TIMERS_AT_ONCE: usize = 1024;

impl Dispatcher {
    pub(super) async fn timers_are_due(&mut self) {
        let before = self.shared.now();
        let due = self.timers.take_due(before.timestamp_millis());
        if due.refill {
            self.look_and_refill().await;
        } else if due.soon || due.now {
            self.look().await;
            self.peek_at_timers(before).await;
        }
    }

    pub(super) async fn events_are_due(&mut self) {
        let before = self.shared.now();
        let due = self.dates.take_due(before.timestamp_millis());
        if due.now || due.refill {
            self.deliver().await;
            self.shared.post.sweep();
            self.peek_at_events(before).await;
        }
    }

    /// Hears of the next event that is dated after `after`. What comes after it is asked for when it has come.
    pub(super) async fn peek_at_events(&mut self, after: DateTime<Utc>) {
        match self.shared.store.upcoming_event(after).await {
            Ok(date) => date.into_iter().for_each(|date| self.dates.add(millis_rounded_up(date))),
            // The next poll asks again.
            Err(error) => tracing::warn!(%error, "the next event that is dated ahead could not be read"),
        }
    }

    /// Claims what is due, and reads what becomes due later. *Later* is after the time at which the claim began: what
    /// becomes due meanwhile would be missed by both.
    pub(super) async fn look_and_refill(&mut self) {
        let before = self.shared.now();
        self.look().await;
        self.refill_timers(before).await;
    }

    /// Hears of the next due time after `after`, which another process may have stored. What comes after it is asked for
    /// when it has come: so the store's next time is always known here. (`after` is from before the last claim: what becomes
    /// due in between would be in neither answer.)
    pub(super) async fn peek_at_timers(&mut self, after: DateTime<Utc>) {
        let definitions = self.shared.definitions();
        if definitions.is_empty() {
            return;
        }
        match self.shared.store.upcoming(&definitions, after, 1).await {
            Ok(times) => times.into_iter().for_each(|(at, _)| self.timers.add_left(at)),
            Err(error) => {
                self.unread = true;
                tracing::warn!(%error, "the next due time could not be read");
            }
        }
    }

    pub(super) async fn refill_timers(&mut self, after: DateTime<Utc>) {
        self.unread = false;
        let definitions = self.shared.definitions();
        if definitions.is_empty() {
            return;
        }
        match self.shared.store.upcoming(&definitions, after, TIMERS_AT_ONCE).await {
            Ok(times) => {
                let more = times.len() == TIMERS_AT_ONCE;
                self.timers.refill(times.into_iter().map(|(at, _)| at), more);
            }
            Err(error) => {
                // Until the poll has read them, it alone finds what becomes due.
                self.unread = true;
                self.timers.refill([], false);
                tracing::warn!(%error, "due times could not be read");
            }
        }
    }
}
