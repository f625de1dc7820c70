//! When pointers are looked at by themselves.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

/// The timers of an instance, the next one first.
#[derive(Default)]
pub(in crate::executor) struct Timers {
    /// A pause, a time limit, the next tick.
    set: BTreeSet<(DateTime<Utc>, String)>,
    /// Pointers whose waits have lasted too long: it counts once it is known what the store had for them by then.
    overdue: BTreeSet<(DateTime<Utc>, String)>,
}

impl Timers {
    /// The pointer is looked at then.
    pub fn set(&mut self, pointer: &str, at: DateTime<Utc>) {
        self.set.insert((at, pointer.to_owned()));
    }

    /// The pointer is not looked at then.
    pub fn clear(&mut self, pointer: &str, at: DateTime<Utc>) {
        self.set.remove(&(at, pointer.to_owned()));
    }

    /// When the next pointer is looked at; `None`: no timer is set.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        self.set.first().map(|(at, _)| *at)
    }

    /// The next pointer whose time has come, and when that was.
    pub fn take_due(&mut self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, String)> {
        self.next().filter(|at| *at <= now).and_then(|_| self.set.pop_first())
    }

    /// The pointer has waited since before this time.
    pub fn add_overdue(&mut self, pointer: String, at: DateTime<Utc>) {
        self.overdue.insert((at, pointer));
    }

    pub fn has_overdue(&self) -> bool {
        !self.overdue.is_empty()
    }

    pub fn take_overdue(&mut self) -> Option<(DateTime<Utc>, String)> {
        self.overdue.pop_first()
    }

    /// All that are overdue.
    pub fn take_all_overdue(&mut self) -> BTreeSet<(DateTime<Utc>, String)> {
        std::mem::take(&mut self.overdue)
    }

    /// Nothing happens by itself any more.
    pub fn clear_all(&mut self) {
        *self = Self::default();
    }
}
