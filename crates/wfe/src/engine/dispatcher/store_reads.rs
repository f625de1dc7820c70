//! Schedules the dispatcher's next reads of the store: for timers and for events that become due.

use chrono::{DateTime, Utc};
use wfe_core::{WfeError, logging};

use super::{Dispatcher, backoff::Retry};
use crate::{engine::state::notifications::millis_rounded_up, store::loss::warn_unless_fault};

/// How many due times are read from the store at once. The number covers several minutes of a busy store, and is small
/// enough to hold in memory.
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

    /// Delivers the events that have become due. If the store fails, the delivery is repeated later, because no other
    /// notification may follow for these events.
    pub(super) async fn deliver_dated(&mut self) {
        let before = self.shared.now();
        if self.position_events().await {
            self.deliver(Vec::new()).await;
            self.shared.sweep_list.note_all();
            self.peek_at_events(before).await;
        }
    }

    /// Assigns positions to the events that have become due, because an event without a position is not delivered. This
    /// happens even if there is no capacity for a claim or no instance to claim, because an instance at work may wait
    /// for such an event. Returns `false` if the store has failed; the call is then repeated later.
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
                    warn_unless_fault!(
                        self.shared.store.loss,
                        error,
                        "events that became due could not get their positions"
                    );
                    Retry::after(before)
                });
                false
            }
        }
    }

    /// Reads the earliest due time of an event that is later than `after`. Later due times are read when this time
    /// has come.
    pub(super) async fn peek_at_events(&mut self, after: DateTime<Utc>) {
        match self.shared.store.upcoming_event(after).await {
            Ok(date) => date.into_iter().for_each(|date| self.dates.add(millis_rounded_up(date))),
            // The next poll reads the due time again.
            Err(error) => {
                warn_unless_fault!(
                    self.shared.store.loss,
                    error,
                    "the due time of the next event could not be read"
                );
            }
        }
    }

    /// Claims due instances, and then reads all due times that are later than the start of the claim. If only due times
    /// after the end of the claim were read, an instance that becomes due during the claim would be missed.
    pub(super) async fn look_and_refill(&mut self) {
        let before = self.shared.now();
        self.look().await;
        self.refill_timers(before).await;
    }

    /// Reads the first due time that is later than `after`. Another process may have stored it. Later due times are
    /// read when this time has come, so the store's next due time is always known here. `after` must not be later than
    /// the start of the last claim. Otherwise an instance that became due during the claim would be missed: neither the
    /// claim nor this read would find it.
    pub(super) async fn peek_at_timers(&mut self, after: DateTime<Utc>) {
        let definitions = self.shared.definitions();
        if definitions.is_empty() {
            return;
        }
        match self.shared.store.upcoming(&definitions, after, 1).await {
            Ok(times) => times.into_iter().for_each(|(at, _)| self.timers.add_left(at)),
            Err(error) => {
                self.unread = true;
                warn_unless_fault!(self.shared.store.loss, error, "the next due time could not be read");
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
                // Until the poll has read the due times, only the poll finds instances that become due.
                self.unread = true;
                self.timers.refill([], false);
                warn_unless_fault!(self.shared.store.loss, error, "due times could not be read");
            }
        }
    }
}
