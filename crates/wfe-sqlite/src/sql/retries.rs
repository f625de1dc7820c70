//! Statements that make ended instances run again: the retry of an instance, and the restart, which replaces an
//! instance by another one.

use crate::request::{Own, Sql};

/// Whether the instance `w` was restarted, and the instance that replaces it still exists.
macro_rules! is_replaced {
    () => {
        "EXISTS (SELECT 1 FROM workflows AS n WHERE n.id = w.restarted_as)"
    };
}

/// Whether the parent of the instance `w` no longer waits for its end: the parent exists, but has no open subscription to
/// this end. False for an instance that has no parent, or whose parent was deleted.
macro_rules! parent_has_stopped_waiting {
    () => {
        "(EXISTS (SELECT 1 FROM workflows AS p WHERE p.id = w.parent) \
          AND NOT EXISTS (SELECT 1 FROM event_subscriptions AS s WHERE s.is_open = 1 \
            AND s.event_name = 'wfe.child-ended' AND s.event_key = w.id AND s.workflow_id = w.parent))"
    };
}

/// Guard: the instance has ended, is still at this revision, was not restarted, and has no parent that has received its
/// end.
pub(crate) const MAY_REOPEN: Sql<2> = Sql::new(guard!(concat!(
    "EXISTS (SELECT 1 FROM workflows AS w WHERE w.id = ? AND w.revision = ? AND w.status IN ('Complete', 'Terminated') \
     AND NOT ",
    is_replaced!(),
    " AND NOT ",
    parent_has_stopped_waiting!(),
    ")"
)));

/// Reads why the guard `MAY_REOPEN` failed.
pub(crate) const WHY_NOT_REOPEN: Sql<1> = Sql::new(concat!(
    "SELECT w.status IN ('Complete', 'Terminated'), w.revision, iif(",
    is_replaced!(),
    ", w.restarted_as, NULL), iif(",
    parent_has_stopped_waiting!(),
    ", w.parent, NULL) FROM workflows AS w WHERE w.id = ?"
));

/// Clears what belongs to the end of the instance, and stores the time of the retry. The commit of the same script sets
/// the status, the ending and the cause. No owner may still write the instance, so the fencing token is raised.
pub(crate) const REOPEN: Sql<2> = Sql::new(
    "UPDATE workflows SET complete_time = NULL, control = NULL, control_detail = NULL, owner = NULL, \
       fence = min(max(fence, 0), 4611686018427387903) + 1, retried = ? WHERE id = ?",
)
.own(Own::Instance);

/// Removes the event that reports the end of this child. Its parent has not consumed it, and waits for the next end.
pub(crate) const WITHDRAW_END: Sql<1> =
    Sql::new("DELETE FROM events WHERE event_name = 'wfe.child-ended' AND event_key = ?");

/// What a restart needs to know of the instance that it replaces.
pub(crate) const TO_RESTART: Sql<1> = Sql::new(concat!(
    "SELECT w.status IN ('Complete', 'Terminated'), w.revision, iif(",
    is_replaced!(),
    ", w.restarted_as, NULL), w.start_key, w.reference, w.attributes FROM workflows AS w WHERE w.id = ?"
));

/// The instance to which the reference of this definition belongs: its id, how it ended, and its revision.
pub(crate) const KNOWN: Sql<2> =
    Sql::new("SELECT id, ending, revision FROM workflows WHERE workflow_definition_id = ? AND start_key = ?");

/// Guard: the instance has ended, is still at this revision, and was not restarted.
pub(crate) const MAY_RESTART: Sql<2> = Sql::new(guard!(concat!(
    "EXISTS (SELECT 1 FROM workflows AS w WHERE w.id = ? AND w.revision = ? AND w.status IN ('Complete', 'Terminated') \
     AND NOT ",
    is_replaced!(),
    ")"
)));

/// Guard: the instance (first argument) can give up this name (second argument). It can if it has another name, or if no
/// third instance has its id as its name.
pub(crate) const CAN_GIVE_UP_NAME: Sql<2> = Sql::new(guard!(
    "NOT EXISTS (SELECT 1 FROM workflows AS w JOIN workflows AS other ON other.name = w.id AND other.id <> w.id \
     WHERE w.id = ? AND w.name = ?)"
));

/// Links an ended instance to the instance that replaces it (first argument), and gives up its reference. If its name is
/// that of the new instance (second argument), it gives up the name too, and its id becomes its name. This runs before
/// the new instance is stored, because no two instances may have the reference or the name.
pub(crate) const REPLACE: Sql<3> = Sql::new(
    "UPDATE workflows SET restarted_as = ?, start_key = NULL, name = iif(name = ?, id, name), \
       revision = revision + 1 WHERE id = ?",
);

/// Links a new instance to the instance that it replaces (first argument).
pub(crate) const LINK: Sql<2> =
    Sql::new("UPDATE workflows SET restart_of = ? WHERE id = ?").own(Own::Instance);

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("MAY_REOPEN", MAY_REOPEN.text()),
    ("WHY_NOT_REOPEN", WHY_NOT_REOPEN.text()),
    ("REOPEN", REOPEN.text()),
    ("WITHDRAW_END", WITHDRAW_END.text()),
    ("TO_RESTART", TO_RESTART.text()),
    ("KNOWN", KNOWN.text()),
    ("MAY_RESTART", MAY_RESTART.text()),
    ("CAN_GIVE_UP_NAME", CAN_GIVE_UP_NAME.text()),
    ("REPLACE", REPLACE.text()),
    ("LINK", LINK.text()),
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_end_of_a_child_is_called_as_by_the_engine() {
        let name = format!("'{}'", wfe_core::executor::CHILD_ENDED);
        assert!(parent_has_stopped_waiting!().contains(&name) && super::WITHDRAW_END.text().contains(&name));
    }
}
