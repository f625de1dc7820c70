//! The one writer: it takes whatever requests queued up while the last commit was on its way, runs them in one
//! transaction, and answers them once that is durable.
//!
//! It has a thread and a runtime of its own: a program's step that never yields cannot hold up a commit, and the
//! provider outlives the runtime that opened it. A request that was sent runs to its end, whether its caller waits
//! or not.

use std::sync::Arc;

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{mpsc, oneshot};
use wfe_core::{Result, WfeError};

use crate::{
    cache::Cache,
    error,
    look::InUse,
    reader, schema,
    script::{Done, Script, Written},
    texts::Texts,
    thread,
    transaction::{self, Answer, Batch},
};

/// Most requests in one transaction: what queues up during a commit is far less; a bound keeps the time to the first
/// answer short where it is not.
const BATCH: usize = 256;

enum Job {
    Write(Script, oneshot::Sender<Answer>),
    Read(Script, oneshot::Sender<Result<Vec<Done>>>),
    Ensure(oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<()>),
}

/// A way to the writer. The thread ends, its queue worked off, when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
}

/// What the writer needs to go on after an I/O error: how to open its connection anew (`None`: a database in memory,
/// which is lost with its connection), and the copies that a commit of unknown outcome makes void.
pub(crate) struct Recovery {
    pub(crate) options: Option<SqliteConnectOptions>,
    pub(crate) cache: Arc<Cache>,
    /// How the database is named in errors.
    pub(crate) location: String,
    /// Kept until the connection is closed; `None`: a database in memory.
    pub(crate) in_use: Option<Arc<InUse>>,
}

impl Writer {
    /// Starts the writer's thread, which opens the database with `open` first.
    pub(crate) async fn start<F, R>(recovery: Recovery, open: F) -> Result<(Self, R)>
    where
        F: AsyncFnOnce() -> Result<(SqliteConnection, R)> + Send + 'static,
        R: Send + 'static,
    {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (opened, is_open) = oneshot::channel();
        thread::start("wfe-sqlite-write", async move || match open().await {
            Ok((connection, more)) => {
                // The caller is gone: it dropped the future of the opening, and the queue with it.
                let _ = opened.send(Ok(more));
                Thread { connection, recovery, texts: Texts::default() }.serve(queue).await;
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        })?;
        let more = is_open.await.map_err(|_| WfeError::Closed("store"))??;
        Ok((Self { jobs }, more))
    }

    /// Runs a script in a transaction; returns when it is durable, or refused.
    pub(crate) async fn write(&self, mut script: Script) -> Result<Written> {
        let mut refusals = script.take_refusals();
        match self.ask(|reply| Job::Write(script, reply)).await?? {
            Written::Refused(guard) => match refusals.iter().position(|(index, _)| *index == guard) {
                Some(at) => Err(refusals.swap_remove(at).1),
                None => Ok(Written::Refused(guard)),
            },
            done @ Written::Done(_) => Ok(done),
        }
    }

    /// Runs a script all of whose guards have an error of their own.
    pub(crate) async fn run(&self, script: Script) -> Result<Vec<Done>> {
        match self.write(script).await? {
            Written::Done(done) => Ok(done),
            Written::Refused(guard) => Err(WfeError::Persistence(format!(
                "guard {guard} has no error of its own: a fault of wfe-sqlite"
            ))),
        }
    }

    /// Reads on the writer's connection.
    pub(crate) async fn read(&self, script: Script) -> Result<Vec<Done>> {
        self.ask(|reply| Job::Read(script, reply)).await?
    }

    /// Creates or upgrades the schema.
    pub(crate) async fn ensure(&self) -> Result<()> {
        self.ask(Job::Ensure).await?
    }

    /// Works off what was sent before, closes the connection and ends the thread. Closed already: nothing.
    pub(crate) async fn close(&self) {
        // An error says that the writer is closed already.
        let _ = self.ask(Job::Close).await;
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).map_err(|_| WfeError::Closed("store"))?;
        answer.await.map_err(|_| WfeError::Closed("store"))
    }
}

struct Thread {
    connection: SqliteConnection,
    recovery: Recovery,
    texts: Texts,
}

type Waiting = Vec<(Script, oneshot::Sender<Answer>)>;

impl Thread {
    async fn serve(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let (mut jobs, mut closing) = (Vec::with_capacity(BATCH), Vec::new());
        while closing.is_empty() && queue.recv_many(&mut jobs, BATCH).await > 0 {
            let mut batch = Waiting::new();
            for job in jobs.drain(..) {
                match job {
                    Job::Write(script, reply) => batch.push((script, reply)),
                    other => {
                        self.commit(std::mem::take(&mut batch)).await;
                        closing.extend(self.other(other).await);
                    }
                }
            }
            self.commit(batch).await;
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, store = self.recovery.location, "the store did not close cleanly");
        }
        drop(self.recovery);
        for reply in closing {
            // Whoever asked for the end need not wait for it.
            let _ = reply.send(());
        }
        // Not before: whoever sent something meanwhile, a second close too, is answered once all is closed.
        drop(queue);
    }

    /// Whoever gave up waiting gets no answer: the sends here may fail.
    async fn other(&mut self, job: Job) -> Option<oneshot::Sender<()>> {
        match job {
            Job::Read(script, reply) => {
                let result = reader::read(&mut self.connection, &mut self.texts, &script).await;
                let _ = reply.send(result);
            }
            Job::Ensure(reply) => {
                let result = schema::ensure(&mut self.connection, &self.recovery.location).await;
                let _ = reply.send(result);
            }
            Job::Close(reply) => return Some(reply),
            Job::Write(..) => {}
        }
        None
    }

    async fn commit(&mut self, mut batch: Waiting) {
        if batch.is_empty() {
            return;
        }
        let outcome = self.attempt(&batch).await;
        if let Batch::Ended(_) = outcome
            && batch.len() > 1
        {
            // One request can take the whole transaction with it (a full disk): each on its own now, so that the
            // others do not suffer.
            for request in batch.drain(..) {
                let alone = vec![request];
                let outcome = self.attempt(&alone).await;
                answer(alone, outcome);
            }
            return;
        }
        answer(batch, outcome);
    }

    async fn attempt(&mut self, batch: &Waiting) -> Batch {
        let scripts: Vec<&Script> = batch.iter().map(|(script, _)| script).collect();
        let outcome = transaction::run(&mut self.connection, &mut self.texts, &scripts).await;
        if let Batch::Unknown(error) = &outcome {
            tracing::error!(%error, store = self.recovery.location, "the outcome of a commit is unknown");
            self.recovery.cache.clear();
        }
        if let Batch::Unknown(error) | Batch::NotBegun(error) | Batch::Ended(error) = &outcome
            && !error::is_busy(error)
            && !error::is_full(error)
        {
            self.reopen().await;
        }
        outcome
    }

    /// What SQLite knows of a file after an I/O error is in doubt: a new connection reads it afresh.
    async fn reopen(&mut self) {
        let Some(options) = &self.recovery.options else { return };
        match options.connect().await {
            Ok(connection) => {
                let old = std::mem::replace(&mut self.connection, connection);
                if let Err(error) = old.close().await {
                    tracing::warn!(%error, store = self.recovery.location, "a connection did not close cleanly");
                }
            }
            // The old one stays; the next request tries again.
            Err(error) => {
                tracing::error!(%error, store = self.recovery.location, "the store cannot be opened again");
            }
        }
    }
}

/// Whoever gave up waiting gets no answer: the sends here may fail.
fn answer(batch: Waiting, outcome: Batch) {
    match outcome {
        Batch::Answered(answers) => {
            for ((_, reply), answer) in batch.into_iter().zip(answers) {
                let _ = reply.send(answer);
            }
        }
        Batch::NotBegun(error) | Batch::Ended(error) => {
            for (_, reply) in batch {
                let _ = reply.send(Err(error::storage("writing", &error)));
            }
        }
        Batch::Unknown(error) => {
            for (_, reply) in batch {
                let _ = reply.send(Err(error::commit_unknown(&error)));
            }
        }
    }
}
