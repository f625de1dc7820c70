//! The only place where query texts are sent to SQLite.
//!
//! sqlx accepts a query text of several statements with the arguments of all statements, and returns each
//! statement's rows and end, in order. The tests below verify the behaviour on which the writer relies.

use std::{sync::Arc, thread, time::Duration};

use futures_util::{FutureExt, TryStreamExt};
use wfe_core::logging;

use crate::{
    request::{Done, Value},
    sqlx::{
        self, Arguments, AssertSqlSafe, Either, Executor, SqliteConnection,
        sqlite::{SqliteArguments, SqliteRow},
    },
};

/// The result of a query text: the results of the statements that ended, and the error that stopped the next
/// statement.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) done: Vec<Done>,
    pub(crate) error: Option<sqlx::Error>,
}

/// If at most this many results are still expected, the caller awaits them one by one.
const FEW: usize = 8;
/// If more results than [`FEW`] are still expected, the caller's thread sleeps this long for each of them. Most
/// statements take twice as long, so the thread does not sleep too long.
const NAP: Duration = Duration::from_micros(3);

/// Sends one query text with the arguments of all its statements.
///
/// SQLite's thread sends each statement's result separately, and waking a thread that waits for a result costs
/// as much as executing the statement. So a caller that has its own thread passes the number of `expected`
/// results, and the thread sleeps while many results are still outstanding. A caller whose thread has other
/// work passes 0.
///
/// The query text has `count` statements. If SQLite's thread panics, sqlx ends the results early. Then the
/// returned error is one for which [`is_crash`](crate::error::is_crash) is true, and the connection must not be
/// used again, not even to close it: a query text that is sent while the thread unwinds never gets a result.
///
/// The future must not be dropped before it completes: a transaction that the query text opened would stay
/// open.
pub(crate) async fn send<'v>(
    connection: &mut SqliteConnection,
    text: Arc<str>,
    values: impl IntoIterator<Item = &'v Value>,
    count: usize,
    expected: usize,
) -> Sent {
    send_taking(connection, text, values, count, expected, |_, row| Some(row)).await
}

/// Like [`send`], but `take` gets each row as it arrives, with the index of the row's statement. If `take`
/// returns the row, the row is collected.
pub(crate) async fn send_taking<'v>(
    connection: &mut SqliteConnection,
    text: Arc<str>,
    values: impl IntoIterator<Item = &'v Value>,
    count: usize,
    expected: usize,
    take: impl FnMut(usize, SqliteRow) -> Option<SqliteRow>,
) -> Sent {
    // A logging subscriber that panics in SQLite's thread would end that thread.
    let mut sent = logging::unlogged(fetch(connection, text, values, expected, take)).await;
    if sent.error.is_none() && sent.done.len() < count {
        sent.error = Some(sqlx::Error::WorkerCrashed);
    }
    sent
}

async fn fetch<'v>(
    connection: &mut SqliteConnection,
    text: Arc<str>,
    values: impl IntoIterator<Item = &'v Value>,
    expected: usize,
    mut take: impl FnMut(usize, SqliteRow) -> Option<SqliteRow>,
) -> Sent {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Int(value) => arguments.add(*value),
            Value::Text(value) => arguments.add(Arc::clone(value)),
        };
        if let Err(error) = added {
            return Sent { done: Vec::new(), error: Some(sqlx::Error::Encode(error)) };
        }
    }
    // This is safe: query texts are joined only from this crate's constants, and values are passed as
    // arguments.
    let query = sqlx::query_with(AssertSqlSafe(text), arguments).persistent(true);
    let mut stream = connection.fetch_many(query);
    let (mut sent, mut rows) = (Sent::default(), Vec::new());
    loop {
        let next = match stream.try_next().now_or_never() {
            Some(next) => next,
            // The first result may have to wait for another process, or for the query text to be prepared.
            None if !sent.done.is_empty() && expected > sent.done.len() + FEW => {
                thread::sleep(NAP * u32::try_from(expected - sent.done.len()).unwrap_or(u32::MAX));
                continue;
            }
            None => stream.try_next().await,
        };
        match next {
            Ok(Some(Either::Left(end))) => {
                sent.done.push(Done { changes: end.rows_affected(), rows: std::mem::take(&mut rows) });
            }
            Ok(Some(Either::Right(row))) => rows.extend(take(sent.done.len(), row)),
            Ok(None) => return sent,
            Err(error) => {
                sent.error = Some(error);
                return sent;
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::{
        error,
        sqlx::{Connection, Row},
    };

    async fn table() -> SqliteConnection {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL) STRICT").await.unwrap();
        connection
    }

    async fn ids(connection: &mut SqliteConnection) -> Vec<i64> {
        let sent = send(connection, "SELECT id FROM t ORDER BY id".into(), [], 0, 0).await;
        sent.done[0].rows.iter().map(|row| row.get(0)).collect()
    }

    const TWO: &str =
        "BEGIN IMMEDIATE; INSERT INTO t VALUES (?, ?) RETURNING id; INSERT INTO t VALUES (?, ?); COMMIT";

    #[tokio::test]
    async fn arguments_count_on_across_the_statements_of_a_text() {
        let mut connection = table().await;
        let sent =
            send(&mut connection, TWO.into(), &[1.into(), "a".into(), 2.into(), "b\0c".into()], 4, 4).await;
        assert!(sent.error.is_none());
        assert_eq!(sent.done.len(), 4);
        assert_eq!(sent.done[1].rows[0].get::<i64, _>(0), 1);
        assert_eq!((sent.done[2].changes, sent.done[2].rows.len()), (1, 0));
        let sent = send(&mut connection, "SELECT v FROM t WHERE id = ?".into(), &[2.into()], 0, 0).await;
        assert_eq!(sent.done[0].rows[0].get::<&str, _>(0), "b\0c");
    }

    #[tokio::test]
    async fn the_results_before_an_error_tell_which_statement_failed_and_the_text_works_again() {
        let mut connection = table().await;
        let sent =
            send(&mut connection, TWO.into(), &[1.into(), "a".into(), 2.into(), Value::Null], 4, 4).await;
        assert_eq!(sent.done.len(), 2);
        assert!(error::is_not_null_violation(&sent.error.unwrap()));
        let sent = send(&mut connection, "ROLLBACK".into(), [], 0, 0).await;
        assert!(sent.error.is_none(), "a failed statement leaves the transaction open");
        let sent =
            send(&mut connection, TWO.into(), &[1.into(), "a".into(), 2.into(), "b".into()], 4, 4).await;
        assert!(sent.error.is_none());
        assert_eq!(ids(&mut connection).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_savepoint_takes_back_one_request_and_the_transaction_goes_on() {
        let mut connection = table().await;
        let text = "BEGIN; SAVEPOINT r; INSERT INTO t VALUES (?, 'a'); RELEASE r; \
            SAVEPOINT r; INSERT INTO t VALUES (?, 'b'); INSERT INTO t VALUES (?, 'c'); RELEASE r; COMMIT";
        let sent = send(&mut connection, text.into(), &[1.into(), 2.into(), 1.into()], 0, 0).await;
        assert_eq!((sent.done.len(), sent.error.is_some()), (6, true));
        let sent = send(&mut connection, "ROLLBACK TO r; RELEASE r; COMMIT".into(), [], 0, 0).await;
        assert!(sent.error.is_none());
        assert_eq!(ids(&mut connection).await, [1]);
    }

    #[tokio::test]
    async fn a_full_database_ends_the_transaction_by_itself() {
        let mut connection = table().await;
        connection.execute("PRAGMA max_page_count = 3").await.unwrap();
        let text = "BEGIN; SAVEPOINT r; INSERT INTO t VALUES (1, hex(zeroblob(100000))); RELEASE r; COMMIT";
        let sent = send(&mut connection, text.into(), [], 0, 0).await;
        assert!(error::is_full(&sent.error.unwrap()));
        let sent = send(&mut connection, "ROLLBACK TO r".into(), [], 0, 0).await;
        assert!(sent.error.is_some(), "the savepoint is gone with the transaction");
    }

    impl From<i32> for Value {
        fn from(value: i32) -> Self {
            Self::Int(value.into())
        }
    }
}
