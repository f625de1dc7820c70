//! Notifications for the engine, which merge.
//!
//! Each notification says that something *is stored*. A notification is sent after the write, and the engine reads the
//! store after it has received the notification. A single read therefore covers all notifications that were sent before
//! it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;
use wfe_core::traits::StepCommit;

use super::unprocessed::{REMEMBERED, Unprocessed};

/// The permit that a call of the program needs to send something to the engine. The permit becomes available again when
/// the engine has handled what was sent.
pub(crate) type Permit = OwnedSemaphorePermit;

/// What was stored since the engine last received notifications; duplicates are merged.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combinations occur")]
#[derive(Default)]
pub(in crate::engine) struct Notifications {
    /// Instances for which a caller has stored a request. The permits limit the number of these instances. A request
    /// may lack a permit if it was sent while the host was being started.
    pub requested: BTreeMap<String, Option<Permit>>,
    /// Instances for which commits have stored a request.
    pub by_commits: BTreeSet<String>,
    /// Instances at work here for which commits have stored something.
    pub woken: BTreeSet<String>,
    /// The next due times of events that were published for a later time, in milliseconds since the Unix epoch.
    pub dates: BTreeSet<i64>,
    /// Something may be deliverable, such as an event, an answer, or a new child.
    pub is_deliverable: bool,
    /// Events that may be marked as processed.
    pub events: Unprocessed,
    /// Whether an instance was stored without an owner.
    pub has_unowned: bool,
    /// Whether definitions were registered.
    pub has_definitions: bool,
    /// The store may have assigned an instance to this owner without this host working on the instance.
    pub is_owner_in_doubt: bool,
    /// Whether the middleware for the ends of instances has returned, so that the host may be idle.
    pub has_reported: bool,
}

impl Notifications {
    /// Records that an instance was stored without an owner. This host claims the instance if it has capacity.
    pub fn unowned_instance(&mut self) {
        self.has_unowned = true;
    }

    /// Records that definitions were registered. Stored instances may have waited for these definitions.
    pub fn definitions_changed(&mut self) {
        self.has_definitions = true;
    }

    /// Records that the store may have assigned an instance to this host's owner without this host working on the
    /// instance.
    pub fn owner_in_doubt(&mut self) {
        self.is_owner_in_doubt = true;
    }

    /// Records that the middleware for the ends of instances has returned.
    pub fn reported(&mut self) {
        self.has_reported = true;
    }

    /// Records that something may be deliverable now.
    pub fn deliverable(&mut self) {
        self.is_deliverable = true;
    }

    /// Records that an event with an unknown id may be stored. Perhaps no instance needs this event.
    pub fn event_in_doubt(&mut self) {
        self.events.all = true;
    }

    /// Records that a caller has stored a request for this instance.
    pub fn request(&mut self, id: &str, permit: Option<Permit>) {
        self.requested.entry(id.to_owned()).or_insert(permit);
    }

    /// Records that an event was stored. `due` is its due time, or `None` if the event is due already.
    pub fn event_stored(&mut self, id: &str, due: Option<DateTime<Utc>>) {
        self.is_deliverable = true;
        match due {
            None => self.events.add([id.to_owned()]),
            Some(due) => {
                self.dates.insert(millis_rounded_up(due));
                self.forget_far_dates();
            }
        }
    }

    /// Records a stored commit that contains something for other instances.
    pub fn committed(&mut self, commit: &StepCommit) {
        self.is_deliverable = true;
        self.by_commits.extend(commit.requested.iter().map(|(id, _)| id.clone()));
    }

    /// Records that a stored commit contains something for these instances.
    pub fn wakes(&mut self, ids: Vec<String>) {
        self.is_deliverable = true;
        self.woken.extend(ids);
    }

    pub fn is_empty(&self) -> bool {
        !self.is_deliverable
            && !self.has_unowned
            && !self.has_definitions
            && !self.is_owner_in_doubt
            && !self.has_reported
            && self.requested.is_empty()
            && self.by_commits.is_empty()
            && self.woken.is_empty()
            && self.dates.is_empty()
            && self.events.is_empty()
    }

    /// Adds later notifications.
    pub fn merge(&mut self, mut later: Self) {
        for (id, permit) in later.requested {
            self.requested.entry(id).or_insert(permit);
        }
        self.by_commits.append(&mut later.by_commits);
        self.woken.append(&mut later.woken);
        self.dates.append(&mut later.dates);
        self.forget_far_dates();
        self.events.merge(later.events);
        self.is_deliverable |= later.is_deliverable;
        self.has_unowned |= later.has_unowned;
        self.has_definitions |= later.has_definitions;
        self.is_owner_in_doubt |= later.is_owner_in_doubt;
        self.has_reported |= later.has_reported;
    }

    /// If there are too many due times, forgets those that are furthest in the future. The forgotten due times are read
    /// from the store when the earlier due times have come.
    fn forget_far_dates(&mut self) {
        while self.dates.len() > REMEMBERED {
            self.dates.pop_last();
        }
    }
}

/// Converts a time to milliseconds since the Unix epoch, rounded up, so that the result is never earlier than the time
/// itself.
pub(in crate::engine) fn millis_rounded_up(time: DateTime<Utc>) -> i64 {
    let millis = time.timestamp_millis();
    if time.timestamp_subsec_nanos().is_multiple_of(1_000_000) { millis } else { millis.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn of_more_dates_than_are_remembered_the_next_ones_are() {
        let mut notifications = Notifications::default();
        let date = |millis: i64| Utc.timestamp_millis_opt(millis).single();
        for millis in (1..=2 * i64::try_from(REMEMBERED).unwrap()).rev() {
            notifications.event_stored("e", date(millis));
        }
        assert_eq!(notifications.dates.len(), REMEMBERED);
        assert_eq!(notifications.dates.first(), Some(&1));
    }
}
