//! The timers of pointers.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

/// The timers of an instance, in the order of their times.
#[derive(Default)]
pub(super) struct Timers {
    /// The timers that are set: ends of delays and backoffs, time limits, and next ticks.
    set: BTreeSet<(DateTime<Utc>, String)>,
    /// The pointers whose waits have reached their time limit. Before such a wait times out, the store is checked for
    /// an event that came in time.
    overdue: BTreeSet<(DateTime<Utc>, String)>,
}

impl Timers {
    /// Sets a timer of the pointer.
    pub fn set(&mut self, pointer: &str, at: DateTime<Utc>) {
        self.set.insert((at, pointer.to_owned()));
    }

    /// Clears a timer of the pointer.
    pub fn clear(&mut self, pointer: &str, at: DateTime<Utc>) {
        self.set.remove(&(at, pointer.to_owned()));
    }

    /// The time of the next timer, or `None` if no timer is set.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        self.set.first().map(|(at, _)| *at)
    }

    /// Removes the earliest timer that is due. Returns the timer's time and its pointer.
    pub fn take_due(&mut self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, String)> {
        self.next().filter(|at| *at <= now).and_then(|_| self.set.pop_first())
    }

    /// Adds a pointer whose wait reached its time limit at the time `at`.
    pub fn add_overdue(&mut self, pointer: String, at: DateTime<Utc>) {
        self.overdue.insert((at, pointer));
    }

    pub fn has_overdue(&self) -> bool {
        !self.overdue.is_empty()
    }

    pub fn take_overdue(&mut self) -> Option<(DateTime<Utc>, String)> {
        self.overdue.pop_first()
    }

    /// Removes and returns all overdue pointers.
    pub fn take_all_overdue(&mut self) -> BTreeSet<(DateTime<Utc>, String)> {
        std::mem::take(&mut self.overdue)
    }

    /// Clears all timers: nothing becomes due any more.
    pub fn clear_all(&mut self) {
        *self = Self::default();
    }
}
