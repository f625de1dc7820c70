//! Statements on `execution_errors`.

use crate::request::Sql;

/// Inserts a failure of which only the time, the instance, the pointer and the message are known.
pub(crate) const INSERT_PLAIN: Sql<4> = Sql::new(
    "INSERT INTO execution_errors (error_time, workflow_id, execution_pointer_id, message) VALUES (?, ?, ?, ?)",
);

/// Inserts a failure of a step.
pub(crate) const INSERT: Sql<8> = Sql::new(
    "INSERT INTO execution_errors (error_time, workflow_id, execution_pointer_id, message, step, attempt, code, causes) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
);

/// Reads a page of the failures of an instance, oldest first.
pub(crate) const OF_INSTANCE: Sql<3> = Sql::new(
    "SELECT seq, error_time, workflow_id, execution_pointer_id, message, step, attempt, code, causes \
     FROM execution_errors WHERE workflow_id = ? AND seq > ? ORDER BY seq LIMIT ?",
);

/// Reads the last failure of one pointer. The statement searches the failures of the pointer's instance, beginning with
/// the newest failure. A pointer that waits for its next attempt has failed recently, so this search is short. An index
/// by pointer would slow down every insertion of a failure by more than it would save here.
pub(crate) const LAST_OF_POINTER: Sql<2> = Sql::new(
    "SELECT seq, error_time, workflow_id, execution_pointer_id, message, step, attempt, code, causes \
     FROM execution_errors WHERE workflow_id = ? AND execution_pointer_id = ? ORDER BY seq DESC LIMIT 1",
);

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("INSERT_PLAIN", INSERT_PLAIN.text()),
    ("INSERT", INSERT.text()),
    ("OF_INSTANCE", OF_INSTANCE.text()),
    ("LAST_OF_POINTER", LAST_OF_POINTER.text()),
];
