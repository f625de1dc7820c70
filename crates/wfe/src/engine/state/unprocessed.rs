//! A list of the events that may be marked as processed.

use std::{collections::BTreeSet, mem, sync::Mutex};

use tokio::sync::Notify;
use wfe_core::sync::lock;

/// How many events are remembered individually. If there are more events, all unprocessed events are scanned.
pub(super) const REMEMBERED: usize = 1024;

/// Events that are perhaps not needed by any instance any more, and that can then be marked as processed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Unprocessed {
    /// The ids of the events. Each id is stored once, however many instances have received the event.
    pub ids: BTreeSet<String>,
    /// Whether the ids are unknown, so that all unprocessed events must be scanned.
    pub all: bool,
}

impl Unprocessed {
    pub fn add(&mut self, ids: impl IntoIterator<Item = String>) {
        self.ids.extend(ids);
        self.forget_many();
    }

    pub fn merge(&mut self, mut later: Self) {
        self.ids.append(&mut later.ids);
        self.all |= later.all;
        self.forget_many();
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty() && !self.all
    }

    fn forget_many(&mut self) {
        if self.ids.len() > REMEMBERED {
            self.ids.clear();
            self.all = true;
        }
    }
}

/// The events that the event sweeper must check: events that were stored, or that a stored commit has consumed.
#[derive(Default)]
pub(in crate::engine) struct SweepList {
    unprocessed: Mutex<Unprocessed>,
    arrived: Notify,
}

impl SweepList {
    pub fn note(&self, unprocessed: Unprocessed) {
        if unprocessed.is_empty() {
            return;
        }
        self.lock().merge(unprocessed);
        self.arrived.notify_one();
    }

    /// Requests a scan of all unprocessed events, because it is unknown which of them are no longer needed. This
    /// happens when a subscription was closed without an event, when an event that was published for a later time has
    /// become due, and when the host starts.
    pub fn note_all(&self) {
        self.note(Unprocessed { all: true, ..Unprocessed::default() });
    }

    /// Waits until events are noted, and then takes all of them from the list.
    pub async fn take(&self) -> Unprocessed {
        self.arrived.notified().await;
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Unprocessed> {
        lock(&self.unprocessed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_many_instances_have_taken_is_looked_after_once() {
        let mut events = Unprocessed::default();
        events.add(["a".to_owned(), "a".to_owned()]);
        let mut later = Unprocessed::default();
        later.add(["a".to_owned()]);
        events.merge(later);
        assert_eq!((events.ids.len(), events.all), (1, false));
    }

    #[test]
    fn of_more_events_than_are_remembered_none_is_forgotten_all_are_looked_through() {
        let mut events = Unprocessed::default();
        events.add((0..REMEMBERED).map(|n| n.to_string()));
        assert!(!events.all);
        events.add(["one more".to_owned()]);
        assert!(events.all && events.ids.is_empty());
    }
}
