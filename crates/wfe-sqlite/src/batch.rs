//! The one place where a text is sent to SQLite.
//!
//! sqlx takes a text of several statements with the arguments of all of them, and answers with each statement's rows
//! and end, in order. The tests below pin what the writer relies on.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::{Arguments, AssertSqlSafe, Either, Executor, SqliteConnection, sqlite::SqliteArguments};

use crate::script::{Done, Value};

/// What a text came to: the results of the statements that ended, and the error that stopped the next one.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) done: Vec<Done>,
    pub(crate) error: Option<sqlx::Error>,
}

/// Sends one text with the arguments of all of its statements.
///
/// Not to be dropped before it ends: a transaction that the text opened would stay open.
pub(crate) async fn send<'v>(
    connection: &mut SqliteConnection,
    text: Arc<str>,
    values: impl IntoIterator<Item = &'v Value>,
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
    // Safe: texts are joined from this crate's constants only; values travel as arguments.
    let query = sqlx::query_with(AssertSqlSafe(text), arguments).persistent(true);
    let mut stream = connection.fetch_many(query);
    let (mut sent, mut rows) = (Sent::default(), Vec::new());
    loop {
        match stream.try_next().await {
            Ok(Some(Either::Left(end))) => {
                sent.done.push(Done { changes: end.rows_affected(), rows: std::mem::take(&mut rows) });
            }
            Ok(Some(Either::Right(row))) => rows.push(row),
            Ok(None) => return sent,
            Err(error) => {
                sent.error = Some(error);
                return sent;
            }
        }
    }
}
