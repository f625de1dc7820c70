//! Statements on `workflows` that store new instances, child instances and commits.

use crate::request::{Own, Sql};

/// Inserts a new instance, unless its id, its name or its reference is taken. The first five arguments are columns outside
/// the model: owner, fencing token, reference, parent, and whether the instance has pointers (1 or NULL). The revision and
/// the columns of the model follow.
pub(crate) const INSERT: Sql<18> = Sql::new(concat!(
    "INSERT INTO workflows (owner, fence, start_key, parent, begun, revision, id, name, root_workflow_id, \
     workflow_definition_id, version, description, reference, next_execution, status, create_time, complete_time, \
     data, born) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ",
    last_position!(),
    ") ON CONFLICT DO NOTHING"
));

/// Guard: no instance has this id, except possibly a child of this parent that runs this definition.
pub(crate) const ID_IS_FREE_FOR_CHILD: Sql<3> = Sql::new(guard!(
    "NOT EXISTS (SELECT 1 FROM workflows WHERE id = ? AND (parent IS NOT ? OR workflow_definition_id <> ?))"
));

/// Guard: the instance (first argument) has this revision, and its pending control request has this number. 0 stands for
/// an instance that has ended, or has no pending request.
pub(crate) const IS_UNCHANGED: Sql<3> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM workflows WHERE id = ? AND revision = ? \
     AND iif(control IS NOT NULL AND status IN ('Runnable', 'Suspended'), control_number, 0) = ?)"
));

/// Sets the name of an instance to its id. The instance has made no progress, so the recorded numbers of process crashes
/// stay unchanged.
pub(crate) const TAKE_NAME: Sql<1> = Sql::new(
    "UPDATE workflows SET name = id, revision = revision + 1, \
       deaths_at = iif(deaths_at = revision, revision + 1, deaths_at) WHERE id = ?",
)
.own(Own::Instance);

/// Inserts a child, unless an instance with the child's id (last argument) exists already. The owner -1 marks
/// the child as new until the same script has stored its pointers. No other transaction ever sees this owner.
pub(crate) const INSERT_CHILD: Sql<16> = Sql::new(concat!(
    "INSERT INTO workflows (owner, parent, begun, revision, id, name, root_workflow_id, workflow_definition_id, \
     version, description, reference, next_execution, status, create_time, complete_time, data, born) \
     SELECT -1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ",
    last_position!(),
    " WHERE NOT EXISTS (SELECT 1 FROM workflows WHERE id = ?)"
));

/// Removes the mark of a new child, once the child and its pointers are stored.
pub(crate) const UNMARK_CHILD: Sql<1> =
    Sql::new("UPDATE workflows SET owner = NULL WHERE id = ? AND owner = -1");

/// The instance that was started with this definition and reference.
pub(crate) const STARTED: Sql<2> =
    Sql::new("SELECT id FROM workflows WHERE workflow_definition_id = ? AND start_key = ?");

/// The condition of a commit: the instance (first argument) has this fencing token (bound twice), and no control request
/// is pending, except possibly the request with this number. A NULL instead of the token stands for a commit whose script
/// has a guard of its own.
macro_rules! may_commit {
    () => {
        "id = ? AND (? IS NULL OR fence = ? AND (control IS NULL OR control_number = ?))"
    };
}

/// Reads the columns that show why an instance did not meet the condition `may_commit`.
pub(crate) const FENCE_AND_CONTROL: Sql<1> = Sql::new(concat!(
    "SELECT fence, control, control_number, ",
    intervention!(),
    " FROM workflows WHERE id = ?"
));

/// What every commit that makes progress sets: it raises the revision and the number of completions by the first two
/// arguments. The third one says whether the instance has begun, because it has stored live pointers. The fourth one is
/// the new data, or NULL if the data stays the same. (SQLite writes the whole row in either case.)
macro_rules! progress {
    () => {
        "revision = revision + ?, completions = completions + ?, claims = 0, begun = iif(?, 1, begun), \
         data = coalesce(?, data)"
    };
}

/// Updates the row of the instance in a commit, if the commit meets the condition `may_commit`.
pub(crate) const COMMIT: Sql<8> =
    Sql::new(concat!("UPDATE workflows SET ", progress!(), " WHERE ", may_commit!())).own(Own::Instance);

/// Finds a corrupt value that makes commits of this instance (bound twice) fail, and returns the column and
/// the row of the value. No version of WFE writes such a value. The statement runs after a commit has broken
/// a rule of the schema.
pub(crate) const OBSTACLES: Sql<2> = Sql::new(
    "SELECT iif(p.kind = 'live' AND p.number = 0, 'item_values', 'number'), p.id || ' of ' || w.id \
       FROM workflows AS w CROSS JOIN execution_pointers AS p ON p.workflow = w.seq WHERE w.id = ? \
       AND ((p.kind = 'live' AND (p.number <> 0 OR p.item_values IS NOT NULL)) \
         OR (p.kind = 'history' AND p.number > w.completions)) \
     UNION ALL SELECT 'consumed', CAST(seq AS TEXT) FROM event_subscriptions \
       WHERE kind = 'position' AND workflow_id = ? AND consumed IS NULL LIMIT 1",
);

/// Like `COMMIT`, but for a commit after which the instance has no step that can run now. The statement also
/// sets the next due time and releases the instance. One statement does all this, because each of three
/// separate statements would write to the index `workflows_due`.
pub(crate) const COMMIT_AND_PARK: Sql<9> = Sql::new(concat!(
    "UPDATE workflows SET ",
    progress!(),
    ", next_execution = ?, owner = NULL WHERE ",
    may_commit!()
))
.own(Own::Instance);

/// Like `COMMIT_AND_PARK`, but for the commit that ends the instance. The statement also sets the status, the
/// ending, the cause and the completion time.
pub(crate) const COMMIT_AND_END: Sql<13> = Sql::new(concat!(
    "UPDATE workflows SET ",
    progress!(),
    ", next_execution = ?, owner = NULL, status = ?, ending = ?, cause = ?, complete_time = ? WHERE ",
    may_commit!()
))
.own(Own::Instance);

/// Sets the status, the ending and the cause.
pub(crate) const SET_STATUS: Sql<4> =
    Sql::new("UPDATE workflows SET status = ?, ending = ?, cause = ? WHERE id = ?").own(Own::Instance);

/// Sets the next due time.
pub(crate) const SET_NEXT_EXECUTION: Sql<2> =
    Sql::new("UPDATE workflows SET next_execution = ? WHERE id = ?").own(Own::Instance);

/// Sets the time at which the instance ended.
pub(crate) const SET_COMPLETE_TIME: Sql<2> =
    Sql::new("UPDATE workflows SET complete_time = ? WHERE id = ?").own(Own::Instance);

/// Stores the attributes (first argument: a JSON object) that programs have set on an instance (second argument). Those that
/// are the store's own stay: their keys begin with `wfe.`. A statement of its own, because a step that names the column
/// writes to the index over it.
pub(crate) const SET_ATTRIBUTES: Sql<2> = Sql::new(
    "UPDATE workflows SET attributes = nullif(json_patch(?, \
       (SELECT json_group_object(own.key, json(workflows.attributes -> own.fullkey)) \
          FROM json_each(workflows.attributes) AS own WHERE substr(own.key, 1, 4) = 'wfe.')), '{}') WHERE id = ?",
)
.own(Own::Instance);

/// Clears the control request of the instance, because the request was carried out.
pub(crate) const CLEAR_CONTROL: Sql<1> =
    Sql::new("UPDATE workflows SET control = NULL, control_detail = NULL WHERE id = ?").own(Own::Instance);

/// Releases the instance. The fencing token stays unchanged; the next owner gets a higher token.
pub(crate) const RELEASE: Sql<1> =
    Sql::new("UPDATE workflows SET owner = NULL WHERE id = ?").own(Own::Instance);

/// Like `COMMIT`, but for a commit that only releases the instance. The instance has made no progress, so the
/// recorded numbers of process crashes stay unchanged.
pub(crate) const GIVE_BACK: Sql<6> = Sql::new(concat!(
    "UPDATE workflows SET owner = NULL, revision = revision + ?, \
       deaths_at = iif(deaths_at = revision, revision + ?, deaths_at) WHERE ",
    may_commit!()
))
.own(Own::Instance);

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("INSERT", INSERT.text()),
    ("IS_UNCHANGED", IS_UNCHANGED.text()),
    ("TAKE_NAME", TAKE_NAME.text()),
    ("ID_IS_FREE_FOR_CHILD", ID_IS_FREE_FOR_CHILD.text()),
    ("INSERT_CHILD", INSERT_CHILD.text()),
    ("UNMARK_CHILD", UNMARK_CHILD.text()),
    ("STARTED", STARTED.text()),
    ("FENCE_AND_CONTROL", FENCE_AND_CONTROL.text()),
    ("COMMIT", COMMIT.text()),
    ("OBSTACLES", OBSTACLES.text()),
    ("COMMIT_AND_PARK", COMMIT_AND_PARK.text()),
    ("COMMIT_AND_END", COMMIT_AND_END.text()),
    ("SET_STATUS", SET_STATUS.text()),
    ("SET_NEXT_EXECUTION", SET_NEXT_EXECUTION.text()),
    ("SET_COMPLETE_TIME", SET_COMPLETE_TIME.text()),
    ("SET_ATTRIBUTES", SET_ATTRIBUTES.text()),
    ("CLEAR_CONTROL", CLEAR_CONTROL.text()),
    ("RELEASE", RELEASE.text()),
    ("GIVE_BACK", GIVE_BACK.text()),
];
