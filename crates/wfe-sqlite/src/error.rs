//! Converts SQLite's extended result codes to [`WfeError`], and makes the errors for unusable files and corrupt values.

use std::{error::Error, fmt, path::Path, sync::Arc, time::Duration};

use wfe_core::{BoxError, WfeError};
use wfe_sqlite_handle as handle;

use crate::{request::Script, sqlx};

const ERROR: i32 = 1;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const FULL: i32 = 13;
const CORRUPT: i32 = 11;
const PROTOCOL: i32 = 15;
const TOO_BIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const NOT_A_DATABASE: i32 = 26;

/// An error of SQLite.
#[derive(Debug)]
pub(crate) enum SqliteError {
    /// The error of a call of sqlx, which opens and closes connections, and prepares the schema.
    Connection(sqlx::Error),
    /// The error of a statement on a lent handle.
    Statement(handle::Error),
}

impl From<sqlx::Error> for SqliteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Connection(error)
    }
}

impl From<handle::Error> for SqliteError {
    fn from(error: handle::Error) -> Self {
        Self::Statement(error)
    }
}

impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Statement(error) => match error.sqlite_error() {
                Some(code) => write!(f, "{error} (code {})", code.extended_code),
                None => error.fmt(f),
            },
        }
    }
}

impl Error for SqliteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connection(error) => Some(error),
            Self::Statement(error) => Some(error),
        }
    }
}

/// The error for a database file that cannot be used, or for an unusable file beside the database.
pub(crate) fn unusable(path: &Path, reason: impl Into<String>, source: Option<BoxError>) -> WfeError {
    WfeError::Unusable { path: path.to_owned(), reason: reason.into(), source }
}

/// The extended result code, if the error comes from SQLite.
fn code(error: &SqliteError) -> Option<i32> {
    match error {
        SqliteError::Connection(error) => error.as_database_error()?.code()?.parse().ok(),
        SqliteError::Statement(error) => Some(error.sqlite_error()?.extended_code),
    }
}

fn primary(error: &SqliteError) -> Option<i32> {
    code(error).map(|code| code & 0xff)
}

/// Whether a rule of the schema refused the statement: a CHECK, a UNIQUE, a foreign key or a trigger.
pub(crate) fn is_constraint_violation(error: &SqliteError) -> bool {
    primary(error) == Some(CONSTRAINT)
}

/// Whether another connection held the database for too long. A statement that fails for this reason has changed
/// nothing.
pub(crate) fn is_busy(error: &SqliteError) -> bool {
    matches!(primary(error), Some(BUSY | LOCKED | PROTOCOL))
}

/// Whether the file is damaged ("malformed"), or was overwritten with something else ("not a database").
pub(crate) fn is_damage(error: &SqliteError) -> bool {
    matches!(primary(error), Some(CORRUPT | NOT_A_DATABASE))
}

/// Whether sqlx's thread of the connection has panicked.
pub(crate) fn is_crash(error: &SqliteError) -> bool {
    matches!(error, SqliteError::Connection(sqlx::Error::WorkerCrashed))
}

/// The error for a connection whose thread has ended.
pub(crate) fn crash() -> Arc<SqliteError> {
    Arc::new(SqliteError::Connection(sqlx::Error::WorkerCrashed))
}

/// Whether the error concerns only the request whose statement has failed: the statement broke a rule of the schema, a value
/// is too large, or something that the statement names is missing. Any other error, for example of the disk, makes the
/// results of the whole transaction doubtful.
pub(crate) fn concerns_request(error: &SqliteError) -> bool {
    primary(error).is_none_or(|code| matches!(code, ERROR | CONSTRAINT | TOO_BIG | MISMATCH))
}

/// Whether the disk is full, or the database has reached its configured maximum size.
pub(crate) fn is_full(error: &SqliteError) -> bool {
    primary(error) == Some(FULL)
}

/// The error of a read, or of a write that certainly stored nothing.
///
/// The SQLite error is shared, because one SQLite error can make many requests fail.
pub(crate) fn storage(doing: &str, error: &Arc<SqliteError>) -> WfeError {
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
pub(crate) fn broken_rule(script: &Script, statement: usize, error: &Arc<SqliteError>) -> WfeError {
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
pub(crate) fn cause(error: &WfeError) -> Option<&Arc<SqliteError>> {
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
pub(crate) fn commit_unknown(error: &Arc<SqliteError>) -> WfeError {
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
        connection::execute::{Lent, lend},
        request::{Sql, Value},
        sql,
        sqlx::{Connection, Executor, SqliteConnection},
    };
    use wfe_core::Advice;

    #[tokio::test]
    async fn errors_of_sqlx_and_of_statements_are_told_apart_by_the_same_codes() {
        const TABLE: &str = "CREATE TABLE t (a INTEGER NOT NULL) STRICT; PRAGMA max_page_count = 2";
        const NULL: &str = "INSERT INTO t VALUES (NULL)";
        const FULL: &str = "CREATE TABLE u (a)";
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        connection.execute(TABLE).await.unwrap();
        let mut errors = Vec::new();
        for sql in [NULL, FULL, "SELECT nothing"] {
            errors.push(SqliteError::from(connection.execute(sql).await.unwrap_err()));
        }
        let handle = lend(&mut connection).await.unwrap();
        let lent = Lent::new(&handle, &Arc::default());
        for sql in [NULL, FULL, "SELECT nothing"] {
            errors.push(lent.plain(sql).unwrap_err().into());
        }
        for error in errors.chunks(3) {
            let [null, full, typo] = error else { panic!("{errors:?}") };
            assert!(is_constraint_violation(null) && concerns_request(null), "{null}");
            assert!(is_full(full) && !concerns_request(full), "{full}");
            assert!(!is_constraint_violation(typo) && !is_busy(typo) && !is_full(typo), "{typo}");
            assert!(concerns_request(typo) && !is_damage(typo) && !is_crash(typo));
            assert!(typo.to_string().contains("nothing") && typo.to_string().contains("code"), "{typo}");
        }
        let typo = storage("reading", &Arc::new(errors.pop().unwrap()));
        assert_eq!(typo.advice(), Advice::GiveUp);
        let sqlites = typo.source().unwrap().source().unwrap();
        assert!(sqlites.is::<handle::Error>(), "{sqlites:?}");
    }

    fn broken<const N: usize>(sql: &Sql<N>, subject: Option<&str>) -> WfeError {
        let mut script = Script::about("a");
        // The arguments of a guard may name the subject, like the arguments of any other statement.
        script.guard(&sql::events::EXISTS, [subject.into()]);
        let statement = script.add(sql, std::array::from_fn(|_| Value::Null));
        broken_rule(&script, statement, &crash())
    }

    fn blamed<const N: usize>(sql: &Sql<N>) -> Option<&'static str> {
        match broken(sql, Some("a")) {
            WfeError::Corrupt { table, column: "*", row, message, .. } => {
                assert!(row == "a" && !message.contains("crash"), "{row}: {message}");
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
