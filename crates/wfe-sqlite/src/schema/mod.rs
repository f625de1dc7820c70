//! The six tables, their schema version, and the upgrades from earlier versions.

pub(crate) mod earlier;
pub(crate) mod sequences;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use wfe_core::{Result, WfeError, logging, sync::lock};

use crate::{
    error,
    sqlx::{
        self, ConnectOptions, Connection, Executor, Row, SqliteConnection,
        sqlite::{SqliteConnectOptions, SqliteRow},
    },
};

/// The `PRAGMA application_id` of a WFE store: "WFE1" in ASCII. It distinguishes a store from the files of
/// other programs.
pub(crate) const APPLICATION_ID: i64 = 0x5746_4531;
/// `PRAGMA user_version` of the newest schema that this program knows.
pub(crate) const VERSION: i64 = 7;
/// The oldest schema version that is read as it is, without an upgrade.
pub(crate) const OLDEST_READ: i64 = 3;
/// The oldest supported version of SQLite. Earlier versions can lose commits when a WAL is reset (fixed in
/// 3.51.3).
pub(crate) const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// The upgrade scripts. The script at index `n` upgrades a schema of version `n` to version `n + 1`. Existing
/// scripts never change.
const UPGRADES: [&str; 7] = [
    include_str!("../sql/schema.sql"),
    include_str!("../sql/version_2.sql"),
    include_str!("../sql/version_3.sql"),
    include_str!("../sql/version_4.sql"),
    include_str!("../sql/version_5.sql"),
    include_str!("../sql/version_6.sql"),
    include_str!("../sql/version_7.sql"),
];

/// Reads all values that identify a database.
const IDENTITY: &str = "SELECT sqlite_version() AS sqlite, \
    (SELECT application_id FROM pragma_application_id) AS application, \
    (SELECT user_version FROM pragma_user_version) AS version, \
    (SELECT count(*) FROM sqlite_schema) AS things";

/// Creates or upgrades the schema in one transaction, and repairs the counters of its tables. A database that
/// is up to date and sound is only read.
pub(crate) async fn ensure(connection: &mut SqliteConnection, location: &str) -> Result<()> {
    let failed = |error: sqlx::Error| error::storage("preparing the schema", &Arc::new(error.into()));
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

/// Reads the schema version of a store that is only read.
///
/// # Errors
/// * `Unusable`: the database is empty, or no complete store.
/// * `SchemaTooNew`, `SchemaTooOld`: the store cannot be read as it is.
pub(crate) async fn look(connection: &mut SqliteConnection, location: &str) -> Result<i64> {
    let version = found(connection, location).await?;
    if version == 0 {
        let reason = "it is empty, so it is no store";
        return Err(error::unusable(Path::new(location), reason, None));
    }
    check_whole(connection, version, location).await?;
    if version < OLDEST_READ { Err(too_old(location, version, OLDEST_READ)) } else { Ok(version) }
}

/// The error for a store whose schema version is too old for a call that needs another one.
pub(crate) fn too_old(location: &str, found: i64, needed: i64) -> WfeError {
    WfeError::SchemaTooOld { location: location.to_owned(), found, needed }
}

/// Refuses a store of an earlier schema version.
pub(crate) async fn check_is_current(connection: &mut SqliteConnection, location: &str) -> Result<()> {
    match found(connection, location).await? {
        found if 0 < found && found < VERSION => Err(too_old(location, found, VERSION)),
        _ => Ok(()),
    }
}

/// Upgrades the schema inside the caller's transaction. Another process may have upgraded it first, so the version is
/// read again.
async fn upgrade(connection: &mut SqliteConnection, location: &str) -> Result<()> {
    let failed = |error: sqlx::Error| error::storage("preparing the schema", &Arc::new(error.into()));
    let found = found(connection, location).await?;
    let Ok(done) = usize::try_from(found) else { return Err(not_ours(APPLICATION_ID, found, location)) };
    check_whole(connection, found, location).await?;
    // When a column is added, SQLite checks all rows of its table, and fails if one of them breaks a CHECK. A
    // row that breaks a CHECK must not prevent the upgrade. It may only affect itself, when it is read.
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

/// Marks the database as a WFE store. A test compares the numbers with [`APPLICATION_ID`] and [`VERSION`].
const IDENTIFY: &str = "PRAGMA application_id = 1464223025; PRAGMA user_version = 7";

/// The schema version of a WFE store, or 0 for an empty database. Every other database is refused.
async fn found(connection: &mut SqliteConnection, location: &str) -> Result<i64> {
    let failed = |error: sqlx::Error| error::storage("reading the schema", &Arc::new(error.into()));
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

/// Reads the parts of a schema: tables, columns and indexes, each with its table. SQLite's internal tables and indexes
/// are left out. Triggers are left out as well: they only keep bad values out of the tables, and every statement also
/// works if a trigger is missing. Corrupt values in a table are reported row by row.
const PARTS: &str = "SELECT type, name, tbl_name FROM sqlite_schema \
    WHERE type IN ('table', 'index') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    UNION ALL SELECT 'column', c.name, t.name FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c \
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";

/// A part of a schema. The order of parts is the order in which missing parts are reported.
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

/// A cache. For each schema version, it contains the parts that the upgrade scripts up to this version create.
static DEMANDED: Mutex<BTreeMap<i64, Arc<Parts>>> = Mutex::new(BTreeMap::new());

/// Refuses a database that lacks a part of its schema version. Otherwise the first statement that needs the
/// part would fail, perhaps only after a long time. Additional parts are accepted.
async fn check_whole(connection: &mut SqliteConnection, version: i64, location: &str) -> Result<()> {
    let failed = |error: sqlx::Error| error::storage("reading the schema", &Arc::new(error.into()));
    let (found, demanded) =
        (parts(connection).await.map_err(failed)?, demanded(version).await.map_err(failed)?);
    let lacks = |part: &&Part| !found.contains(part);
    let tables: BTreeSet<_> = demanded.iter().filter(lacks).filter(|part| part.kind == Kind::Table).collect();
    // If a whole table is missing, its columns and indexes are not reported as well.
    let is_told =
        |part: &&Part| part.kind == Kind::Table || !tables.iter().any(|table| table.name == part.table);
    let missing: Vec<_> = demanded.iter().filter(lacks).filter(is_told).map(Part::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(WfeError::Unusable {
        path: PathBuf::from(location),
        reason: format!(
            "it has schema version {version}, but lacks {}: the schema was changed by hand; restore the missing parts, or \
             restore a backup",
            missing.join(", ")
        ),
        source: None,
    })
}

/// Opens a connection on which sqlx does not log statements. Every connection must be opened by this function. If sqlx
/// logged statements, a panic in a log subscriber of the program would end SQLite's thread, because
/// [`logging::unlogged`] has no effect on that thread.
pub(crate) async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let options = options.clone().disable_statement_logging();
    logging::unlogged(options.connect()).await
}

/// The parts of a schema of this version. Version 0 has no parts.
async fn demanded(version: i64) -> std::result::Result<Arc<Parts>, sqlx::Error> {
    // No holder of the lock can panic in the middle of a change.
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

/// Refuses a database of another program, or of a newer version of WFE.
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

/// Replaces the error for a file that was refused with a better one, if possible. If the file has all parts of a store
/// and lacks only the mark of a store, the error says how to continue. SQLite's `.dump` omits the mark. This function
/// only reads the file.
pub(crate) async fn explained(path: &Path, error: WfeError) -> WfeError {
    let WfeError::Unusable { source: Some(source), .. } = &error else { return error };
    let Some(&mark) = source.downcast_ref::<Unmarked>() else { return error };
    // The mark of another program must not be replaced.
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
        // In all other cases, the first error is returned.
        Ok(_) | Err(_) => error,
    }
}

/// The sentence of the error message that lists parts which no known version of a store has.
fn of_others(others: &[String]) -> String {
    const NAMED: usize = 3;
    if others.is_empty() {
        return String::new();
    }
    let more = others.len().saturating_sub(NAMED);
    let and_more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!(
        "It also has {}{and_more}: if that was not added by hand, the file is a copy of a store of a newer WFE. Only that \
         newer version can open such a copy; do not mark it as described below. ",
        others.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ")
    )
}

/// Finds the newest schema version whose parts are all in this file. Also returns the other parts of the file, which
/// were added by hand, or by a newer version of WFE.
async fn version_by_parts(path: &Path) -> std::result::Result<Option<(i64, Vec<String>)>, sqlx::Error> {
    // SQLite then creates no file beside the database, and does not touch a log beside it.
    //
    // Opening the file once more releases no lock of this process. A file that is in use in this process is not
    // checked, so it is not refused and does not reach this function. Another call may open the file meanwhile,
    // because it was marked by then. SQLite then knows both connections, and closes the descriptor of this
    // connection only when the other connection has no lock.
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
            // If the file has parts of a known newer version, they are not additions: the file is an incomplete
            // store of that version.
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

/// Refuses an SQLite library that is older than [`OLDEST_SQLITE`].
fn check_sqlite(found: &str, location: &str) -> Result<()> {
    let numbers: Vec<u32> = found.split('.').map_while(|part| part.parse().ok()).collect();
    if numbers[..] >= OLDEST_SQLITE[..] {
        return Ok(());
    }
    let [major, minor, patch] = OLDEST_SQLITE;
    Err(WfeError::Unusable {
        path: PathBuf::from(location),
        reason: format!(
            "this program uses SQLite {found}, which can lose commits; link SQLite {major}.{minor}.{patch} or newer"
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
