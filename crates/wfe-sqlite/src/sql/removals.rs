//! Statements that remove instances that have ended, with everything that belongs to them, and processed events.
//!
//! The rows of an instance are found on a reader, and removed by their numbers: so the writer searches nothing. If not all of
//! them fit in one transaction, the first one marks the instance: it gets another id and another name, and gives up its
//! reference and its parent, so that no statement finds it any more. Its former id is in `description`. No end time is left in
//! the row, so that listings of ended instances and purges do not come to it.

use crate::request::Sql;

/// The beginning of the ids of instances that are being removed. The number of the row follows.
macro_rules! going {
    () => {
        "'wfe.going:'"
    };
}

/// The id of an instance that has not ended, and whose parent is the instance in `workflows`.
macro_rules! open_child {
    () => {
        "(SELECT c.id FROM workflows AS c INDEXED BY workflows_parent WHERE c.parent = workflows.id \
          AND (c.status = 'Runnable' OR c.status = 'Suspended') LIMIT 1)"
    };
}

/// The instance (`seq`, revision) as it was read, if it may be removed.
macro_rules! may_go {
    () => {
        concat!(
            "seq = ? AND revision = ? AND (status = 'Complete' OR status = 'Terminated') AND ",
            open_child!(),
            " IS NULL"
        )
    };
}

/// The row numbers in a JSON list of pairs of an id (in hexadecimal) and the numbers of rows that belong to the instance with
/// this id. Those of an instance that exists are left out: it was not removed after all, or a new instance has taken the id of
/// one that is being removed.
macro_rules! of_gone {
    () => {
        "(SELECT row.value FROM json_each(?) AS gone CROSS JOIN json_each(gone.value, '$[1]') AS row \
          WHERE NOT EXISTS (SELECT 1 FROM workflows WHERE id = CAST(unhex(gone.value ->> 0) AS TEXT)))"
    };
}

/// Whether the event `e` may be removed: the arguments are the time before which events are removed, and the time before which
/// records of actions are removed too. The outlines of a definition stay as long as the store has an instance of it.
macro_rules! is_spent {
    () => {
        "e.is_processed = 1 AND e.event_time < ? AND (e.event_name <> 'wfe.audit' OR e.event_time < ?) \
         AND (e.event_name <> 'wfe.definition' OR NOT EXISTS (\
           SELECT 1 FROM workflows INDEXED BY workflows_definition WHERE workflow_definition_id = e.event_key))"
    };
}

/// What decides whether an instance can be removed: its number, its revision, whether it has ended, and an open child.
pub(crate) const CANDIDATE: Sql<1> = Sql::new(concat!(
    "SELECT seq, revision, status = 'Complete' OR status = 'Terminated', ",
    open_child!(),
    " FROM workflows WHERE id = ?"
));

/// Instances whose removal has begun, with their former ids, which the rows that belong to them name. If a new instance has
/// taken the former id, these rows belong to the new one. The first argument is the number of the only one, or NULL.
pub(crate) const GOING: Sql<3> = Sql::new(
    "SELECT seq, revision, iif(EXISTS (SELECT 1 FROM workflows AS n WHERE n.id = workflows.description), id, description) \
     FROM workflows INDEXED BY workflows_going WHERE going = 1 AND (? IS NULL OR seq = ?) ORDER BY seq LIMIT ?",
);

/// Instances that ended in one way before a time, oldest end first, and that have no open child. The arguments are the ending
/// (or NULL), the status if the ending is NULL (or NULL), the time, the definition (or NULL, twice), and a JSON list of the
/// definitions that are left out, in hexadecimal.
pub(crate) const PURGEABLE: Sql<7> = Sql::new(concat!(
    "SELECT seq, revision, id FROM workflows INDEXED BY workflows_ended \
     WHERE (status = 'Complete' OR status = 'Terminated') AND ending IS ? AND status = coalesce(?, status) \
     AND complete_time < ? AND (? IS NULL OR workflow_definition_id = ?) \
     AND workflow_definition_id NOT IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?)) AND ",
    open_child!(),
    " IS NULL ORDER BY complete_time LIMIT ?"
));

/// The pointers of an instance: live ones, history and items.
pub(crate) const POINTERS: Sql<2> = Sql::new("SELECT seq FROM execution_pointers WHERE workflow = ? LIMIT ?");

/// The subscriptions of an instance that the engine has made: their ids begin with the id of the instance and `//`. So do those
/// of its children, which are left out.
pub(crate) const SUBSCRIPTIONS: Sql<4> = Sql::new(
    "SELECT seq FROM event_subscriptions WHERE id > ? || '//' AND id < ? || '/0' AND workflow_id = ? LIMIT ?",
);

/// The subscriptions of an instance that a program has made.
pub(crate) const FOREIGN_SUBSCRIPTIONS: Sql<2> = Sql::new(
    "SELECT seq FROM event_subscriptions INDEXED BY event_subscriptions_foreign WHERE kind = 'wait' \
     AND substr(id, 1, length(workflow_id) + 2) <> workflow_id || '//' AND workflow_id = ? LIMIT ?",
);

/// Where an instance stands in the streams of events.
pub(crate) const POSITIONS: Sql<2> = Sql::new(
    "SELECT seq FROM event_subscriptions INDEXED BY event_subscriptions_position \
     WHERE kind = 'position' AND workflow_id = ? LIMIT ?",
);

/// The failures of an instance.
pub(crate) const FAILURES: Sql<2> =
    Sql::new("SELECT seq FROM execution_errors WHERE workflow_id = ? LIMIT ?");

/// The scheduled command of an instance.
pub(crate) const COMMAND: Sql<2> = Sql::new(
    "SELECT seq FROM scheduled_commands WHERE command_name = 'ProcessWorkflow' AND data = ? LIMIT ?",
);

/// Removes the row of an instance. Its pointers are removed with it.
pub(crate) const REMOVE: Sql<2> = Sql::new(concat!("DELETE FROM workflows WHERE ", may_go!()));

/// Marks an instance whose rows are removed in several transactions. Its data is dropped now: an `UPDATE` writes the whole row.
pub(crate) const MARK: Sql<2> = Sql::new(concat!(
    "UPDATE workflows SET going = 1, description = id, id = ",
    going!(),
    " || seq, name = ",
    going!(),
    " || seq, root_workflow_id = NULL, reference = NULL, next_execution = NULL, complete_time = NULL, \
       revision = revision + 1, owner = NULL, control = NULL, control_detail = NULL, parent = NULL, start_key = NULL, \
       ending = NULL, cause = NULL, data = 'null', restart_of = NULL, restarted_as = NULL, attributes = NULL WHERE ",
    may_go!()
));

/// Removes pointers of instances that are being removed, given as a JSON list of row numbers.
pub(crate) const REMOVE_POINTERS: Sql<1> = Sql::new(
    "DELETE FROM execution_pointers WHERE seq IN (SELECT value FROM json_each(?)) \
     AND (SELECT going FROM workflows WHERE workflows.seq = execution_pointers.workflow) = 1",
);

/// Removes subscriptions and positions.
pub(crate) const REMOVE_SUBSCRIPTIONS: Sql<1> =
    Sql::new(concat!("DELETE FROM event_subscriptions WHERE seq IN ", of_gone!()));

/// Removes failures.
pub(crate) const REMOVE_FAILURES: Sql<1> =
    Sql::new(concat!("DELETE FROM execution_errors WHERE seq IN ", of_gone!()));

/// Removes scheduled commands.
pub(crate) const REMOVE_COMMANDS: Sql<1> =
    Sql::new(concat!("DELETE FROM scheduled_commands WHERE seq IN ", of_gone!()));

/// A window of events: how many there are, the number of the last one, and how many are dated before this time. The other
/// arguments are the number of the last event before the window, and the longest window.
pub(crate) const EVENT_WINDOW: Sql<3> = Sql::new(
    "SELECT count(*), max(seq), coalesce(sum(event_time < ?), 0) \
     FROM (SELECT seq, event_time FROM events WHERE seq > ? ORDER BY seq LIMIT ?)",
);

/// The events of a window that may be removed.
pub(crate) const SPENT: Sql<5> = Sql::new(concat!(
    "SELECT e.seq FROM events AS e WHERE e.seq > ? AND e.seq <= ? AND ",
    is_spent!(),
    " ORDER BY e.seq LIMIT ?"
));

/// Removes events, given as a JSON list of row numbers, if they may still be removed.
pub(crate) const REMOVE_EVENTS: Sql<3> = Sql::new(concat!(
    "DELETE FROM events AS e WHERE e.seq IN (SELECT value FROM json_each(?)) AND ",
    is_spent!()
));

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("CANDIDATE", CANDIDATE.text()),
    ("GOING", GOING.text()),
    ("PURGEABLE", PURGEABLE.text()),
    ("POINTERS", POINTERS.text()),
    ("SUBSCRIPTIONS", SUBSCRIPTIONS.text()),
    ("FOREIGN_SUBSCRIPTIONS", FOREIGN_SUBSCRIPTIONS.text()),
    ("POSITIONS", POSITIONS.text()),
    ("FAILURES", FAILURES.text()),
    ("COMMAND", COMMAND.text()),
    ("REMOVE", REMOVE.text()),
    ("MARK", MARK.text()),
    ("REMOVE_POINTERS", REMOVE_POINTERS.text()),
    ("REMOVE_SUBSCRIPTIONS", REMOVE_SUBSCRIPTIONS.text()),
    ("REMOVE_FAILURES", REMOVE_FAILURES.text()),
    ("REMOVE_COMMANDS", REMOVE_COMMANDS.text()),
    ("EVENT_WINDOW", EVENT_WINDOW.text()),
    ("SPENT", SPENT.text()),
    ("REMOVE_EVENTS", REMOVE_EVENTS.text()),
];
