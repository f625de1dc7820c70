//! Opens the connections of a database, or returns an error that names the path and the cause.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use wfe_core::{Result, WfeError, logging};

use crate::{
    error::{self, SqliteError, unusable},
    file::{Hold, Watch, log, sidecar_names::WAL, sidecars::Sidecars},
    schema,
    sqlx::{self, Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions},
};

/// Reads whether the database has a log, or will have one only when it is opened for writing.
const MODE: &str = "PRAGMA journal_mode";

/// SQLite opens the log and the `-shm` when it first reads in WAL mode. This statement makes it do so now, while it is
/// certain which files are at these paths.
pub(super) const FIRST_READ: &str = "PRAGMA schema_version";

/// Makes SQLite read the whole schema.
const READ_SCHEMA: &str = "SELECT count(*) FROM sqlite_schema";

/// The number of reading connections. Together with the writing connection, a provider has four connections.
pub(crate) const READERS: usize = 3;
/// The wait between two attempts to open the file while several processes create it at the same time. Creating the file
/// takes a few of these intervals.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
/// How long SQLite itself waits for the write lock in one attempt. A request may fail this much later than its time
/// limit. A request that arrives during an attempt waits at most this long before it can join the transaction.
const SLICE: Duration = Duration::from_millis(100);

/// Whether the database has a write-ahead log. A copy that was never opened as a store has none.
pub(super) async fn has_log(connection: &mut SqliteConnection) -> Result<bool> {
    let mode = connection.fetch_one(MODE).await.map_err(opening)?;
    Ok(mode.try_get::<&str, _>(0).map_err(opening)? == "wal")
}

/// Opens the one connection of a database in memory. The database exists as long as this connection.
pub(crate) async fn memory() -> Result<SqliteConnection> {
    let mut connection = schema::connect(&common(in_memory()))
        .await
        .map_err(|error| error::storage("opening a database in memory", &Arc::new(error.into())))?;
    logging::unlogged(schema::ensure(&mut connection, ":memory:")).await?;
    Ok(connection)
}

pub(super) fn common(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .foreign_keys(true)
        .pragma("temp_store", "MEMORY")
        // On macOS, `fsync` leaves data in the cache of the disk; SQLite calls `F_FULLFSYNC` instead if this is set.
        // Other systems ignore it (https://www.sqlite.org/pragma.html#pragma_fullfsync).
        .pragma("fullfsync", "ON")
}

/// The options of a new database in memory. The name alone makes it one: with `in_memory(true)`, SQLite would also keep in
/// memory what this connection writes elsewhere, such as the target of `VACUUM INTO`.
pub(crate) fn in_memory() -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(":memory:").create_if_missing(true)
}

/// The options of the writing connection of a file. The connection waits for SQLite's write lock in short attempts.
/// Between two attempts, the writer can fail requests whose time limit is over.
pub(crate) fn writing(path: &Path, busy: Duration) -> SqliteConnectOptions {
    common(SqliteConnectOptions::new())
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(busy.min(SLICE))
        .pragma("synchronous", "FULL")
        // 16 MiB of pages: the upper levels of every index stay in memory.
        .pragma("cache_size", "-16384")
        // A WAL that has grown because of a long read is truncated to 64 MiB.
        .pragma("journal_size_limit", "67108864")
}

pub(crate) fn reading(path: &Path, busy: Duration) -> SqliteConnectOptions {
    common(SqliteConnectOptions::new())
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(busy)
        .pragma("query_only", "ON")
}

/// The open connections of a file, and the hold through which the file is guarded.
pub(crate) struct Opened {
    pub(crate) writer: SqliteConnection,
    pub(crate) readers: Vec<SqliteConnection>,
    pub(crate) hold: Hold,
}

/// Opens a file that was checked, and creates its schema if it is missing.
///
/// # Errors
/// `SchemaTooOld`: the file has an earlier schema version, and `upgrades` is false.
pub(crate) async fn file(
    path: &Path,
    watch: &Watch,
    sidecars: &Sidecars,
    busy: Duration,
    upgrades: bool,
) -> Result<Opened> {
    let mut hold = watch.enter().map_err(|loss| loss.unusable())?;
    probe(path, sidecars, busy).await?;
    let end = Instant::now() + busy;
    let writer = loop {
        match logging::unlogged(prepare(path, busy, upgrades)).await {
            Ok(connection) => break connection,
            // Other processes create the same file at this moment. SQLite's busy timeout does not cover the change to
            // WAL mode.
            Err(WfeError::Busy { .. }) if Instant::now() < end => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(named(path, error)),
        }
    };
    let mut readers = Vec::with_capacity(READERS);
    for _ in 0..READERS {
        let reader = async {
            let mut reader = schema::connect(&reading(path, busy)).await?;
            reader.fetch_one(FIRST_READ).await?;
            Ok(reader)
        };
        readers.push(logging::unlogged(reader).await.map_err(|error| named(path, opening(error)))?);
    }
    match hold.activate() {
        Ok(()) => Ok(Opened { writer, readers, hold }),
        Err(loss) => {
            for connection in readers.into_iter().chain([writer]) {
                // An error of the close is ignored: the caller gets the loss.
                let _ = logging::unlogged(connection.close()).await;
            }
            Err(loss.unusable())
        }
    }
}

/// If the database has a log, reads the database through a read-only connection. A writing connection, when it closes,
/// would checkpoint the log into the file and delete the log, even if the log does not belong to the file.
async fn probe(path: &Path, sidecars: &Sidecars, busy: Duration) -> Result<()> {
    if std::fs::symlink_metadata(sidecars.path(WAL)).map_or(0, |log| log.len()) == 0 {
        return Ok(());
    }
    let probed = async {
        let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(busy);
        let mut connection = schema::connect(&options).await?;
        let read = connection.execute(READ_SCHEMA).await;
        connection.close().await?;
        read
    };
    match logging::unlogged(probed).await {
        Err(error) => match SqliteError::from(error) {
            error if error::is_damage(&error) => Err(log::damaged(path, sidecars, error)),
            // Any other error is returned when the file is opened.
            _ => Ok(()),
        },
        Ok(_) => Ok(()),
    }
}

pub(super) fn opening(error: sqlx::Error) -> WfeError {
    error::storage("opening the database", &Arc::new(error.into()))
}

/// Adds the path to an error that occurred while a file was opened. An error that already contains the path stays
/// unchanged.
pub(super) fn named(path: &Path, error: WfeError) -> WfeError {
    match error {
        error @ (WfeError::Unusable { .. }
        | WfeError::SchemaTooNew { .. }
        | WfeError::SchemaTooOld { .. }) => error,
        WfeError::Busy { message, source } => {
            WfeError::Busy { message: format!("{}: {message}", path.display()), source }
        }
        other => WfeError::Unusable {
            path: path.to_owned(),
            reason: other.to_string(),
            source: Some(Box::new(other)),
        },
    }
}

async fn prepare(path: &Path, busy: Duration, upgrades: bool) -> Result<SqliteConnection> {
    let mut connection = schema::connect(&writing(path, busy)).await.map_err(opening)?;
    match settle(&mut connection, path, upgrades).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            // An error of the close is ignored: the caller gets the first error.
            let _ = connection.close().await;
            Err(error)
        }
    }
}

/// Sets up the database. The order matters. Auto-vacuum must be set before there is any table. The schema marks the
/// file as a store. The schema is created before the change to WAL mode, so that the mark is in the database file and
/// not in the log.
async fn settle(connection: &mut SqliteConnection, path: &Path, upgrades: bool) -> Result<()> {
    let location = path.display().to_string();
    let pages = connection.fetch_one("PRAGMA page_count").await.map_err(opening)?;
    if pages.try_get::<i64, _>(0).map_err(opening)? == 0 {
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL").await.map_err(opening)?;
    }
    if !upgrades {
        schema::check_is_current(connection, &location).await?;
    }
    schema::ensure(connection, &location).await?;
    let mode = connection.fetch_one("PRAGMA journal_mode = WAL").await.map_err(opening)?;
    if mode.try_get::<&str, _>(0).map_err(opening)? != "wal" {
        return Err(unusable(path, "its file system lacks the shared memory that WAL mode needs", None));
    }
    connection.fetch_one(FIRST_READ).await.map_err(opening)?;
    Ok(())
}

/// The path of an existing file, with symbolic links resolved. All processes find the sidecars beside the file at this
/// path.
pub(crate) fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| {
        unusable(path, format!("its symbolic links cannot be resolved ({error})"), Some(Box::new(error)))
    })
}

/// The absolute path.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| unusable(path, "the current folder was removed".to_owned(), Some(Box::new(error))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::preflight;

    async fn pragma(connection: &mut SqliteConnection, name: &'static str) -> i64 {
        connection.fetch_one(name).await.unwrap().get(0)
    }

    #[tokio::test]
    async fn every_connection_enforces_foreign_keys_and_only_one_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, busy) = (folder.path().join("a.db"), Duration::from_millis(1234));
        let guard = preflight::check(&path, preflight::Intent::Create).unwrap();
        let watch = Watch::new(guard, &path);
        let sidecars = Sidecars::of(watch.real()).unwrap();
        let Opened { mut writer, readers, hold: _hold } =
            file(&path, &watch, &sidecars, busy, true).await.unwrap();
        assert_eq!(readers.len(), 3);
        assert_eq!(pragma(&mut writer, "PRAGMA synchronous").await, 2, "full");
        assert_eq!(pragma(&mut writer, "PRAGMA query_only").await, 0);
        assert_eq!(pragma(&mut writer, "PRAGMA busy_timeout").await, 100);
        for mut connection in std::iter::once(writer).chain(readers) {
            assert_eq!(pragma(&mut connection, "PRAGMA foreign_keys").await, 1);
            assert_eq!(pragma(&mut connection, "PRAGMA fullfsync").await, 1);
        }
        let Opened { readers, .. } = file(&path, &watch, &sidecars, busy, true).await.unwrap();
        for mut reader in readers {
            assert_eq!(pragma(&mut reader, "PRAGMA query_only").await, 1);
            assert_eq!(pragma(&mut reader, "PRAGMA busy_timeout").await, 1234);
        }
        let mut memory = memory().await.unwrap();
        assert_eq!(pragma(&mut memory, "PRAGMA foreign_keys").await, 1);
    }
}
