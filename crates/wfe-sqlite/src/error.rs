//! Converts SQLite's extended result codes to [`WfeError`], and makes the errors for unusable files and corrupt values.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use wfe_core::{BoxError, WfeError};

use crate::{request::Script, sqlx};

/// `SQLITE_CONSTRAINT_NOTNULL`: a guard fails with this code if its condition does not hold.
const NOT_NULL: i32 = 1299;
const ERROR: i32 = 1;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const FULL: i32 = 13;
const CORRUPT: i32 = 11;
const CONSTRAINT: i32 = 19;
const PROTOCOL: i32 = 15;
const NOT_A_DATABASE: i32 = 26;

/// The error for a database file that cannot be used, or for an unusable file beside the database.
pub(crate) fn unusable(path: &Path, reason: impl Into<String>, source: Option<BoxError>) -> WfeError {
    WfeError::Unusable { path: path.to_owned(), reason: reason.into(), source }
}

/// The extended result code, if the error comes from SQLite.
pub(crate) fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn primary(error: &sqlx::Error) -> Option<i32> {
    code(error).map(|code| code & 0xff)
}

/// Whether this is the error of a guard.
pub(crate) fn is_not_null_violation(error: &sqlx::Error) -> bool {
    code(error) == Some(NOT_NULL)
}

/// Whether a rule of the schema refused the statement: a CHECK, a UNIQUE, a foreign key or a trigger.
pub(crate) fn is_constraint_violation(error: &sqlx::Error) -> bool {
    primary(error) == Some(CONSTRAINT)
}

/// Whether another connection held the database for too long. A statement that fails for this reason has changed
/// nothing.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary(error), Some(BUSY | LOCKED | PROTOCOL))
}

/// Whether the file is damaged ("malformed"), or was overwritten with something else ("not a database").
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    matches!(primary(error), Some(CORRUPT | NOT_A_DATABASE))
}

/// Whether the thread of the connection has panicked. Nothing may be sent to a thread that has panicked.
pub(crate) fn is_crash(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::WorkerCrashed)
}

/// Whether the connection may not be used again, because its thread has ended or may soon panic. After a statement has
/// failed, sqlx resets all statements of the query text. The reset panics in one case: SQLite could not prepare the
/// failed statement again, because a table or an index was dropped, and has already discarded the error.
pub(crate) fn ends_connection(error: &sqlx::Error) -> bool {
    is_crash(error) || primary(error) == Some(ERROR)
}

/// Whether the disk is full, or the database has reached its configured maximum size.
pub(crate) fn is_full(error: &sqlx::Error) -> bool {
    primary(error) == Some(FULL)
}

/// The error of a read, or of a write that certainly stored nothing.
///
/// The SQLite error is shared, because one SQLite error can make many requests fail.
pub(crate) fn storage(doing: &str, error: &Arc<sqlx::Error>) -> WfeError {
    let message = format!("{doing}: {error}");
    let source: Option<BoxError> = Some(Box::new(Arc::clone(error)));
    if is_busy(error) {
        WfeError::Busy { message, source }
    } else if is_full(error) {
        WfeError::Full { message, source }
    } else {
        WfeError::Storage { message, source }
    }
}

/// The error of a write in which this statement broke a rule of the schema. A stored row is at fault: if the caller's
/// values broke a rule, they would have been refused earlier, or by a guard. SQLite does not report which stored row is
/// at fault. If the statement writes only rows that belong to the subject of its script, the error names the subject. A
/// fault in other rows is not attributed to the subject.
pub(crate) fn broken_rule(script: &Script, statement: usize, error: &Arc<sqlx::Error>) -> WfeError {
    let own = script.statements.get(statement).and_then(|statement| statement.own);
    match own.zip(script.subject()) {
        Some((own, subject)) => WfeError::Corrupt {
            table: own.table(),
            column: "*",
            row: subject.to_owned(),
            message: "the stored rows prevent this write".to_owned(),
            source: Some(Box::new(Arc::clone(error))),
        },
        None => storage("writing", error),
    }
}

/// Adds the name of the database to an error that the store returns to its caller. Most of the code that makes errors
/// does not know this name.
pub(crate) fn of(location: &str, error: WfeError) -> WfeError {
    let named = |message: String| format!("{location}: {message}");
    match error {
        WfeError::Busy { message, source } => WfeError::Busy { message: named(message), source },
        WfeError::Full { message, source } => WfeError::Full { message: named(message), source },
        WfeError::Storage { message, source } => WfeError::Storage { message: named(message), source },
        WfeError::CommitUnknown { message, source } => {
            WfeError::CommitUnknown { message: named(message), source }
        }
        // The other errors already name the database, or concern something that is not a file.
        other => other,
    }
}

/// Adds the name of the database to the error of a value that does not decode. Other errors stay unchanged.
pub(crate) fn of_corrupt(location: &str, error: WfeError) -> WfeError {
    match error {
        WfeError::Corrupt { table, column, row, message, source } => {
            WfeError::Corrupt { table, column, row, message: format!("{location}: {message}"), source }
        }
        other => other,
    }
}

/// The SQLite error from which a [`WfeError::Storage`] was made. `None` for other errors.
pub(crate) fn cause(error: &WfeError) -> Option<&Arc<sqlx::Error>> {
    match error {
        WfeError::Storage { source: Some(source), .. } => source.downcast_ref(),
        _ => None,
    }
}

/// The error of a write that has waited in vain, because other processes held the database.
pub(crate) fn busy(location: &str, waited: Duration, held: &Arc<dyn Error + Send + Sync>) -> WfeError {
    let message = format!(
        "waited {waited:.1?} for the write lock of {location}, which other processes held ({held}); if one of them \
         is stopped during a commit, kill or resume it; otherwise raise busy_timeout"
    );
    WfeError::Busy { message, source: Some(Box::new(Arc::clone(held))) }
}

/// The error of a COMMIT whose outcome is unknown.
pub(crate) fn commit_unknown(error: &Arc<sqlx::Error>) -> WfeError {
    WfeError::CommitUnknown { message: error.to_string(), source: Some(Box::new(Arc::clone(error))) }
}

/// The error for a stored value that does not decode, or that contradicts other stored values.
pub(crate) fn corrupt(
    table: &'static str,
    column: &'static str,
    row: &str,
    message: impl Into<String>,
    source: Option<BoxError>,
) -> WfeError {
    WfeError::Corrupt { table, column, row: row.to_owned(), message: message.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        request::{Sql, Value},
        sql,
        sqlx::{Connection, Executor, SqliteConnection},
    };
    use wfe_core::Advice;

    #[tokio::test]
    async fn errors_are_told_apart_by_code() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        connection.execute("CREATE TABLE t (a INTEGER NOT NULL) STRICT").await.unwrap();
        let guard = connection.execute("INSERT INTO t SELECT NULL WHERE NOT EXISTS (SELECT 1 FROM t)").await;
        assert!(is_not_null_violation(&guard.unwrap_err()));
        let typo = connection.execute("SELECT nothing").await.unwrap_err();
        assert!(!is_not_null_violation(&typo) && !is_busy(&typo) && !is_full(&typo));
        assert_eq!(storage("reading", &Arc::new(typo)).advice(), Advice::GiveUp);
    }

    fn broken<const N: usize>(sql: &Sql<N>, subject: Option<&str>) -> WfeError {
        let mut script = Script::about("a");
        // The arguments of a guard may name the subject, like the arguments of any other statement.
        script.guard(&sql::events::EXISTS, [subject.into()]);
        let statement = script.add(sql, std::array::from_fn(|_| Value::Null));
        broken_rule(&script, statement, &Arc::new(sqlx::Error::RowNotFound))
    }

    fn blamed<const N: usize>(sql: &Sql<N>) -> Option<&'static str> {
        match broken(sql, Some("a")) {
            WfeError::Corrupt { table, column: "*", row, message, .. } => {
                assert!(row == "a" && !message.contains("no rows"), "{row}: {message}");
                Some(table)
            }
            WfeError::Storage { .. } => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_instance_is_blamed_for_its_own_rows_only() {
        assert_eq!(blamed(&sql::commits::COMMIT), Some("workflows"));
        assert_eq!(blamed(&sql::ownership::QUARANTINE), Some("workflows"));
        assert_eq!(blamed(&sql::ownership::REQUEST), Some("workflows"));
        assert_eq!(blamed(&sql::pointers::FINISH), Some("execution_pointers"));
        assert_eq!(blamed(&sql::pointers::PUT_IN_COMMIT), Some("execution_pointers"));
        assert_eq!(blamed(&sql::subscriptions::CLOSE), Some("event_subscriptions"));
        assert_eq!(blamed(&sql::streams::ADVANCE), Some("event_subscriptions"));
        // These rows belong to several instances, to another instance, or to all instances.
        assert_eq!(blamed(&sql::ownership::FREE), None);
        assert_eq!(blamed(&sql::ownership::JUDGE), None);
        assert_eq!(blamed(&sql::ownership::CLEAR_OWNER), None);
        assert_eq!(blamed(&sql::ownership::CLAIM), None);
        assert_eq!(blamed(&sql::external_tasks::CLAIM), None);
        assert_eq!(blamed(&sql::ownership::REQUEST_OF_COMMIT), None);
        assert_eq!(blamed(&sql::commits::INSERT_CHILD), None);
        assert_eq!(blamed(&sql::pointers::PUT_IN_CHILD), None);
        assert_eq!(blamed(&sql::commits::UNMARK_CHILD), None);
        assert_eq!(blamed(&sql::events::GIVE_POSITIONS), None);
        assert_eq!(blamed(&sql::events::INSERT_UNLESS), None);
        assert_eq!(blamed(&sql::errors::INSERT), None);
        assert_eq!(blamed(&sql::commands::SCHEDULE), None);
    }

    #[test]
    fn a_row_that_nothing_names_is_not_to_be_mended() {
        let nameless = broken(&sql::commits::COMMIT, None);
        assert!(matches!(nameless, WfeError::Storage { .. }), "{nameless:?}");
    }
}
