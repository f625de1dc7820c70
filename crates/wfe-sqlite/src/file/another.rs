//! Opens another connection to a file that is open already, for work that would delay commits or reads.

use std::{path::PathBuf, time::Duration};

use tokio::runtime::Runtime;
use wfe_core::{Result, logging};

use super::{
    Hold, Watch,
    open::{self, FIRST_READ},
    reading,
    sidecars::Sidecars,
};
use crate::{
    schema,
    sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions},
};

/// How another connection is opened.
#[derive(Clone)]
pub(crate) struct Another {
    pub(crate) path: PathBuf,
    pub(crate) watch: Watch,
    pub(crate) sidecars: Sidecars,
    pub(crate) busy: Duration,
    /// Whether the file is read without its log and without locks.
    pub(crate) is_immutable: bool,
    /// The schema version of the file.
    pub(crate) version: i64,
}

/// The open connection, and its share of the guard.
pub(crate) struct Opened {
    pub(crate) connection: SqliteConnection,
    hold: Hold,
    path: PathBuf,
}

/// How long a checkpoint may keep writers waiting.
const SHORT: Duration = Duration::from_millis(20);

impl Another {
    /// Opens a connection that only reads. With `is_adapted`, the tables of an earlier schema version look as those of the
    /// current version.
    pub(crate) async fn reading(&self, is_adapted: bool) -> Result<Opened> {
        self.open(&reading::options(&self.path, self.busy, self.is_immutable), is_adapted).await
    }

    /// Opens a connection that can checkpoint. It waits for others for a moment only.
    pub(crate) async fn writing(&self) -> Result<Opened> {
        self.open(&open::writing(&self.path, SHORT), false).await
    }

    async fn open(&self, options: &SqliteConnectOptions, is_adapted: bool) -> Result<Opened> {
        let mut hold = self.watch.enter().map_err(|loss| loss.unusable())?;
        self.sidecars.check_files_of_sqlite()?;
        let failed = |error| open::named(&self.path, open::opening(error));
        let mut connection = schema::connect(options).await.map_err(failed)?;
        let prepared = async {
            connection.fetch_one(FIRST_READ).await.map_err(failed)?;
            if is_adapted {
                schema::earlier::adapt(&mut connection, self.version).await?;
            }
            if self.is_immutable || !open::has_log(&mut connection).await? {
                return Ok(());
            }
            hold.activate().map_err(|loss| loss.unusable())
        };
        match logging::unlogged(prepared).await {
            Ok(()) => Ok(Opened { connection, hold, path: self.path.clone() }),
            Err(error) => {
                // The caller gets the first error.
                let _ = logging::unlogged(connection.close()).await;
                Err(error)
            }
        }
    }
}

impl Opened {
    /// Closes the connection.
    pub(crate) fn close(mut self, runtime: &Runtime) {
        if !self.hold.release() {
            std::mem::forget(self.connection);
        } else if let Err(error) = runtime.block_on(logging::unlogged(self.connection.close())) {
            logging::warn!(%error, store = %self.path.display(), "a connection did not close cleanly");
        }
    }
}
