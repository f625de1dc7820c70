//! The six tables, their version, and the way from earlier versions to this one.

use std::{path::PathBuf, sync::Arc};

use sqlx::{Executor, Row, SqliteConnection};
use wfe_core::{Result, WfeError};

use crate::error;

/// `PRAGMA application_id` of a WFE store: "WFE1" in ASCII, so that no other program's file is taken for ours.
pub(crate) const APPLICATION_ID: i64 = 0x5746_4531;
/// `PRAGMA user_version` of the newest schema that this program knows.
pub(crate) const VERSION: i64 = 4;
/// The oldest SQLite to run on: earlier ones can lose commits when a WAL is reset (fixed in 3.51.3).
pub(crate) const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// How to get from the version before to the one at this index plus one. What is here is never changed again.
const UPGRADES: [&str; 4] = [
    include_str!("sql/schema.sql"),
    include_str!("sql/version_2.sql"),
    include_str!("sql/version_3.sql"),
    include_str!("sql/version_4.sql"),
];

/// Everything that says what a database is.
const IDENTITY: &str = "SELECT sqlite_version() AS sqlite, \
    (SELECT application_id FROM pragma_application_id) AS application, \
    (SELECT user_version FROM pragma_user_version) AS version, \
    (SELECT count(*) FROM sqlite_schema) AS things";

/// Creates or upgrades the schema in one transaction; a database that is up to date is only read.
pub(crate) async fn ensure(connection: &mut SqliteConnection, location: &str) -> Result<()> {
    let failed = |error: sqlx::Error| error::storage("preparing the schema", &Arc::new(error));
    if found(connection, location).await? == VERSION {
        return Ok(());
    }
    connection.execute("BEGIN IMMEDIATE").await.map_err(failed)?;
    let result = upgrade(connection, location).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.execute(end).await.map_err(failed);
    result?;
    ended?;
    Ok(())
}

/// Inside the transaction: another process may have been faster, so the version is read again.
async fn upgrade(connection: &mut SqliteConnection, location: &str) -> Result<()> {
    let failed = |error: sqlx::Error| error::storage("preparing the schema", &Arc::new(error));
    let found = found(connection, location).await?;
    let Ok(done) = usize::try_from(found) else { return Err(not_ours(location)) };
    // A new column makes SQLite look through all rows of its table, and refuse it for one that breaks a CHECK. Such a row
    // spoils itself only, wherever it is read.
    connection.execute("PRAGMA ignore_check_constraints = ON").await.map_err(failed)?;
    let mut result = Ok(());
    for upgrade in UPGRADES.iter().skip(done) {
        if result.is_ok() {
            result = connection.execute(*upgrade).await.map(drop);
        }
    }
    connection.execute("PRAGMA ignore_check_constraints = OFF").await.map_err(failed)?;
    result.map_err(failed)?;
    if found < VERSION {
        connection.execute(IDENTIFY).await.map_err(failed)?;
    }
    Ok(())
}

/// Marks the database as ours; the numbers are [`APPLICATION_ID`] and [`VERSION`], which a test compares.
const IDENTIFY: &str = "PRAGMA application_id = 1464223025; PRAGMA user_version = 4";

/// The version of a WFE store, 0 for an empty database; anything else is refused.
async fn found(connection: &mut SqliteConnection, location: &str) -> Result<i64> {
    let failed = |error: sqlx::Error| error::storage("looking at the schema", &Arc::new(error));
    let row = connection.fetch_one(IDENTITY).await.map_err(failed)?;
    check_sqlite(&row.try_get::<String, _>("sqlite").map_err(failed)?, location)?;
    let application = row.try_get::<i64, _>("application").map_err(failed)?;
    let version = row.try_get::<i64, _>("version").map_err(failed)?;
    let things = row.try_get::<i64, _>("things").map_err(failed)?;
    if application == 0 && version == 0 && things == 0 {
        return Ok(0);
    }
    check_identity(application, version, location)?;
    Ok(version)
}

/// Refuses another program's database and one of a newer WFE.
pub(crate) fn check_identity(application: i64, version: i64, location: &str) -> Result<()> {
    if application != APPLICATION_ID || version < 1 {
        return Err(not_ours(location));
    }
    if version > VERSION {
        return Err(WfeError::SchemaTooNew {
            location: location.to_owned(),
            found: version,
            supported: VERSION,
        });
    }
    Ok(())
}

/// The error for a database that WFE did not make.
pub(crate) fn not_ours(location: &str) -> WfeError {
    WfeError::Unusable {
        path: PathBuf::from(location),
        reason: "it is another program's database; choose another file".to_owned(),
        source: None,
    }
}

/// Refuses a run-time SQLite older than [`OLDEST_SQLITE`].
fn check_sqlite(found: &str, location: &str) -> Result<()> {
    let numbers: Vec<u32> = found.split('.').map_while(|part| part.parse().ok()).collect();
    if numbers[..] >= OLDEST_SQLITE[..] {
        return Ok(());
    }
    let [major, minor, patch] = OLDEST_SQLITE;
    Err(WfeError::Unusable {
        path: PathBuf::from(location),
        reason: format!(
            "this program runs on SQLite {found}, which can lose commits; link {major}.{minor}.{patch} or newer"
        ),
        source: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sqlite_is_refused() {
        for old in ["3.51.2", "3.9.0", "2.99.99", "3.51", ""] {
            assert!(matches!(check_sqlite(old, "x"), Err(WfeError::Unusable { .. })), "{old}");
        }
        for new in ["3.51.3", "3.52.0", "4.0.0", "3.51.3.1"] {
            check_sqlite(new, "x").unwrap();
        }
    }

    #[test]
    fn a_store_is_marked_with_the_numbers_it_is_known_by() {
        assert_eq!(
            IDENTIFY,
            format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}")
        );
        assert_eq!(UPGRADES.len(), usize::try_from(VERSION).unwrap());
    }
}
