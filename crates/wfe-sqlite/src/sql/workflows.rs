//! Statements on `workflows`.

use crate::request::{Own, Sql};

/// The model's columns, in the order in which the codec reads them.
macro_rules! model {
    () => {
        "id, name, root_workflow_id, workflow_definition_id, version, description, reference, next_execution, \
         status, create_time, complete_time, data"
    };
}

/// Guard: no instance has this id.
pub(crate) const ID_IS_FREE: Sql<1> = Sql::new(guard!("NOT EXISTS (SELECT 1 FROM workflows WHERE id = ?)"));

/// Guard: no instance has this name.
pub(crate) const NAME_IS_FREE: Sql<1> =
    Sql::new(guard!("NOT EXISTS (SELECT 1 FROM workflows WHERE name = ?)"));

/// Guard: no instance except this one (second) has this name (first).
pub(crate) const NAME_IS_FREE_FOR: Sql<2> =
    Sql::new(guard!("NOT EXISTS (SELECT 1 FROM workflows WHERE name = ? AND id <> ?)"));

/// Guard: the instance with this `seq` is still at this revision.
pub(crate) const IS_AT: Sql<2> =
    Sql::new(guard!("EXISTS (SELECT 1 FROM workflows WHERE seq = ? AND revision = ?)"));

/// Inserts a new instance. The arguments are its revision, whether it has pointers (1 or NULL), and then the model.
/// Like every statement that creates an instance, it runs after the two that give due events their positions, because
/// the new instance does not receive events that became due earlier.
pub(crate) const INSERT: Sql<14> = Sql::new(concat!(
    "INSERT INTO workflows (revision, begun, ",
    model!(),
    ", born) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ",
    last_position!(),
    ") RETURNING seq"
));

/// Sets only the revision and whether the instance has pointers (1 or NULL), for an instance whose row is otherwise
/// unchanged. (An UPDATE rewrites the entry of every index that contains one of the columns it sets.)
pub(crate) const TOUCH: Sql<3> =
    Sql::new("UPDATE workflows SET revision = ?, begun = ? WHERE seq = ?").own(Own::Instance);

/// Sets the columns that change while an instance runs.
pub(crate) const UPDATE_STATE: Sql<6> = Sql::new(
    "UPDATE workflows SET revision = ?, begun = ?, next_execution = ?, status = ?, complete_time = ? WHERE seq = ?",
)
.own(Own::Instance);

/// Sets all columns of the model except id and data.
pub(crate) const UPDATE: Sql<13> = Sql::new(
    "UPDATE workflows SET revision = ?, begun = ?, name = ?, root_workflow_id = ?, workflow_definition_id = ?, \
     version = ?, description = ?, reference = ?, next_execution = ?, status = ?, create_time = ?, complete_time = ? \
     WHERE seq = ?",
)
.own(Own::Instance);

/// Sets the data, if it has changed. This is a separate statement, because the data may be large.
pub(crate) const UPDATE_DATA: Sql<2> =
    Sql::new("UPDATE workflows SET data = ? WHERE seq = ?").own(Own::Instance);

/// The ids of due instances, earliest first. Reads the index `workflows_due`; the condition on the status is the
/// condition of this index.
pub(crate) const DUE: Sql<1> = Sql::new(
    "SELECT id FROM workflows INDEXED BY workflows_due \
     WHERE status = 'Runnable' AND next_execution IS NOT NULL AND next_execution <= ? ORDER BY next_execution, seq",
);

/// The `seq` and the revision of an instance, which show whether a cached copy is up to date.
pub(crate) const STAMP: Sql<1> = Sql::new("SELECT seq, revision FROM workflows WHERE id = ?");

/// An instance by id, unless the caller's copy (`seq` and `revision`; NULL if there is no copy) is up to date.
pub(crate) const LOAD: Sql<3> = Sql::new(concat!(
    "SELECT seq, revision, ",
    model!(),
    " FROM workflows WHERE id = ? AND (seq, revision) IS NOT (?, ?)"
));

/// The id of the instance with this name.
pub(crate) const ID_OF_NAME: Sql<1> = Sql::new("SELECT id FROM workflows WHERE name = ?");

/// Instances by a JSON list of ids, each written as hexadecimal digits, because SQLite's JSON functions end a string at
/// a NUL.
pub(crate) const LOAD_MANY: Sql<1> = Sql::new(concat!(
    "SELECT seq, revision, ",
    model!(),
    " FROM workflows WHERE id IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?))"
));

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("ID_IS_FREE", ID_IS_FREE.text()),
    ("NAME_IS_FREE", NAME_IS_FREE.text()),
    ("NAME_IS_FREE_FOR", NAME_IS_FREE_FOR.text()),
    ("IS_AT", IS_AT.text()),
    ("INSERT", INSERT.text()),
    ("TOUCH", TOUCH.text()),
    ("UPDATE_STATE", UPDATE_STATE.text()),
    ("UPDATE", UPDATE.text()),
    ("UPDATE_DATA", UPDATE_DATA.text()),
    ("DUE", DUE.text()),
    ("STAMP", STAMP.text()),
    ("LOAD", LOAD.text()),
    ("ID_OF_NAME", ID_OF_NAME.text()),
    ("LOAD_MANY", LOAD_MANY.text()),
];
