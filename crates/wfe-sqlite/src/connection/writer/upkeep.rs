//! The work on the writer's connection for which the connection is given back to sqlx.

use std::sync::Arc;

use tokio::runtime::Runtime;
use wfe_core::{WfeError, logging};

use super::{Job, Thread, attempt::Turn};
use crate::{
    connection::thread,
    error::{self, SqliteError},
    schema,
    sqlx::{self, Connection, SqliteConnection},
};

impl Thread {
    /// Creates or upgrades the schema.
    pub(super) fn ensure(&mut self, runtime: &Runtime, connection: &mut Option<SqliteConnection>) -> Turn {
        let Some(Job::Ensure(since, permit, reply)) =
            self.waiting.pop_front_if(|job| matches!(job, Job::Ensure(..)))
        else {
            return Turn::default();
        };
        let crashed = || Err(error::storage("preparing the schema", &error::crash()));
        let mut ensured = match &mut *connection {
            Some(open) => {
                thread::block_on(runtime, logging::unlogged(schema::ensure(open, &self.recovery.location)))
            }
            None => crashed(),
        };
        if ensured.as_ref().err().and_then(error::cause).is_some_and(is_over) {
            *connection = None;
            ensured = crashed();
        }
        let ensured = match &self.hold {
            Some(hold) => ensured.map_err(|error| hold.watch().judged(error)),
            None => ensured,
        };
        match self.check().map_err(|loss| loss.unusable()).and(ensured) {
            Err(WfeError::Busy { message, source }) => {
                self.waiting.push_front(Job::Ensure(since, permit, reply));
                let held = Arc::from(source.unwrap_or_else(|| message.into()));
                Turn { held: Some(held), ..Turn::default() }
            }
            result => {
                // The send fails if the caller no longer waits.
                let _ = reply.send(result.map_err(|error| self.recovery.named(error)));
                Turn::default()
            }
        }
    }

    /// Opens a new connection after an I/O error, because SQLite's view of the file is then doubtful. Does
    /// nothing if the file is lost: a new connection would share the `-shm` of the open connections, but have
    /// another log.
    pub(super) fn reopen(&mut self, runtime: &Runtime, connection: &mut Option<SqliteConnection>) {
        let Some((options, sidecars)) = self.recovery.options.as_ref().filter(|_| self.check().is_ok())
        else {
            return;
        };
        let connected = sidecars.check_files_of_sqlite().and_then(|()| {
            thread::block_on(runtime, schema::connect(options))
                .map_err(|error| error::storage("opening", &Arc::new(error.into())))
        });
        match connected {
            Ok(new) => {
                if let Some(old) = connection.replace(new)
                    && let Err(error) = runtime.block_on(logging::unlogged(old.close()))
                {
                    logging::warn!(%error, store = self.recovery.location, "a connection did not close cleanly");
                }
            }
            // The old connection stays; after the next error, the thread tries again.
            Err(error) => {
                logging::error!(%error, store = self.recovery.location, "the store cannot be reopened");
            }
        }
    }
}

/// Whether sqlx's thread of the connection has ended. Each check of the schema returns a row, and the row is missing if
/// the thread ends meanwhile.
fn is_over(error: &Arc<SqliteError>) -> bool {
    error::is_crash(error) || matches!(**error, SqliteError::Connection(sqlx::Error::RowNotFound))
}
