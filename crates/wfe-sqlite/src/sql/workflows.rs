//! Statements on `workflows`.

use crate::request::{Own, Sql};

/// The model's columns, in the order in which the codec reads them.
macro_rules! model {
    () => {
        "id, name, root_workflow_id, workflow_definition_id, version, description, reference, next_execution, \
         status, create_time, complete_time, data"
    };
}

/// Guard: no instance has this name (first argument), except possibly the instance with this id (second).
pub(crate) const NAME_IS_FREE_FOR: Sql<2> =
    Sql::new(guard!("NOT EXISTS (SELECT 1 FROM workflows WHERE name = ? AND id <> ?)"));

/// Inserts a new instance, unless its id or its name is taken. The arguments are the revision, whether the instance has
/// pointers (1 or NULL), and the columns of the model. A new instance does not receive events that became due before its
/// creation. Every statement that creates an instance therefore runs after the two statements that give such events their
/// positions.
pub(crate) const INSERT: Sql<14> = Sql::new(concat!(
    "INSERT INTO workflows (revision, begun, ",
    model!(),
    ", born) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ",
    last_position!(),
    ") ON CONFLICT DO NOTHING"
));

/// Sets only the revision, and whether the instance has pointers (1 or NULL), if the instance is still at the revision
/// that was read (last argument). Used if no other column of the row has changed. (An `UPDATE` that sets a column also
/// rewrites the entries of all indexes that contain the column.)
pub(crate) const TOUCH: Sql<4> =
    Sql::new("UPDATE workflows SET revision = ?, begun = ? WHERE seq = ? AND revision = ?")
        .own(Own::Instance);

/// Like `TOUCH`, and sets the columns that change while an instance runs.
pub(crate) const UPDATE_STATE: Sql<7> = Sql::new(
    "UPDATE workflows SET revision = ?, begun = ?, next_execution = ?, status = ?, complete_time = ? \
     WHERE seq = ? AND revision = ?",
)
.own(Own::Instance);

/// Like `TOUCH`, and sets all columns of the model except id and data.
pub(crate) const UPDATE: Sql<14> = Sql::new(
    "UPDATE workflows SET revision = ?, begun = ?, name = ?, root_workflow_id = ?, workflow_definition_id = ?, \
     version = ?, description = ?, reference = ?, next_execution = ?, status = ?, create_time = ?, complete_time = ? \
     WHERE seq = ? AND revision = ?",
)
.own(Own::Instance);

/// Sets the data. This is a separate statement, used only if the data has changed, because the data may be large.
pub(crate) const UPDATE_DATA: Sql<2> =
    Sql::new("UPDATE workflows SET data = ? WHERE seq = ?").own(Own::Instance);

/// The ids of due instances, earliest first. The condition on the status repeats the `WHERE` of the partial index
/// `workflows_due`, so that SQLite can use this index.
pub(crate) const DUE: Sql<1> = Sql::new(
    "SELECT id FROM workflows INDEXED BY workflows_due \
     WHERE status = 'Runnable' AND next_execution IS NOT NULL AND next_execution <= ? ORDER BY next_execution, seq",
);

/// The `seq` and the revision of an instance, which show whether a cached copy is up to date.
pub(crate) const STAMP: Sql<1> = Sql::new("SELECT seq, revision FROM workflows WHERE id = ?");

/// The instance with this id. Returns no row if the caller's copy is up to date. The last two arguments are the `seq`
/// and the revision of the copy (both NULL if there is no copy).
pub(crate) const LOAD: Sql<3> = Sql::new(concat!(
    "SELECT seq, revision, ",
    model!(),
    " FROM workflows WHERE id = ? AND (seq, revision) IS NOT (?, ?)"
));

/// The instance with this id, if there is one.
pub(crate) const ID: Sql<1> = Sql::new("SELECT id FROM workflows WHERE id = ?");

/// The id of the instance with this name.
pub(crate) const ID_OF_NAME: Sql<1> = Sql::new("SELECT id FROM workflows WHERE name = ?");

/// The instances that have not ended and whose names are in a range (first argument included, second excluded), in the
/// order in which they were stored. The `+` keeps SQLite from reading the whole table in this order instead.
pub(crate) const NAMED: Sql<4> = Sql::new(
    "SELECT seq, id FROM workflows WHERE name >= ? AND name < ? AND +seq > ? AND status IN ('Runnable', 'Suspended') \
     ORDER BY +seq LIMIT ?",
);

/// The instances whose ids are in a JSON list. Each id is written in hexadecimal, because SQLite's JSON functions end a
/// string at a NUL character.
pub(crate) const LOAD_MANY: Sql<1> = Sql::new(concat!(
    "SELECT seq, revision, ",
    model!(),
    " FROM workflows WHERE id IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?))"
));

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("NAME_IS_FREE_FOR", NAME_IS_FREE_FOR.text()),
    ("ID", ID.text()),
    ("INSERT", INSERT.text()),
    ("TOUCH", TOUCH.text()),
    ("UPDATE_STATE", UPDATE_STATE.text()),
    ("UPDATE", UPDATE.text()),
    ("UPDATE_DATA", UPDATE_DATA.text()),
    ("DUE", DUE.text()),
    ("STAMP", STAMP.text()),
    ("LOAD", LOAD.text()),
    ("ID_OF_NAME", ID_OF_NAME.text()),
    ("NAMED", NAMED.text()),
    ("LOAD_MANY", LOAD_MANY.text()),
];
