//! The attempts to commit one batch, and the connection that they use.

use std::{collections::VecDeque, sync::Arc};

use wfe_core::logging;

use super::{BATCH, Held, Job, Thread};
use crate::{
    connection::{
        execute,
        group_commit::{self, Batch},
        outcome::{Waiting, guarded},
        reader,
    },
    error,
    file::Hold,
    request::{Done, Script},
    schema,
    sqlx::{self, Connection},
};

impl Thread {
    /// Runs the first waiting requests, at most [`BATCH`], in one transaction. The caller sends the results
    /// after it has released the fair lock. `Some` means that another process holds the database; requests
    /// without a result wait again.
    pub(in crate::connection::writer) async fn write(&mut self) -> (Vec<(Waiting, Batch)>, Option<Held>) {
        let mut batch = Waiting::new();
        while batch.len() < BATCH
            && let Some(Job::Write(request)) = self.waiting.pop_front_if(|job| matches!(job, Job::Write(_)))
        {
            batch.push(request);
        }
        let mut answered = Vec::with_capacity(1);
        match self.attempt(&batch).await {
            Err(held) => {
                self.wait_again(batch);
                return (answered, Some(held));
            }
            Ok(Batch::Ended(_)) if batch.len() > 1 => {
                // One request can end the whole transaction, for example on a full disk. Each request now runs
                // in its own transaction, so that it cannot affect the others.
                let mut batch = VecDeque::from(batch);
                while let Some(request) = batch.pop_front() {
                    let alone = vec![request];
                    match self.attempt(&alone).await {
                        Ok(outcome) => answered.push((alone, outcome)),
                        Err(held) => {
                            self.wait_again(alone.into_iter().chain(batch).collect());
                            return (answered, Some(held));
                        }
                    }
                }
            }
            Ok(outcome) => answered.push((batch, outcome)),
        }
        (answered, None)
    }

    /// Puts requests back to the front of the queue.
    fn wait_again(&mut self, batch: Waiting) {
        for request in batch.into_iter().rev() {
            self.waiting.push_front(Job::Write(request));
        }
    }

    /// Drops a connection that must not be used again. The connection is not closed, because its thread might
    /// not respond. The connection of a database in memory is kept while its thread lives, since no other
    /// process can change the schema.
    async fn let_go(&mut self, error: &sqlx::Error) {
        if !error::ends_connection(error) {
            return;
        }
        match &mut self.connection {
            Some(connection) if self.recovery.options.is_none() && !error::is_crash(error) => {
                // The rollback fails if there is no transaction.
                let _ = execute::send(connection, "ROLLBACK".into(), [], 1, 0).await;
            }
            connection => *connection = None,
        }
    }

    /// Reads on the writer's connection.
    pub(in crate::connection::writer) async fn read(
        &mut self,
        script: &mut Script,
    ) -> std::result::Result<Vec<Done>, Arc<sqlx::Error>> {
        if self.connection.is_none() {
            self.reopen().await;
        }
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        let result = reader::read(connection, &mut self.texts, script).await;
        if let Err(error) = &result {
            self.let_go(error).await;
        }
        result
    }

    /// Runs these requests in one transaction. An error means that another process holds the database and that
    /// nothing was written.
    async fn attempt(&mut self, batch: &Waiting) -> std::result::Result<Batch, Held> {
        if let Err(loss) = self.check() {
            return Ok(Batch::Lost(loss));
        }
        let scripts: Vec<&Script> = batch.iter().map(|request| &request.script).collect();
        if self.connection.is_none() {
            self.reopen().await;
        }
        let outcome = match &mut self.connection {
            Some(connection) => group_commit::run(connection, &mut self.texts, &scripts).await,
            None => Batch::NotBegun(Arc::new(sqlx::Error::WorkerCrashed)),
        };
        if let Batch::Unknown(error) | Batch::NotBegun(error) | Batch::Ended(error) = &outcome {
            self.let_go(error).await;
        }
        let outcome = match self.hold.as_ref().map(Hold::watch) {
            Some(watch) => guarded(watch, outcome),
            None => outcome,
        };
        if let Batch::Unknown(error) = &outcome {
            logging::error!(%error, store = self.recovery.location, "the outcome of a commit is unknown");
            self.recovery.cache.clear();
        }
        match outcome {
            Batch::NotBegun(error) | Batch::Ended(error) if error::is_busy(&error) => return Err(error),
            Batch::Unknown(ref error) | Batch::NotBegun(ref error) | Batch::Ended(ref error)
                if !error::is_busy(error) && !error::is_full(error) =>
            {
                self.reopen().await;
            }
            _ => {}
        }
        Ok(outcome)
    }

    /// Opens a new connection after an I/O error, because SQLite's view of the file is then doubtful. Does
    /// nothing if the file is lost: a new connection would share the `-shm` of the open connections, but have
    /// another log.
    pub(in crate::connection::writer) async fn reopen(&mut self) {
        let Some((options, sidecars)) = self.recovery.options.as_ref().filter(|_| self.check().is_ok())
        else {
            return;
        };
        let connected = match sidecars.check_files_of_sqlite() {
            Ok(()) => {
                schema::connect(options).await.map_err(|error| error::storage("opening", &Arc::new(error)))
            }
            Err(error) => Err(error),
        };
        match connected {
            Ok(connection) => {
                if let Some(old) = self.connection.replace(connection)
                    && let Err(error) = logging::unlogged(old.close()).await
                {
                    logging::warn!(%error, store = self.recovery.location, "a connection did not close cleanly");
                }
            }
            // The old connection stays; the next request tries again.
            Err(error) => {
                logging::error!(%error, store = self.recovery.location, "the store cannot be reopened");
            }
        }
    }
}
