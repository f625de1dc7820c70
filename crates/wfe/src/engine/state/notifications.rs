//! What the engine is to look after: notifications, which merge.
//!
//! Each of them says that something *is stored*, so it comes after that write, and the engine reads the
//! store once it has taken the notification up. However many come before that, one look answers all of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;
use wfe_core::traits::StepCommit;

use super::unprocessed::{REMEMBERED, Unprocessed};

/// What a call of the program needs to send something to the engine; it is free for the next one when the engine has
/// taken that up.
pub(crate) type Permit = OwnedSemaphorePermit;

/// What was stored since the engine last looked, each thing once.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and all combinations occur")]
#[derive(Default)]
pub(in crate::engine) struct Notifications {
    /// Instances of which a caller has requested something. The permits bound how many there are; a race with the start of
    /// the host can leave one without.
    pub requested: BTreeMap<String, Option<Permit>>,
    /// Instances of which commits have requested something.
    pub by_commits: BTreeSet<String>,
    /// Instances at work here for which commits hold something.
    pub woken: BTreeSet<String>,
    /// When events become due that are dated ahead, in milliseconds: the next ones.
    pub dates: BTreeSet<i64>,
    /// Something may be deliverable: an event, an answer, a new child.
    pub is_deliverable: bool,
    /// Events that may be marked as processed.
    pub events: Unprocessed,
    /// An instance was stored without an owner.
    pub has_unowned: bool,
    /// Definitions were registered.
    pub has_definitions: bool,
    /// It is not known whether the store gave this owner an instance that this host does not work on.
    pub is_owner_in_doubt: bool,
}

impl Notifications {
    /// An instance was stored without an owner: it is to be claimed if there is room for it.
    pub fn unowned_instance(&mut self) {
        self.has_unowned = true;
    }

    /// Definitions were registered: stored instances may wait for them.
    pub fn definitions_changed(&mut self) {
        self.has_definitions = true;
    }

    /// The store may have given this host's owner an instance that this host does not work on.
    pub fn owner_in_doubt(&mut self) {
        self.is_owner_in_doubt = true;
    }

    /// Something may be deliverable now.
    pub fn deliverable(&mut self) {
        self.is_deliverable = true;
    }

    /// An event may be stored whose id is not known, and that no instance may need.
    pub fn event_in_doubt(&mut self) {
        self.events.all = true;
    }

    /// This instance has a request of a caller.
    pub fn request(&mut self, id: &str, permit: Option<Permit>) {
        self.requested.entry(id.to_owned()).or_insert(permit);
    }

    /// An event was stored: dated ahead, or (`None`) it is due.
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

    /// A commit is stored that holds something for others.
    pub fn committed(&mut self, commit: &StepCommit) {
        self.is_deliverable = true;
        self.by_commits.extend(commit.requested.iter().map(|(id, _)| id.clone()));
    }

    /// A commit is stored that gives these instances something to do.
    pub fn wakes(&mut self, ids: Vec<String>) {
        self.is_deliverable = true;
        self.woken.extend(ids);
    }

    pub fn is_empty(&self) -> bool {
        !self.is_deliverable
            && !self.has_unowned
            && !self.has_definitions
            && !self.is_owner_in_doubt
            && self.requested.is_empty()
            && self.by_commits.is_empty()
            && self.woken.is_empty()
            && self.dates.is_empty()
            && self.events.is_empty()
    }

    /// Adds what has come later.
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
    }

    /// They are read from the store when the earlier ones have come.
    fn forget_far_dates(&mut self) {
        while self.dates.len() > REMEMBERED {
            self.dates.pop_last();
        }
    }
}

/// A time in milliseconds, never earlier than the time itself.
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
