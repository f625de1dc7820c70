//! Where purges of events have stopped.

use std::sync::Mutex;

use wfe_core::sync::lock;

/// Where the last purge of events has stopped, so that the next one need not look at the same events again.
#[derive(Default)]
pub(crate) struct PurgedEvents(
    /// The time before which events were purged, and the number of the last one that was looked at.
    Mutex<Option<(i64, i64)>>,
);

impl PurgedEvents {
    /// The number of the last event that need not be looked at.
    pub(crate) fn resume(&self, before: i64) -> i64 {
        let stopped = *lock(&self.0);
        stopped.filter(|(of, _)| *of == before).map_or(0, |(_, last)| last)
    }

    /// Keeps where a purge has stopped. `None` means that it has looked at all events.
    pub(crate) fn end(&self, before: i64, last: Option<i64>) {
        *lock(&self.0) = last.map(|last| (before, last));
    }
}
