//! The six tables, their version, and the way from earlier versions to this one.

pub(crate) mod sequences;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use sqlx::{
    ConnectOptions, Connection, Executor, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use wfe_core::{Result, WfeError, logging, sync::lock};

use crate::error;

/// `PRAGMA application_id` of a WFE store: "WFE1" in ASCII, so that no other program's file is taken for a
/// store.
pub(crate) const APPLICATION_ID: i64 = 0x5746_4531;
/// `PRAGMA user_version` of the newest schema that this program knows.
pub(crate) const VERSION: i64 = 4;
/// The oldest supported SQLite: earlier ones can lose commits when a WAL is reset (fixed in 3.51.3).
pub(crate) const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// The upgrades: the one at an index leads to the version of that index plus one. Existing ones never change.
const UPGRADES: [&str; 4] = [
    include_str!("../sql/schema.sql"),
    include_str!("../sql/version_2.sql"),
    include_str!("../sql/version_3.sql"),
    include_str!("../sql/version_4.sql"),
];

/// Everything that identifies a database.
const IDENTITY: &str = "SELECT sqlite_version() AS sqlite, \
    (SELECT application_id FROM pragma_application_id) AS application, \
    (SELECT user_version FROM pragma_user_version) AS version, \
    (SELECT count(*) FROM sqlite_schema) AS things";

/// Creates or upgrades the schema in one transaction, and repairs the counters of its tables; a database that
/// is up to date and sound is only read.
pub(crate) async fn ensure(connection: &mut SqliteConnection, location: &str) -> Result<()> {
    let failed = |error: sqlx::Error| error::storage("preparing the schema", &Arc::new(error));
    if found(connection, location).await? == VERSION {
        check_whole(connection, VERSION, location).await?;
        return sequences::mend(connection, location).await;
    }
    connection.execute("BEGIN IMMEDIATE").await.map_err(failed)?;
    let result = upgrade(connection, location).await;
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.execute(end).await.map_err(failed);
    result?;
    ended?;
    sequences::mend(connection, location).await
}

/// Inside the transaction: another process may have been faster, so the version is read again.
async fn upgrade(connection: &mut SqliteConnection, location: &str) -> Result<()> {
    let failed = |error: sqlx::Error| error::storage("preparing the schema", &Arc::new(error));
    let found = found(connection, location).await?;
    let Ok(done) = usize::try_from(found) else { return Err(not_ours(APPLICATION_ID, found, location)) };
    check_whole(connection, found, location).await?;
    // For a new column, SQLite checks all rows of its table, and fails if one of them breaks a CHECK. Such a
    // row must only affect itself, when it is read.
    connection.execute("PRAGMA ignore_check_constraints = ON").await.map_err(failed)?;
    let mut result = Ok(());
    for upgrade in UPGRADES.iter().skip(done) {
        if result.is_ok() {
            result = connection.execute(*upgrade).await.map(drop);
        }
    }
    let checked_again = connection.execute("PRAGMA ignore_check_constraints = OFF").await;
    result.and(checked_again.map(drop)).map_err(failed)?;
    if found < VERSION {
        connection.execute(IDENTIFY).await.map_err(failed)?;
    }
    Ok(())
}

/// Marks the database as ours; the numbers are [`APPLICATION_ID`] and [`VERSION`], which a test compares.
const IDENTIFY: &str = "PRAGMA application_id = 1464223025; PRAGMA user_version = 4";

/// The version of a WFE store, 0 for an empty database; everything else is refused.
async fn found(connection: &mut SqliteConnection, location: &str) -> Result<i64> {
    let failed = |error: sqlx::Error| error::storage("reading the schema", &Arc::new(error));
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

/// The parts of a schema: tables, columns and indexes, each with its table. Parts of SQLite itself are not
/// among them, nor are triggers: those keep bad values out, and nothing fails without them; corrupt values are
/// reported row by row.
const PARTS: &str = "SELECT type, name, tbl_name FROM sqlite_schema \
    WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    UNION ALL SELECT 'column', c.name, t.name FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c \
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";

/// A part of a schema; in the order in which missing parts are reported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    table: String,
    kind: Kind,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Table,
    Column,
    Index,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, name, .. } = self;
        match self.kind {
            Kind::Table => write!(f, "the table {name}"),
            Kind::Column => write!(f, "the column {table}.{name}"),
            Kind::Index => write!(f, "the index {name} of {table}"),
        }
    }
}

type Parts = BTreeSet<Part>;

/// The parts that the scripts create up to each version, once they are known.
static DEMANDED: Mutex<BTreeMap<i64, Arc<Parts>>> = Mutex::new(BTreeMap::new());

/// Refuses a database that lacks a part of its version: the first statement that needs the part would fail,
/// perhaps only after a long time. Additional parts do no harm.
async fn check_whole(connection: &mut SqliteConnection, version: i64, location: &str) -> Result<()> {
    let failed = |error: sqlx::Error| error::storage("reading the schema", &Arc::new(error));
    let (found, demanded) =
        (parts(connection).await.map_err(failed)?, demanded(version).await.map_err(failed)?);
    let lacks = |part: &&Part| !found.contains(part);
    let tables: BTreeSet<_> = demanded.iter().filter(lacks).filter(|part| part.kind == Kind::Table).collect();
    // If a whole table is missing, that is enough to report.
    let is_told =
        |part: &&Part| part.kind == Kind::Table || !tables.iter().any(|table| table.name == part.table);
    let missing: Vec<_> = demanded.iter().filter(lacks).filter(is_told).map(Part::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(WfeError::Unusable {
        path: PathBuf::from(location),
        reason: format!(
            "its schema is of version {version}, but lacks {}: it was changed by hand; restore what is missing, or restore a \
             backup",
            missing.join(", ")
        ),
        source: None,
    })
}

/// The only way to open a connection. It logs nothing: a subscriber of the program that panics would end
/// SQLite's thread, where [`logging::unlogged`] has no effect.
pub(crate) async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let options = options.clone().disable_statement_logging();
    logging::unlogged(options.connect()).await
}

/// The parts of a schema of this version; 0: none.
async fn demanded(version: i64) -> std::result::Result<Arc<Parts>, sqlx::Error> {
    // No holder can panic in the middle of a change.
    let known = || lock(&DEMANDED);
    if let Some(parts) = known().get(&version) {
        return Ok(Arc::clone(parts));
    }
    let mut connection = connect(&SqliteConnectOptions::new().in_memory(true)).await?;
    for upgrade in UPGRADES.iter().take(usize::try_from(version).unwrap_or(0)) {
        connection.execute(*upgrade).await?;
    }
    let parts = Arc::new(parts(&mut connection).await?);
    connection.close().await?;
    known().insert(version, Arc::clone(&parts));
    Ok(parts)
}

async fn parts(connection: &mut SqliteConnection) -> std::result::Result<Parts, sqlx::Error> {
    let rows = connection.fetch_all(PARTS).await?;
    let part = |row: &SqliteRow| {
        let kind = match row.try_get("type")? {
            "table" => Kind::Table,
            "column" => Kind::Column,
            _ => Kind::Index,
        };
        Ok(Part { table: row.try_get("tbl_name")?, kind, name: row.try_get("name")? })
    };
    rows.iter().map(part).collect()
}

/// Refuses another program's database and one of a newer WFE.
pub(crate) fn check_identity(application: i64, version: i64, location: &str) -> Result<()> {
    if application != APPLICATION_ID || version < 1 {
        return Err(not_ours(application, version, location));
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

/// The two numbers that show that a database is not a store.
#[derive(Debug, Clone, Copy)]
struct Unmarked {
    application: i64,
    version: i64,
}

impl fmt::Display for Unmarked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its application_id is {} and its user_version {}", self.application, self.version)
    }
}

impl std::error::Error for Unmarked {}

/// The error for a database that WFE has not created.
fn not_ours(application: i64, version: i64, location: &str) -> WfeError {
    WfeError::Unusable {
        path: PathBuf::from(location),
        reason: "it is another program's database; choose another file".to_owned(),
        source: Some(Box::new(Unmarked { application, version })),
    }
}

/// A better error for a file that was refused: if it only lacks the mark of a store and has all parts, the
/// error says how to continue. SQLite's `.dump` omits the mark. The file is only read.
pub(crate) async fn explained(path: &Path, error: WfeError) -> WfeError {
    let WfeError::Unusable { source: Some(source), .. } = &error else { return error };
    let Some(&mark) = source.downcast_ref::<Unmarked>() else { return error };
    // Another program's mark is not to be replaced.
    if ![0, APPLICATION_ID].contains(&mark.application) {
        return error;
    }
    match logging::unlogged(version_by_parts(path)).await {
        Ok(Some((version, others))) if [0, version].contains(&mark.version) => WfeError::Unusable {
            path: path.to_owned(),
            reason: format!(
                "it has all tables of a WFE store of version {version}, but is not marked as one: a copy made by \
                 .dump loses the mark. {}Use the original, or a copy made by VACUUM INTO; or, if this copy is complete, mark \
                 it with an SQLite tool: PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}",
                of_others(&others)
            ),
            source: Some(Box::new(mark)),
        },
        // The first error stays, whatever is found.
        Ok(_) | Err(_) => error,
    }
}

/// The text about parts that no known version of a store has.
fn of_others(others: &[String]) -> String {
    const NAMED: usize = 3;
    if others.is_empty() {
        return String::new();
    }
    let more = others.len().saturating_sub(NAMED);
    let and_more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(
        "It also has {}{and_more}: unless that was added by hand, it is a copy of a store of a newer WFE. Then only that \
         version can open it; do not mark it as described below. ",
        others.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ")
    )
}

/// The newest version all of whose parts are in this file, and the additional parts: they were added by hand,
/// or by a newer version.
async fn version_by_parts(path: &Path) -> std::result::Result<Option<(i64, Vec<String>)>, sqlx::Error> {
    // No file is created beside the database, and a log beside it is not touched.
    //
    // Opening the file once more releases no lock of this process. A file that is in use in this process is not
    // checked, so it is not refused either. If another call opens the file meanwhile, because it was marked by
    // then, SQLite knows both connections, and closes the descriptor of this one only once the other has no
    // lock.
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    let mut connection = connect(&options).await?;
    let found = parts(&mut connection).await;
    connection.close().await?;
    let found = found?;
    let (mut newer, mut version) = (Parts::new(), VERSION);
    while version > 0 {
        let demanded = demanded(version).await?;
        if demanded.is_subset(&found) {
            let others: Vec<&Part> = found.difference(&demanded).collect();
            // Parts of a known newer version are no additions: of that version, something is missing.
            let is_whole = others.iter().all(|part| !newer.contains(*part));
            let is_told = |part: &&&Part| {
                part.kind == Kind::Table
                    || !others.iter().any(|other| other.kind == Kind::Table && other.name == part.table)
            };
            let others = others.iter().filter(is_told).map(ToString::to_string).collect();
            return Ok(is_whole.then_some((version, others)));
        }
        newer.extend(demanded.iter().cloned());
        version -= 1;
    }
    Ok(None)
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
