//! Statements on `execution_pointers`.

use crate::request::{Own, Sql};

/// The model's columns, in the order in which the codec reads and writes them.
macro_rules! model {
    () => {
        "id, step_id, active, status, sleep_until, persistence_data, start_time, end_time, event_name, event_key, \
         event_published, event_data, step_name, retry_count, children, context_item, predecessor_id, outcome, scope, \
         extension_attributes"
    };
}

/// The assignments of an `UPDATE`: each column of the model except the id, and the container, gets a new value.
macro_rules! assigned {
    () => {
        "step_id = ?, active = ?, status = ?, sleep_until = ?, persistence_data = ?, start_time = ?, \
         end_time = ?, event_name = ?, event_key = ?, event_published = ?, event_data = ?, step_name = ?, \
         retry_count = ?, children = ?, context_item = ?, predecessor_id = ?, outcome = ?, scope = ?, \
         extension_attributes = ?, container = ?"
    };
}

/// The assignments of an upsert: each column of the model except the id, and the container, gets its value from the row
/// that could not be inserted.
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

/// The position of a live pointer. If a corrupt column would prevent the pointer from becoming a history row, the name
/// of this column instead.
macro_rules! position {
    () => {
        "iif(number <> 0, 'number', iif(item_values IS NULL, position, 'item_values'))"
    };
}

/// Inserts a live pointer of the instance with this `seq` at this position.
pub(crate) const INSERT: Sql<23> = Sql::new(concat!(
    "INSERT INTO execution_pointers (workflow, position, kind, number, ",
    model!(),
    ", container) VALUES (?, ?, 'live', 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
))
.own(Own::Pointers);

/// Changes a live pointer: its position, and every column of the model except the id. The last two arguments are the `seq`
/// of the instance and the id of the pointer. This takes half the time of an `INSERT` that may find the pointer stored
/// already, and writes no index.
pub(crate) const CHANGE: Sql<23> = Sql::new(concat!(
    "UPDATE execution_pointers SET position = ?, ",
    assigned!(),
    " WHERE workflow = ? AND kind = 'live' AND id = ? AND number = 0"
))
.own(Own::Pointers);

/// Inserts a pointer of a new instance. The instance is given by its id, because it has no `seq` before its row is
/// stored.
pub(crate) const PUT_NEW: Sql<23> = Sql::new(concat!(
    "INSERT INTO execution_pointers (workflow, position, kind, number, ",
    model!(),
    ", container) VALUES ((SELECT seq FROM workflows WHERE id = ?), ?, 'live', 0, \
     ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
))
.own(Own::Pointers);

/// Inserts or changes a live pointer of the instance with this id (last argument). A pointer that is already stored
/// keeps its position. The first argument is subtracted from the new revision of the instance; the positions of new
/// pointers are computed from the difference. The second argument is the index of the pointer within the commit.
pub(crate) const PUT_IN_COMMIT: Sql<24> = Sql::new(concat!(
    "INSERT INTO execution_pointers (workflow, position, kind, number, ",
    model!(),
    ", container) SELECT seq, ((revision - ?) << 20) + ?, 'live', 0, \
     ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM workflows WHERE id = ? \
     ON CONFLICT (workflow, kind, id, number) DO UPDATE SET ",
    excluded!()
))
.own(Own::Pointers);

/// Inserts a pointer of a child that the same script has inserted (see `commits::INSERT_CHILD`). The child's id comes
/// last.
pub(crate) const PUT_IN_CHILD: Sql<23> = Sql::new(concat!(
    "INSERT INTO execution_pointers (workflow, position, kind, number, ",
    model!(),
    ", container) SELECT seq, ?, 'live', 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? \
     FROM workflows WHERE id = ? AND owner = -1"
));

/// Turns the row of a live pointer into a history row that contains the final values of the pointer. The first argument
/// is the number of pointers of the same commit that complete after this pointer. The last two arguments are the id of
/// the instance and the id of the pointer.
pub(crate) const FINISH: Sql<23> = Sql::new(concat!(
    "UPDATE execution_pointers SET kind = 'history', \
       number = (SELECT completions FROM workflows WHERE workflows.seq = execution_pointers.workflow) - ?, ",
    assigned!(),
    " WHERE workflow = (SELECT seq FROM workflows WHERE id = ?) AND kind = 'live' AND id = ? AND number = 0"
))
.own(Own::Pointers);

/// Runs if `FINISH` has changed no row, because the pointer was never stored as a live pointer: inserts its history row.
pub(crate) const FINISH_AT_ONCE: Sql<23> = Sql::new(concat!(
    "INSERT INTO execution_pointers (workflow, position, kind, number, ",
    model!(),
    ", container) SELECT seq, 0, 'history', completions - ?, \
     ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM workflows WHERE id = ?"
))
.own(Own::Pointers);

/// A page of history. The arguments are the instance, the container, the highest number that comes before the page, and
/// the maximum number of rows.
pub(crate) const HISTORY: Sql<4> = Sql::new(concat!(
    "SELECT number, ",
    model!(),
    " FROM execution_pointers INDEXED BY execution_pointers_history WHERE kind = 'history' \
     AND workflow = (SELECT seq FROM workflows WHERE id = ?) AND container = ? AND number > ? \
     ORDER BY number LIMIT ?"
));

/// A page of the whole history of an instance. The arguments are the instance, the highest number that comes before the page,
/// and the maximum number of rows. The numbers come from an index, which has them by container, and are sorted: of these
/// rows, only those of the page are read.
pub(crate) const WHOLE_HISTORY: Sql<3> = Sql::new(concat!(
    "SELECT h.number, ",
    model!(),
    " FROM (SELECT seq, number FROM execution_pointers INDEXED BY execution_pointers_history WHERE kind = 'history' \
       AND workflow = (SELECT seq FROM workflows WHERE id = ?) AND number > ? ORDER BY number LIMIT ?) AS h \
     CROSS JOIN execution_pointers AS p ON p.seq = h.seq"
));

/// Removes all items of one container. The arguments are the instance and the container.
pub(crate) const REMOVE_ITEMS: Sql<2> = Sql::new(
    "DELETE FROM execution_pointers WHERE workflow = (SELECT seq FROM workflows WHERE id = ?) \
     AND kind = 'items' AND id = ?",
)
.own(Own::Pointers);

/// Inserts a chunk of a container's items. The arguments are the index of the first item of the chunk, the container, a
/// JSON list of the items, and the instance.
pub(crate) const PUT_ITEMS: Sql<4> = Sql::new(
    "INSERT INTO execution_pointers (workflow, kind, number, id, item_values, position, step_id, active, status, \
       event_published, retry_count, children, scope, extension_attributes, container) \
     SELECT seq, 'items', ?, ?, ?, 0, 0, 0, 'Pending', 0, 0, '[]', '[]', '{}', '' FROM workflows WHERE id = ?",
)
.own(Own::Pointers);

/// The chunks that contain the items of a container within a range of indexes. The range begins at the third argument,
/// which is repeated as the sixth, and ends before the seventh. The last argument is the maximum number of chunks.
pub(crate) const ITEMS: Sql<8> = Sql::new(
    "SELECT number, item_values FROM execution_pointers \
     WHERE workflow = (SELECT seq FROM workflows WHERE id = ?) AND kind = 'items' AND id = ? AND number >= ( \
       SELECT coalesce(max(number), ?) FROM execution_pointers \
       WHERE workflow = (SELECT seq FROM workflows WHERE id = ?) AND kind = 'items' AND id = ? AND number <= ?) \
     AND number < ? ORDER BY number LIMIT ?",
);

/// Removes a live pointer.
pub(crate) const REMOVE: Sql<2> =
    Sql::new("DELETE FROM execution_pointers WHERE workflow = ? AND kind = 'live' AND id = ? AND number = 0")
        .own(Own::Pointers);

/// The live pointers of an instance, in any order: SQLite would copy all columns of all rows to sort them, while the caller
/// sorts them by `position` when they are decoded. Returns no rows if the caller's copy is up to date (see
/// `workflows::LOAD`).
pub(crate) const LOAD: Sql<3> = Sql::new(concat!(
    "SELECT ",
    position!(),
    ", ",
    model!(),
    " FROM execution_pointers WHERE kind = 'live' AND workflow = \
     (SELECT seq FROM workflows WHERE id = ? AND (seq, revision) IS NOT (?, ?))"
));

/// The live pointers of several instances (see `workflows::LOAD_MANY`), in order within each instance.
pub(crate) const LOAD_MANY: Sql<1> = Sql::new(concat!(
    "SELECT workflow, ",
    position!(),
    ", ",
    model!(),
    " FROM execution_pointers WHERE kind = 'live' AND workflow IN \
     (SELECT seq FROM workflows WHERE id IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?))) \
     ORDER BY workflow, position"
));

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("INSERT", INSERT.text()),
    ("CHANGE", CHANGE.text()),
    ("PUT_NEW", PUT_NEW.text()),
    ("PUT_IN_COMMIT", PUT_IN_COMMIT.text()),
    ("PUT_IN_CHILD", PUT_IN_CHILD.text()),
    ("FINISH", FINISH.text()),
    ("FINISH_AT_ONCE", FINISH_AT_ONCE.text()),
    ("HISTORY", HISTORY.text()),
    ("WHOLE_HISTORY", WHOLE_HISTORY.text()),
    ("REMOVE_ITEMS", REMOVE_ITEMS.text()),
    ("PUT_ITEMS", PUT_ITEMS.text()),
    ("ITEMS", ITEMS.text()),
    ("REMOVE", REMOVE.text()),
    ("LOAD", LOAD.text()),
    ("LOAD_MANY", LOAD_MANY.text()),
];
