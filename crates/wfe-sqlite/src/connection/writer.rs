//! The writer: it takes all requests that arrived during the last commit, runs them in one transaction, and
//! answers them once that is durable.
//!
//! It has its own thread and runtime: a step of the program that never yields cannot delay a commit, and the
//! provider outlives the runtime that opened it. A request that was sent runs to its end, whether its caller
//! waits or not.
//!
//! Writers of several processes take turns. While another process holds the database, the writer tries again,
//! each time with all requests that have arrived meanwhile, and gives up requests whose time is over.

mod attempt;

use std::{
    collections::VecDeque,
    error::Error,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{mpsc, oneshot};
use wfe_core::{Result, WfeError, logging};

use crate::{
    connection::{
        admission::{Admission, Caller, Permit},
        outcome::{Request, answer, is_news},
        sql_text::Texts,
        thread::{self, Ended},
    },
    error,
    file::{Hold, Loss, sidecars::Sidecars},
    instance::cache::Cache,
    processes::{change_signal::ChangeSignal, fair_lock::FairLock},
    request::{Done, Script, Written},
    schema,
};

/// The most requests in one transaction. Far fewer arrive during a commit; where they do not, the bound keeps
/// the time to the first answer short.
const BATCH: usize = 256;

/// How long to wait at least between two attempts, where SQLite gives up at once instead of waiting.
const PAUSE: Duration = Duration::from_millis(2);

enum Job {
    Write(Request),
    Read(Script, Permit, oneshot::Sender<Result<Vec<Done>>>),
    Ensure(Instant, Permit, oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<()>),
}

/// Sends requests to the writer. The thread finishes its queue and ends when the last one is dropped.
pub(crate) struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
    ended: Ended,
    /// Bounds the program's share of the queue.
    pub(crate) admission: Admission,
}

/// What the writer needs to continue after an I/O error: how to reopen its connection, the files beside the
/// database (`None`: a database in memory, which is lost with its connection), and the cached instances, which
/// a commit of unknown outcome makes invalid.
pub(crate) struct Recovery {
    pub(crate) options: Option<(SqliteConnectOptions, Sidecars)>,
    pub(crate) cache: Arc<Cache>,
    /// The name of the database in errors.
    pub(crate) location: String,
    /// How long a request waits for other processes that hold the database.
    pub(crate) busy: Duration,
}

impl Recovery {
    /// Adds the name of the database to an error. A database in memory was in the thread that has ended, and is
    /// lost with it; for a file, another connection is opened.
    fn named(&self, error: WfeError) -> WfeError {
        match error::cause(&error) {
            Some(cause) if self.options.is_none() && error::is_crash(cause) => WfeError::Unusable {
                path: (&self.location).into(),
                reason: "SQLite's thread panicked, and the database in memory is lost; open a new store"
                    .to_owned(),
                source: Some(Box::new(error)),
            },
            _ => error::of(&self.location, error),
        }
    }
}

impl Writer {
    /// Starts the writer's thread, which opens the database with `open` first. It leaves the lock files when it
    /// ends, after the connection is closed.
    pub(crate) async fn start<F, R>(recovery: Recovery, open: F) -> Result<(Self, R)>
    where
        F: AsyncFnOnce() -> Result<(SqliteConnection, Option<Hold>, ChangeSignal, R)> + Send + 'static,
        R: Send + 'static,
    {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (opened, is_open) = oneshot::channel();
        let (busy, location) = (recovery.busy, recovery.location.clone());
        let ended = thread::start("wfe-sqlite-write", async move || match open().await {
            Ok((connection, hold, change_signal, more)) => {
                // The caller has dropped the future of the opening, and the queue with it.
                let _ = opened.send(Ok(more));
                let fair_lock = change_signal.lock_files().cloned().map(FairLock::new);
                let waiting = VecDeque::new();
                let texts = Texts::default();
                let connection = Some(connection);
                let thread = Thread { connection, hold, recovery, texts, fair_lock, change_signal, waiting };
                thread.serve(queue).await;
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        })
        .map_err(|error| error::of(&location, error))?;
        let more = is_open.await.map_err(|_| WfeError::Closed("store"))??;
        let admission = Admission::new(ended.runtime().clone(), busy, location);
        Ok((Self { jobs, ended, admission }, more))
    }

    /// Runs a script of the program in a transaction; returns when it is durable, or refused.
    pub(crate) async fn write(&self, script: Script) -> Result<Written> {
        self.write_for(Caller::Program, script).await
    }

    /// As [`write`](Self::write), for any caller.
    pub(crate) async fn write_for(&self, caller: Caller, mut script: Script) -> Result<Written> {
        let since = Instant::now();
        let permit = self.admission.enter(caller, script.bytes(), since).await?;
        let mut refusals = script.take_refusals();
        match self.ask(|reply| Job::Write(Request { script, since, permit, reply })).await?? {
            Written::Refused(guard) => match refusals.iter().position(|(index, _)| *index == guard) {
                Some(at) => Err(refusals.swap_remove(at).1),
                None => Ok(Written::Refused(guard)),
            },
            done @ Written::Done(_) => Ok(done),
        }
    }

    /// Runs a script all of whose guards have their own error.
    pub(crate) async fn run(&self, script: Script) -> Result<Vec<Done>> {
        self.run_for(Caller::Program, script).await
    }

    /// As [`run`](Self::run), for any caller.
    pub(crate) async fn run_for(&self, caller: Caller, script: Script) -> Result<Vec<Done>> {
        match self.write_for(caller, script).await? {
            Written::Done(done) => Ok(done),
            Written::Refused(guard) => Err(WfeError::Persistence(format!(
                "guard {guard} has no error of its own: a bug in wfe-sqlite"
            ))),
        }
    }

    /// Reads on the writer's connection.
    pub(crate) async fn read(&self, caller: Caller, script: Script) -> Result<Vec<Done>> {
        let permit = self.admission.enter(caller, script.bytes(), Instant::now()).await?;
        self.ask(|reply| Job::Read(script, permit, reply)).await?
    }

    /// Creates or upgrades the schema.
    pub(crate) async fn ensure(&self) -> Result<()> {
        let since = Instant::now();
        let permit = self.admission.enter(Caller::Program, 0, since).await?;
        self.ask(|reply| Job::Ensure(since, permit, reply)).await?
    }

    /// As [`close`](Self::close), but blocks this thread until it is done, at most for this time.
    pub(crate) fn close_within(&self, longest: Duration) -> bool {
        self.admission.close();
        let (reply, _) = oneshot::channel();
        // An error: the writer is closed already.
        let _ = self.jobs.send(Job::Close(reply));
        self.ended.wait(longest)
    }

    /// Finishes earlier requests, closes the connection and ends the thread. Does nothing if it is closed
    /// already.
    pub(crate) async fn close(&self) {
        self.admission.close();
        // An error: the writer is closed already.
        let _ = self.ask(Job::Close).await;
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).map_err(|_| WfeError::Closed("store"))?;
        answer.await.map_err(|_| WfeError::Closed("store"))
    }
}

struct Thread {
    /// `None`: its thread has ended, and another connection could not be opened yet.
    connection: Option<SqliteConnection>,
    /// Kept until the connection is closed; `None`: a database in memory.
    hold: Option<Hold>,
    recovery: Recovery,
    texts: Texts,
    /// `None`: a database in memory, which no other process has.
    fair_lock: Option<FairLock>,
    change_signal: ChangeSignal,
    /// Requests that were taken from the queue and are not done yet, in order.
    waiting: VecDeque<Job>,
}

/// SQLite's error while another process holds the database.
type Held = Arc<dyn Error + Send + Sync>;

impl Thread {
    async fn serve(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let mut closing = None;
        loop {
            match self.waiting.pop_front() {
                Some(Job::Read(mut script, permit, reply)) => {
                    let result = self.read(&mut script).await;
                    drop(permit);
                    // A caller that no longer waits gets no answer.
                    let named = |error| self.recovery.named(error::storage("reading", &error));
                    let _ = reply.send(result.map_err(named));
                }
                Some(Job::Close(reply)) => {
                    closing = Some(reply);
                    break;
                }
                Some(job) => {
                    self.waiting.push_front(job);
                    self.take_turn(&mut queue).await;
                }
                None => match queue.recv().await {
                    Some(job) => self.waiting.push_back(job),
                    None => break,
                },
            }
        }
        if !self.hold.as_mut().is_none_or(Hold::release) {
            std::mem::forget(self.connection);
        } else if let Some(connection) = self.connection
            && let Err(error) = logging::unlogged(connection.close()).await
        {
            logging::warn!(%error, store = self.recovery.location, "the store did not close cleanly");
        }
        if let Some(lock_files) = self.change_signal.lock_files() {
            lock_files.leave();
        }
        drop(self.hold);
        if let Some(reply) = closing {
            // The caller of the close may no longer wait.
            let _ = reply.send(());
        }
        // Not earlier: requests sent meanwhile, a second close included, are answered once everything is
        // closed.
        drop((self.waiting, queue));
    }

    /// Waits for this process's turn and uses it for the first requests, with all that have arrived meanwhile.
    async fn take_turn(&mut self, queue: &mut mpsc::UnboundedReceiver<Job>) {
        if let Some(hold) = &self.hold
            && let Err(loss) = hold.watch().check_at_times()
        {
            // No turn is needed for that.
            return self.refuse(&loss);
        }
        if let Some(fair_lock) = &mut self.fair_lock {
            // The time of the first one is over first, and this thread has nothing to do before its turn.
            let Some(Job::Write(Request { since, .. }) | Job::Ensure(since, ..)) = self.waiting.front()
            else {
                return;
            };
            fair_lock.acquire(*since + self.recovery.busy);
        }
        while let Ok(job) = queue.try_recv() {
            self.waiting.push_back(job);
        }
        let began = Instant::now();
        let (answered, held) = if let Some(Job::Ensure(..)) = self.waiting.front() {
            (Vec::new(), self.ensure().await)
        } else {
            self.write().await
        };
        if let Some(fair_lock) = &mut self.fair_lock {
            fair_lock.release();
        }
        // Before the answers: a caller with an answer may rely on that others were notified.
        if answered.iter().any(|(batch, outcome)| is_news(batch, outcome)) {
            self.change_signal.notify();
        }
        for (batch, outcome) in answered {
            answer(batch, outcome, |error| self.recovery.named(error));
        }
        if let Some(held) = held {
            self.give_up(&held);
            if !self.waiting.is_empty() {
                // Nothing else runs on this thread's runtime.
                sleep(PAUSE.saturating_sub(began.elapsed()));
            }
        }
    }

    /// Creates or upgrades the schema. `Some`: another process holds the database.
    async fn ensure(&mut self) -> Option<Held> {
        let Some(Job::Ensure(since, permit, reply)) = self.waiting.pop_front() else { return None };
        if self.connection.is_none() {
            self.reopen().await;
        }
        let crashed = || Err(error::storage("preparing the schema", &Arc::new(sqlx::Error::WorkerCrashed)));
        let mut ensured = match &mut self.connection {
            Some(connection) => logging::unlogged(schema::ensure(connection, &self.recovery.location)).await,
            None => crashed(),
        };
        // The schema returns a row for each check: without one, the thread has ended.
        let is_over =
            |error: &Arc<sqlx::Error>| error::is_crash(error) || matches!(**error, sqlx::Error::RowNotFound);
        if ensured.as_ref().err().and_then(error::cause).is_some_and(is_over) {
            self.connection = None;
            ensured = crashed();
        }
        let ensured = match &self.hold {
            Some(hold) => ensured.map_err(|error| hold.watch().judged(error)),
            None => ensured,
        };
        match self.check().map_err(|loss| loss.unusable()).and(ensured) {
            Err(WfeError::Busy { message, source }) => {
                self.waiting.push_front(Job::Ensure(since, permit, reply));
                Some(Arc::from(source.unwrap_or_else(|| message.into())))
            }
            result => {
                // A caller that no longer waits gets no answer.
                let _ = reply.send(result.map_err(|error| self.recovery.named(error)));
                None
            }
        }
    }

    /// Answers requests whose time is over, wherever they are in the queue.
    fn give_up(&mut self, held: &Held) {
        let (now, busy) = (Instant::now(), self.recovery.busy);
        let location = &self.recovery.location;
        let error = |since| error::busy(location, now.duration_since(since), held);
        for job in std::mem::take(&mut self.waiting) {
            // A caller that no longer waits gets no answer.
            match job {
                Job::Write(Request { since, reply, .. }) if since + busy <= now => {
                    let _ = reply.send(Err(error(since)));
                }
                Job::Ensure(since, _, reply) if since + busy <= now => {
                    let _ = reply.send(Err(error(since)));
                }
                job => self.waiting.push_back(job),
            }
        }
    }

    /// Whether the database is still in place.
    fn check(&self) -> std::result::Result<(), Loss> {
        self.hold.as_ref().map_or(Ok(()), |hold| hold.watch().check())
    }

    /// Answers all waiting requests that the database is lost.
    fn refuse(&mut self, loss: &Loss) {
        for job in std::mem::take(&mut self.waiting) {
            // A caller that no longer waits gets no answer.
            match job {
                Job::Write(Request { reply, .. }) => {
                    let _ = reply.send(Err(loss.unusable()));
                }
                Job::Ensure(_, _, reply) => {
                    let _ = reply.send(Err(loss.unusable()));
                }
                job => self.waiting.push_back(job),
            }
        }
    }
}

#[cfg(test)]
mod tests;
