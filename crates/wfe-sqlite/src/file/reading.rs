//! Opens a database for reading only: nothing of it is changed, and none of WFE's files is made.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    fcntl::AT_FDCWD,
    unistd::{AccessFlags, faccessat},
};
use wfe_core::{Result, WfeError, logging};

use super::{
    Hold, Watch,
    open::{self, FIRST_READ, PAUSE, READERS},
    sidecar_names::WAL,
    sidecars::{self, Sidecars},
};
use crate::{
    error::unusable,
    schema,
    sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions},
};

/// The open connections of a file that is only read.
pub(crate) struct Readers {
    pub(crate) connections: Vec<SqliteConnection>,
    pub(crate) hold: Hold,
    /// The schema version of the file.
    pub(crate) version: i64,
    /// Whether the file is read without its log and without locks.
    pub(crate) is_immutable: bool,
}

impl Readers {
    /// Closes the connections.
    pub(crate) async fn close(mut self) {
        let may_close = self.hold.release();
        for connection in self.connections {
            if may_close {
                // Nothing was written, so an error of the close loses nothing.
                let _ = logging::unlogged(connection.close()).await;
            } else {
                std::mem::forget(connection);
            }
        }
    }
}

/// Opens a file that was checked. The tables of an earlier schema version look, on these connections, as those of the current
/// version.
///
/// # Errors
/// * `SchemaTooOld`: the schema version is below [`schema::OLDEST_READ`].
/// * `SchemaTooNew`, `Busy` and `Unusable`, as for any other opening.
pub(crate) async fn open(path: &Path, watch: &Watch, sidecars: &Sidecars, busy: Duration) -> Result<Readers> {
    let mut hold = watch.enter().map_err(|loss| loss.unusable())?;
    let is_immutable = is_immutable(path, watch.real(), sidecars)?;
    let options = options(path, busy, is_immutable);
    let end = Instant::now() + busy;
    let mut connections = Vec::with_capacity(READERS);
    let version = loop {
        match logging::unlogged(connect_all(&mut connections, &options, path)).await {
            Ok(version) => break version,
            // Another process creates the file at this moment.
            Err(WfeError::Busy { .. }) if Instant::now() < end => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                close(connections).await;
                return Err(open::named(path, error));
            }
        }
    };
    // Without a log there is no `-shm` that could be guarded. An immutable file is not locked at all.
    let has_log = match connections.first_mut() {
        Some(connection) if !is_immutable => logging::unlogged(open::has_log(connection)).await,
        _ => Ok(false),
    };
    let has_log = match has_log {
        Ok(has_log) => has_log,
        Err(error) => {
            close(connections).await;
            return Err(open::named(path, error));
        }
    };
    if has_log && let Err(loss) = hold.activate() {
        close(connections).await;
        return Err(loss.unusable());
    }
    Ok(Readers { connections, hold, version, is_immutable })
}

/// The options of a connection that only reads.
pub(super) fn options(path: &Path, busy: Duration, is_immutable: bool) -> SqliteConnectOptions {
    open::common(SqliteConnectOptions::new())
        .filename(path)
        .create_if_missing(false)
        .read_only(true)
        .immutable(is_immutable)
        .busy_timeout(busy)
}

async fn close(connections: Vec<SqliteConnection>) {
    for connection in connections {
        // The caller gets the first error.
        let _ = logging::unlogged(connection.close()).await;
    }
}

/// Opens the connections that are still missing. Returns the schema version.
async fn connect_all(
    connections: &mut Vec<SqliteConnection>,
    options: &SqliteConnectOptions,
    path: &Path,
) -> Result<i64> {
    let location = path.display().to_string();
    let mut version = schema::VERSION;
    while connections.len() < READERS {
        let mut connection = schema::connect(options).await.map_err(open::opening)?;
        let prepared = async {
            connection.fetch_one(FIRST_READ).await.map_err(open::opening)?;
            let found = schema::look(&mut connection, &location).await?;
            schema::earlier::adapt(&mut connection, found).await?;
            connection.execute("PRAGMA query_only = ON").await.map_err(open::opening)?;
            Ok(found)
        };
        match prepared.await {
            Ok(found) => {
                version = version.min(found);
                connections.push(connection);
            }
            Err(error) => {
                // The caller gets the first error.
                let _ = connection.close().await;
                return Err(error);
            }
        }
    }
    Ok(version)
}

/// Whether the file must be read without its log and without locks, because its folder cannot be written: SQLite could not
/// create the `-shm`, which every reader needs.
fn is_immutable(path: &Path, real: &Path, sidecars: &Sidecars) -> Result<bool> {
    let Some(folder) = real.parent() else { return Ok(false) };
    if faccessat(AT_FDCWD, folder, AccessFlags::W_OK, nix::fcntl::AtFlags::AT_EACCESS).is_ok() {
        return Ok(false);
    }
    let refused = |what: &str| {
        let reason = format!(
            "its folder {} cannot be written, and {what}; open it as a user who may write to the folder, or make a backup of it \
             there and open the backup",
            folder.display()
        );
        Err(unusable(path, reason, None))
    };
    let wal = sidecars.path(WAL);
    match fs::symlink_metadata(&wal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(found) if found.len() == 0 => {}
        Ok(_) => {
            return refused(&format!(
                "the write-ahead log {} has commits, which SQLite reads only with an index beside it",
                wal.display()
            ));
        }
        Err(error) => {
            return Err(unusable(&wal, format!("it cannot be checked ({error})"), Some(Box::new(error))));
        }
    }
    match sidecars::is_open_elsewhere(real) {
        Ok(false) => Ok(true),
        Ok(true) => refused("a program has it open, which may write to it at any time"),
        Err(error) => Err(unusable(path, format!("it cannot be checked ({error})"), Some(Box::new(error)))),
    }
}
