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

/// Guard: no other instance than this one (second) has this name (first).
pub(crate) const NAME_IS_FREE_FOR: Sql<2> =
    Sql::new(guard!("NOT EXISTS (SELECT 1 FROM workflows WHERE name = ? AND id <> ?)"));

/// Guard: the instance with this `seq` is still at this revision.
pub(crate) const IS_AT: Sql<2> =
    Sql::new(guard!("EXISTS (SELECT 1 FROM workflows WHERE seq = ? AND revision = ?)"));

/// A new instance: its revision, whether it has pointers (1 or NULL), then the model. Like every statement that
/// creates an instance, it comes after the two that give due events their positions: events that became due
/// before are not for it.
pub(crate) const INSERT: Sql<14> = Sql::new(concat!(
    "INSERT INTO workflows (revision, begun, ",
    model!(),
    ", born) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ",
    last_position!(),
    ") RETURNING seq"
));

/// Nothing of the row itself changed, except whether it has pointers (1 or NULL), here and below. (An UPDATE
/// rewrites the entry of every index of which it names a column.)
pub(crate) const TOUCH: Sql<3> =
    Sql::new("UPDATE workflows SET revision = ?, begun = ? WHERE seq = ?").own(Own::Instance);

/// What changes while an instance runs.
pub(crate) const UPDATE_STATE: Sql<6> = Sql::new(
    "UPDATE workflows SET revision = ?, begun = ?, next_execution = ?, status = ?, complete_time = ? WHERE seq = ?",
)
.own(Own::Instance);

/// All of the model but id and data.
pub(crate) const UPDATE: Sql<13> = Sql::new(
    "UPDATE workflows SET revision = ?, begun = ?, name = ?, root_workflow_id = ?, workflow_definition_id = ?, \
     version = ?, description = ?, reference = ?, next_execution = ?, status = ?, create_time = ?, complete_time = ? \
     WHERE seq = ?",
)
.own(Own::Instance);

/// The data, if it changed: it may be large.
pub(crate) const UPDATE_DATA: Sql<2> =
    Sql::new("UPDATE workflows SET data = ? WHERE seq = ?").own(Own::Instance);

/// Ids of due instances, earliest first. Reads `workflows_due`: the condition on the status is the index's own.
pub(crate) const DUE: Sql<1> = Sql::new(
    "SELECT id FROM workflows INDEXED BY workflows_due \
     WHERE status = 'Runnable' AND next_execution IS NOT NULL AND next_execution <= ? ORDER BY next_execution, seq",
);

/// Proves that a cached copy is up to date.
pub(crate) const STAMP: Sql<1> = Sql::new("SELECT seq, revision FROM workflows WHERE id = ?");

/// An instance by id, unless the copy of the caller (`seq`, `revision`; NULL: none) is up to date.
pub(crate) const LOAD: Sql<3> = Sql::new(concat!(
    "SELECT seq, revision, ",
    model!(),
    " FROM workflows WHERE id = ? AND (seq, revision) IS NOT (?, ?)"
));

/// The id of a name.
pub(crate) const ID_OF_NAME: Sql<1> = Sql::new("SELECT id FROM workflows WHERE name = ?");

/// Instances by a JSON list of ids, each written as hexadecimal digits: SQLite's JSON functions end a text at a NUL.
pub(crate) const LOAD_MANY: Sql<1> = Sql::new(concat!(
    "SELECT seq, revision, ",
    model!(),
    " FROM workflows WHERE id IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?))"
));

/// All of them, for the tests.
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
