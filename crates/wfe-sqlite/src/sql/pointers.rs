//! Statements on `execution_pointers`.

use crate::script::Sql;

/// The model's columns, in the order in which the codec reads and writes them.
macro_rules! model {
    () => {
        "id, step_id, active, status, sleep_until, persistence_data, start_time, end_time, event_name, event_key, \
         event_published, event_data, step_name, retry_count, children, context_item, predecessor_id, outcome, scope, \
         extension_attributes"
    };
}

/// The same columns, taken over from the row that was to be inserted.
macro_rules! excluded {
    () => {
        "step_id = excluded.step_id, active = excluded.active, status = excluded.status, \
         sleep_until = excluded.sleep_until, persistence_data = excluded.persistence_data, \
         start_time = excluded.start_time, end_time = excluded.end_time, event_name = excluded.event_name, \
         event_key = excluded.event_key, event_published = excluded.event_published, \
         event_data = excluded.event_data, step_name = excluded.step_name, retry_count = excluded.retry_count, \
         children = excluded.children, context_item = excluded.context_item, \
         predecessor_id = excluded.predecessor_id, outcome = excluded.outcome, scope = excluded.scope, \
         extension_attributes = excluded.extension_attributes, container = excluded.container"
    };
}

/// A live pointer of the instance with this `seq`, new or changed, at this position.
pub(crate) const PUT: Sql<23> = Sql::new(concat!(
    "INSERT INTO execution_pointers (workflow, position, kind, number, ",
    model!(),
    ", container) VALUES (?, ?, 'live', 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
     ON CONFLICT (workflow, kind, id, number) DO UPDATE SET position = excluded.position, ",
    excluded!()
));

/// The pointers of a new instance, by its id: its `seq` is not known before it is stored.
pub(crate) const PUT_NEW: Sql<23> = Sql::new(concat!(
    "INSERT INTO execution_pointers (workflow, position, kind, number, ",
    model!(),
    ", container) VALUES ((SELECT seq FROM workflows WHERE id = ?), ?, 'live', 0, \
     ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
));

/// A live pointer that is no longer there.
pub(crate) const REMOVE: Sql<2> =
    Sql::new("DELETE FROM execution_pointers WHERE workflow = ? AND kind = 'live' AND id = ? AND number = 0");

/// The live pointers of an instance, in order, unless the caller's copy is this very state (see `workflows::LOAD`).
pub(crate) const LOAD: Sql<3> = Sql::new(concat!(
    "SELECT position, ",
    model!(),
    " FROM execution_pointers WHERE kind = 'live' AND workflow = \
     (SELECT seq FROM workflows WHERE id = ? AND (seq, revision) IS NOT (?, ?)) ORDER BY position"
));

/// The live pointers of several instances (see `workflows::LOAD_MANY`), each one's in order.
pub(crate) const LOAD_MANY: Sql<1> = Sql::new(concat!(
    "SELECT workflow, position, ",
    model!(),
    " FROM execution_pointers WHERE kind = 'live' AND workflow IN \
     (SELECT seq FROM workflows WHERE id IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?))) \
     ORDER BY workflow, position"
));
