//! Opens the connections of a database, or returns an error that names the path and the cause.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe_core::{Result, WfeError, logging};

use crate::{
    error::{self, unusable},
    file::{Hold, Watch, log, sidecar_names::WAL, sidecars::Sidecars},
    schema,
};

/// Makes SQLite open the log and the `-shm`, if it has read nothing in WAL mode before. So it happens now, while it is
/// certain which files are there.
const FIRST_READ: &str = "PRAGMA schema_version";

/// Makes SQLite read the whole schema.
const READ_SCHEMA: &str = "SELECT count(*) FROM sqlite_schema";

/// The number of connections that read; with the one that writes, there are four.
pub(crate) const READERS: usize = 3;
/// How many texts stay prepared on a connection. One text of 32 requests holds some 200 statements.
const PREPARED: usize = 256;
/// How many results may be on their way from SQLite's thread: enough for a whole text, so that the thread does not wait
/// for the receiver.
const ROWS: usize = 1024;
/// How long to wait between two attempts while several processes create the file at once. Creating it takes a few of
/// these intervals.
const PAUSE: Duration = Duration::from_millis(5);
/// How long SQLite itself waits for the write lock in one attempt. A request is given up at most this much after its time,
/// and requests that came meanwhile wait this long to join the transaction.
const SLICE: Duration = Duration::from_millis(100);

/// Opens the one connection of a database in memory. The database exists as long as the connection.
pub(crate) async fn memory() -> Result<SqliteConnection> {
    let mut connection = schema::connect(&common(in_memory()))
        .await
        .map_err(|error| error::storage("opening a database in memory", &Arc::new(error)))?;
    logging::unlogged(schema::ensure(&mut connection, ":memory:")).await?;
    Ok(connection)
}

fn common(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .foreign_keys(true)
        .statement_cache_capacity(PREPARED)
        .row_buffer_size(ROWS)
        .pragma("temp_store", "MEMORY")
}

/// A new database in memory.
pub(crate) fn in_memory() -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(":memory:").in_memory(true)
}

/// How the writing connection of a file is opened. It waits in short attempts, so that the writer can answer requests whose
/// time is over in between.
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

/// The open connections of a file, and the hold that guards it.
pub(crate) struct Opened {
    pub(crate) writer: SqliteConnection,
    pub(crate) readers: Vec<SqliteConnection>,
    pub(crate) hold: Hold,
}

/// Opens a file that was checked, and creates its schema if it is missing.
pub(crate) async fn file(path: &Path, watch: &Watch, sidecars: &Sidecars, busy: Duration) -> Result<Opened> {
    let mut hold = watch.enter().map_err(|loss| loss.unusable())?;
    probe(path, sidecars, busy).await?;
    let end = Instant::now() + busy;
    let writer = loop {
        match logging::unlogged(prepare(path, busy)).await {
            Ok(connection) => break connection,
            // Other processes create the same file at this moment. SQLite's own waiting does not cover the change to WAL.
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
                // Only the loss matters.
                let _ = logging::unlogged(connection.close()).await;
            }
            Err(loss.unusable())
        }
    }
}

/// Reads a database that has a log, with a connection that cannot write. A writing connection would checkpoint the log into
/// the file when it closes, and delete the log, whether or not they belong together.
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
        Err(error) if error::is_damage(&error) => Err(log::damaged(path, sidecars, error)),
        // Any other error is returned when the file is opened.
        _ => Ok(()),
    }
}

fn opening(error: sqlx::Error) -> WfeError {
    error::storage("opening the database", &Arc::new(error))
}

/// Adds the path to an error that keeps a file from being opened. An error that has the path stays as it is.
fn named(path: &Path, error: WfeError) -> WfeError {
    match error {
        error @ (WfeError::Unusable { .. } | WfeError::SchemaTooNew { .. }) => error,
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

async fn prepare(path: &Path, busy: Duration) -> Result<SqliteConnection> {
    let mut connection = schema::connect(&writing(path, busy)).await.map_err(opening)?;
    match settle(&mut connection, path).await {
        Ok(()) => Ok(connection),
        Err(error) => {
            // Only the first error matters.
            let _ = connection.close().await;
            Err(error)
        }
    }
}

/// Sets up the database. The order matters: auto-vacuum before there is any table; the schema, which marks the file as a
/// store, before the WAL, so that the mark is in the file itself.
async fn settle(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    let location = path.display().to_string();
    let pages = connection.fetch_one("PRAGMA page_count").await.map_err(opening)?;
    if pages.try_get::<i64, _>(0).map_err(opening)? == 0 {
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL").await.map_err(opening)?;
    }
    schema::ensure(connection, &location).await?;
    let mode = connection.fetch_one("PRAGMA journal_mode = WAL").await.map_err(opening)?;
    if mode.try_get::<&str, _>(0).map_err(opening)? != "wal" {
        return Err(unusable(path, "its file system has no shared memory, which the WAL needs", None));
    }
    connection.fetch_one(FIRST_READ).await.map_err(opening)?;
    Ok(())
}

/// The path of an existing file with links followed: all processes find the sidecars beside that file.
pub(crate) fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| {
        unusable(path, format!("its links cannot be followed ({error})"), Some(Box::new(error)))
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

    async fn pragma(connection: &mut SqliteConnection, name: &'static str) -> i64 {
        connection.fetch_one(name).await.unwrap().get(0)
    }

    #[tokio::test]
    async fn every_connection_enforces_foreign_keys_and_only_one_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, busy) = (folder.path().join("a.db"), Duration::from_millis(1234));
        let watch = Watch::new(crate::file::preflight::check(&path).unwrap(), &path);
        let sidecars = Sidecars::of(watch.real()).unwrap();
        let Opened { mut writer, readers, hold: _hold } = file(&path, &watch, &sidecars, busy).await.unwrap();
        assert_eq!(readers.len(), 3);
        assert_eq!(pragma(&mut writer, "PRAGMA synchronous").await, 2, "full");
        assert_eq!(pragma(&mut writer, "PRAGMA query_only").await, 0);
        assert_eq!(pragma(&mut writer, "PRAGMA busy_timeout").await, 100);
        for mut connection in std::iter::once(writer).chain(readers) {
            assert_eq!(pragma(&mut connection, "PRAGMA foreign_keys").await, 1);
        }
        let Opened { readers, .. } = file(&path, &watch, &sidecars, busy).await.unwrap();
        for mut reader in readers {
            assert_eq!(pragma(&mut reader, "PRAGMA query_only").await, 1);
            assert_eq!(pragma(&mut reader, "PRAGMA busy_timeout").await, 1234);
        }
        let mut memory = memory().await.unwrap();
        assert_eq!(pragma(&mut memory, "PRAGMA foreign_keys").await, 1);
    }
}
