//! Repairs the counters that SQLite keeps for the tables. This happens whenever a store is opened. Without these
//! counters, events could not be stored, and rows would get no numbers.

use std::sync::Arc;

use wfe_core::{Result, WfeError, logging};

use crate::{
    error,
    request::Sql,
    sql::sequences as sql,
    sqlx::{self, Executor, Row, SqliteConnection},
};

/// Each table with the statement that rebuilds its counter. Some tables also have a statement that renumbers a row
/// whose number is so large that there is no next number.
const TABLES: [(&str, Sql<0>, Option<Sql<0>>); 4] = [
    ("workflows", sql::MAKE_WORKFLOWS, None),
    ("events", sql::MAKE_EVENTS, None),
    ("scheduled_commands", sql::MAKE_COMMANDS, Some(sql::RENUMBER_COMMAND)),
    ("execution_errors", sql::MAKE_ERRORS, Some(sql::RENUMBER_ERROR)),
];

/// Repairs counters that were changed by hand. If all counters are sound, nothing is written.
pub(crate) async fn mend(connection: &mut SqliteConnection, location: &str) -> Result<()> {
    if broken(connection).await?.is_empty() {
        return Ok(());
    }
    connection.execute("BEGIN IMMEDIATE").await.map_err(failed)?;
    let result = mend_all(connection, location).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.execute(end).await.map_err(failed);
    result.and(ended.map(drop))
}

fn failed(error: sqlx::Error) -> WfeError {
    error::storage("reading sqlite_sequence", &Arc::new(error.into()))
}

async fn broken(connection: &mut SqliteConnection) -> Result<Vec<String>> {
    let rows = connection.fetch_all(sql::BROKEN.text()).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get("name").map_err(failed)).collect()
}

/// Repairs the counters inside the caller's transaction. Reads again which counters are broken, because another process
/// may have repaired them first.
async fn mend_all(connection: &mut SqliteConnection, location: &str) -> Result<()> {
    let broken = broken(connection).await?;
    for (table, make, renumber) in TABLES.iter().filter(|(table, ..)| broken.iter().any(|one| one == table)) {
        if let Some(renumber) = renumber {
            while connection.execute(renumber.text()).await.map_err(failed)?.rows_affected() > 0 {}
        }
        connection.execute(make.text()).await.map_err(failed)?;
        let clear = sqlx::query(sql::CLEAR.text()).bind(*table).bind(*table);
        clear.execute(&mut *connection).await.map_err(failed)?;
        logging::warn!(
            store = location,
            table,
            "the counter of this table in sqlite_sequence was missing or wrong, and was rebuilt"
        );
    }
    Ok(())
}
