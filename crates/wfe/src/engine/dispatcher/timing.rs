//! When the dispatcher looks again by itself.

use chrono::{DateTime, Utc};
use wfe_core::{WfeError, logging};

use super::{Dispatcher, backoff::Retry};
use crate::{engine::state::notifications::millis_rounded_up, store::loss::warn_unless_lost};

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
        let due = self.dates.take_due(self.shared.now().timestamp_millis());
        if due.now || due.refill {
            self.deliver_dated().await;
        }
    }

    /// Delivers the events whose dates have come; again in a while if the store fails, for nothing else may notify of them
    /// once more.
    pub(super) async fn deliver_dated(&mut self) {
        let before = self.shared.now();
        if self.position_events().await {
            self.deliver(Vec::new()).await;
            self.shared.sweep_list.note_all();
            self.peek_at_events(before).await;
        }
    }

    /// Gives positions to the events that have become due: without one, an event is not delivered. Also where there is no
    /// room to claim, or nothing that could be claimed, since an instance that is at work may wait for one. `false`: the
    /// store has failed, and the call is repeated in a while.
    pub(super) async fn position_events(&mut self) -> bool {
        match self.shared.store.position_due_events().await {
            Ok(had_some) => {
                self.unpositioned = None;
                if had_some {
                    self.shared.sweep_list.note_all();
                }
                true
            }
            Err(error) => {
                let before = self.unpositioned.take();
                self.unpositioned = Some(if matches!(error, WfeError::Busy { .. }) {
                    logging::debug!(%error, "events that became due wait for the store");
                    Retry::soon()
                } else {
                    warn_unless_lost!(self.shared.store.loss, %error, "events that became due could not get their positions");
                    Retry::after(before)
                });
                false
            }
        }
    }

    /// Reads the date of the next event after `after`. Later ones are read when it has come.
    pub(super) async fn peek_at_events(&mut self, after: DateTime<Utc>) {
        match self.shared.store.upcoming_event(after).await {
            Ok(date) => date.into_iter().for_each(|date| self.dates.add(millis_rounded_up(date))),
            // The next poll reads it again.
            Err(error) => {
                warn_unless_lost!(self.shared.store.loss, %error, "the next event that is dated ahead could not be read");
            }
        }
    }

    /// Claims what is due, and reads what becomes due later. *Later* is after the time at which the claim began: what
    /// becomes due meanwhile would be missed by both.
    pub(super) async fn look_and_refill(&mut self) {
        let before = self.shared.now();
        self.look().await;
        self.refill_timers(before).await;
    }

    /// Reads the next due time after `after`, which another process may have stored. Later ones are read when it has come: so
    /// the store's next time is always known here. (`after` is from before the last claim: what becomes due in between would
    /// be in neither answer.)
    pub(super) async fn peek_at_timers(&mut self, after: DateTime<Utc>) {
        let definitions = self.shared.definitions();
        if definitions.is_empty() {
            return;
        }
        match self.shared.store.upcoming(&definitions, after, 1).await {
            Ok(times) => times.into_iter().for_each(|(at, _)| self.timers.add_left(at)),
            Err(error) => {
                self.unread = true;
                warn_unless_lost!(self.shared.store.loss, %error, "the next due time could not be read");
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
                warn_unless_lost!(self.shared.store.loss, %error, "due times could not be read");
            }
        }
    }
}
