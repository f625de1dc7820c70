//! The writer takes all requests that arrived during the last commit, runs them in one transaction, and returns
//! their results once the transaction is durable.
//!
//! The writer has its own thread and runtime. So a step of the program that never yields cannot delay a commit,
//! and the provider can outlive the runtime on which the provider was opened. A request that was sent runs to
//! its end even if its caller stops waiting.
//!
//! The writers of several processes take turns. While another process holds the database, the writer tries
//! again, each time with all requests that have arrived meanwhile. A request whose time limit is over fails.

mod attempt;
mod upkeep;

use std::{
    collections::VecDeque,
    error::Error,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Handle, Runtime},
    sync::oneshot,
};
use wfe_core::{Result, WfeError, logging};

use self::attempt::Turn;
use crate::{
    connection::{
        admission::{Admission, Caller, Permit},
        execute::{self, Counts, Lent},
        outcome::{Request, answer, is_news},
        queue::{Jobs, Taker, queue},
        refusal::Refusal,
        thread::{self, Ended},
    },
    error,
    file::{Hold, Loss, sidecars::Sidecars},
    instance::cache::Cache,
    metrics::{self, Timer},
    processes::{change_signal::ChangeSignal, fair_lock::FairLock},
    request::{Done, Script, Written},
    sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions},
};

/// The maximum number of requests in one transaction. Usually far fewer requests arrive during a commit. If
/// more arrive, the limit keeps the time to the first result short.
const BATCH: usize = 256;

/// The minimum time between two attempts, for the case that SQLite fails at once instead of waiting for its
/// lock.
const PAUSE: Duration = Duration::from_millis(2);

enum Job {
    Write(Request),
    Read(Script, Permit, oneshot::Sender<Result<Vec<Done>>>),
    Ensure(Instant, Permit, oneshot::Sender<Result<()>>),
}

/// Sends requests to the writer. The thread finishes its queue and ends when the `Writer` is dropped.
pub(crate) struct Writer {
    jobs: Jobs<Job>,
    ended: Ended,
    /// Bounds the program's share of the queue.
    pub(crate) admission: Admission,
    /// Why every request is refused. `None` if this writer writes.
    refusal: Option<Refusal>,
}

/// What the writer needs to continue after an I/O error. `options` contains the options of the writer's
/// connection and the files beside the database; `options` is `None` for a database in memory, because such a
/// database is lost with its connection. After a commit of unknown outcome, the instances in `cache` are no
/// longer valid.
pub(crate) struct Recovery {
    pub(crate) options: Option<(SqliteConnectOptions, Sidecars)>,
    pub(crate) cache: Arc<Cache>,
    /// The name by which errors refer to the database.
    pub(crate) location: String,
    /// How long a request waits for other processes that hold the database.
    pub(crate) busy: Duration,
}

impl Recovery {
    /// Adds the name of the database to an error. If the thread of a database in memory has ended, the database
    /// is lost, and the error says so. If the database is a file, another connection is opened instead.
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
    /// Starts the writer's thread, which first opens the database with `open`. When the thread ends, it closes
    /// the connection and then unregisters from the lock files.
    pub(crate) async fn start<F, R>(
        recovery: Recovery,
        counts: &Arc<Counts>,
        timer: Handle,
        open: F,
    ) -> Result<(Self, R)>
    where
        F: AsyncFnOnce() -> Result<(SqliteConnection, Option<Hold>, ChangeSignal, R)> + Send + 'static,
        R: Send + 'static,
    {
        let ((jobs, taker), (alive, ended)) = (queue(), thread::ended());
        jobs.measure();
        let (opened, is_open) = oneshot::channel();
        let (busy, location, counts) = (recovery.busy, recovery.location.clone(), Arc::clone(counts));
        let body = move |runtime: &Runtime| match thread::block_on(runtime, open()) {
            Ok((connection, hold, change_signal, more)) => {
                // The send fails if the caller has dropped the future that opens the store. The queue is then
                // closed as well.
                let _ = opened.send(Ok(more));
                let fair_lock = change_signal.lock_files().cloned().map(FairLock::new);
                let waiting = VecDeque::new();
                let thread = Thread {
                    hold,
                    recovery,
                    counts,
                    fair_lock,
                    change_signal,
                    data_version: None,
                    taker,
                    waiting,
                };
                thread.serve(runtime, connection);
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        thread::start("wfe-sqlite-write", alive, body).map_err(|error| error::of(&location, error))?;
        let more = is_open.await.map_err(|_| WfeError::Closed("store"))??;
        let admission = Admission::new(timer, busy, location);
        Ok((Self { jobs, ended, admission, refusal: None }, more))
    }

    /// A writer that has no connection and no thread, and refuses every request.
    pub(crate) fn refusing(refusal: Refusal, timer: Handle, busy: Duration, location: String) -> Self {
        let ((jobs, _), (_, ended)) = (queue(), thread::ended());
        Self { jobs, ended, admission: Admission::new(timer, busy, location), refusal: Some(refusal) }
    }

    /// # Errors
    /// Fails if every write is refused.
    pub(crate) fn may_write(&self) -> Result<()> {
        self.refusal.map_or(Ok(()), |refusal| Err(refusal.error(self.admission.location())))
    }

    /// Runs a script of the program in a transaction. Returns when the transaction is durable, or when a guard
    /// has refused it.
    pub(crate) async fn write(&self, script: Script) -> Result<Written> {
        self.write_for(Caller::Program, script).await
    }

    /// Like [`write`](Self::write), but for any caller.
    pub(crate) async fn write_for(&self, caller: Caller, mut script: Script) -> Result<Written> {
        self.may_write()?;
        let since = Instant::now();
        let permit =
            self.admission.enter(caller, script.bytes(), since).await.inspect_err(metrics::refused)?;
        let mut refusals = script.take_refusals();
        let (answer, _script) =
            self.ask(|reply| Job::Write(Request { script, since, is_alone: false, permit, reply })).await?;
        match answer? {
            Written::Refused(guard) => match refusals.iter().position(|(index, _)| *index == guard) {
                Some(at) => Err(refusals.swap_remove(at).1),
                None => Ok(Written::Refused(guard)),
            },
            done @ Written::Done(_) => Ok(done),
        }
    }

    /// Runs a script in which each guard has its own error.
    pub(crate) async fn run(&self, script: Script) -> Result<Vec<Done>> {
        self.run_for(Caller::Program, script).await
    }

    /// Like [`run`](Self::run), but for any caller.
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
        self.may_write()?;
        let since = Instant::now();
        let permit = self.admission.enter(Caller::Program, 0, since).await?;
        self.ask(|reply| Job::Ensure(since, permit, reply)).await?
    }

    /// Like [`close`](Self::close), but blocks the calling thread until the writer is closed, at most for
    /// `longest`. Returns whether the writer was closed in that time.
    pub(crate) fn close_within(&self, longest: Duration) -> bool {
        self.admission.close();
        self.jobs.close();
        self.ended.wait_blocking(longest)
    }

    /// Finishes earlier requests, closes the connection and ends the thread. Does nothing if the writer is
    /// already closed.
    pub(crate) async fn close(&self) {
        self.admission.close();
        self.jobs.close();
        self.ended.wait().await;
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        if !self.jobs.push(job(reply)) {
            // The call must not return before the database is closed.
            self.ended.wait().await;
        }
        // If the job was not done, it was dropped, and its end of the channel with it.
        answer.await.map_err(|_| WfeError::Closed("store"))
    }
}

struct Thread {
    /// This value is kept until the connection is closed. `None` for a database in memory.
    hold: Option<Hold>,
    recovery: Recovery,
    counts: Arc<Counts>,
    /// `None` for a database in memory, which no other process can open.
    fair_lock: Option<FairLock>,
    change_signal: ChangeSignal,
    /// SQLite's number that changes with each commit of another connection, as it was after the last commit of this one.
    data_version: Option<i64>,
    taker: Taker<Job>,
    /// Requests that were taken from the queue and are not done yet, in order.
    waiting: VecDeque<Job>,
}

/// SQLite's error while another process holds the database.
type Held = Arc<dyn Error + Send + Sync>;

/// Why the thread gives its connection back to sqlx.
enum GiveBack {
    /// The next job is [`Job::Ensure`]: sqlx prepares the schema.
    Ensure,
    /// The connection must be replaced, after an error that makes SQLite's view of the file doubtful.
    Reopen,
    /// sqlx's thread of the connection has ended.
    Crash,
    /// There is no job any more, and there will be none.
    End,
}

impl Thread {
    fn serve(mut self, runtime: &Runtime, connection: SqliteConnection) {
        // `None` means that sqlx's thread of the connection has ended, and that another connection could not be
        // opened yet.
        let mut connection = Some(connection);
        loop {
            let is_lost = connection.is_none();
            if is_lost && self.wait() {
                self.reopen(runtime, &mut connection);
            }
            let reason = match &mut connection {
                Some(open) => match runtime.block_on(execute::lend(open)) {
                    Ok(handle) => self.work(&Lent::new(&handle, &self.counts)),
                    Err(error) => {
                        logging::error!(%error, store = self.recovery.location, "sqlx does not lend its connection");
                        // A request waits for the connection that was just opened. It must not wait for ever.
                        if is_lost { self.fail() } else { GiveBack::Crash }
                    }
                },
                None => self.fail(),
            };
            match reason {
                GiveBack::Ensure => {
                    self.in_turn(|thread| thread.ensure(runtime, &mut connection));
                }
                GiveBack::Reopen => self.reopen(runtime, &mut connection),
                GiveBack::Crash => {
                    // A database in memory is gone, and reads must learn of it.
                    self.recovery.cache.invalidate();
                    connection = None;
                }
                GiveBack::End => break,
            }
        }
        // After a loss or a close, reads learn of it from the threads.
        self.recovery.cache.invalidate();
        if !self.hold.as_mut().is_none_or(Hold::release) {
            std::mem::forget(connection);
        } else if let Some(connection) = connection
            && let Err(error) = runtime.block_on(logging::unlogged(connection.close()))
        {
            logging::warn!(%error, store = self.recovery.location, "the store did not close cleanly");
        }
        if let Some(lock_files) = self.change_signal.lock_files() {
            lock_files.leave();
        }
        drop(self.hold);
    }

    /// Does jobs on the lent connection, until sqlx needs the connection.
    fn work(&mut self, lent: &Lent<'_>) -> GiveBack {
        // While sqlx had the connection, commits of other connections were not observed, and the number of a new connection
        // means nothing yet. So after the next commit, no earlier copy is known to be up to date.
        self.data_version = None;
        while self.wait() {
            if let Some(Job::Ensure(..)) = self.waiting.front() {
                return GiveBack::Ensure;
            } else if let Some(Job::Read(..)) = self.waiting.front() {
                self.read(Some(lent));
            } else if self.in_turn(|thread| thread.write(lent)) {
                return GiveBack::Reopen;
            }
        }
        GiveBack::End
    }

    /// Does one job without a connection: it fails.
    fn fail(&mut self) -> GiveBack {
        if !self.wait() {
            return GiveBack::End;
        } else if let Some(Job::Ensure(..)) = self.waiting.front() {
            return GiveBack::Ensure;
        } else if let Some(Job::Read(..)) = self.waiting.front() {
            self.read(None);
        } else {
            self.in_turn(Self::without);
        }
        GiveBack::Crash
    }

    /// Waits for a job. `false` means that there will be none.
    fn wait(&mut self) -> bool {
        if self.waiting.is_empty() {
            self.waiting.extend(self.taker.take());
        }
        !self.waiting.is_empty()
    }

    /// Acquires the fair lock, and runs the first requests together with all requests that have arrived
    /// meanwhile. Returns whether the connection must be replaced.
    fn in_turn(&mut self, act: impl FnOnce(&mut Self) -> Turn) -> bool {
        if let Some(hold) = &self.hold
            && let Err(loss) = hold.watch().check_at_times()
        {
            // The refusal does not need the fair lock.
            self.refuse(&loss);
            return false;
        }
        if let Some(fair_lock) = &mut self.fair_lock {
            // The time limit of the first request ends first. This thread has nothing to do before it has the
            // fair lock.
            let Some(Job::Write(Request { since, .. }) | Job::Ensure(since, ..)) = self.waiting.front()
            else {
                return false;
            };
            let timer = Timer::start();
            fair_lock.acquire(*since + self.recovery.busy);
            metrics::waited_for_turn(timer);
        }
        self.taker.take_all(&mut self.waiting);
        let (began, timer) = (Instant::now(), Timer::start());
        let Turn { answered, held, reopens } = act(self);
        if held.is_none() {
            metrics::worked(timer);
        }
        if let Some(fair_lock) = &mut self.fair_lock {
            fair_lock.release();
        }
        if let Some((batch, outcome)) = answered {
            // Notify before the results are sent: a caller that has its result may assume that other processes
            // were notified.
            if is_news(&batch, &outcome) {
                self.change_signal.notify();
            }
            metrics::answered(&batch, &outcome);
            answer(batch, outcome, |error| self.recovery.named(error));
        }
        if let Some(held) = held {
            self.give_up(&held);
            if !self.waiting.is_empty() {
                // The thread may sleep, because nothing else runs on it.
                sleep(PAUSE.saturating_sub(began.elapsed()));
            }
        }
        reopens
    }

    /// Fails all requests whose time limit is over, at any position in the queue.
    fn give_up(&mut self, held: &Held) {
        let (now, busy) = (Instant::now(), self.recovery.busy);
        let location = &self.recovery.location;
        let error = |since| error::busy(location, now.duration_since(since), held);
        for job in std::mem::take(&mut self.waiting) {
            // The send fails if the caller no longer waits.
            match job {
                Job::Write(Request { since, reply, .. }) if since + busy <= now => {
                    let error = error(since);
                    metrics::refused(&error);
                    let _ = reply.send((Err(error), None));
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

    /// Fails all waiting requests with the error that the database is lost.
    fn refuse(&mut self, loss: &Loss) {
        for job in std::mem::take(&mut self.waiting) {
            // The send fails if the caller no longer waits.
            match job {
                Job::Write(Request { reply, .. }) => {
                    let error = loss.unusable();
                    metrics::refused(&error);
                    let _ = reply.send((Err(error), None));
                }
                Job::Ensure(_, _, reply) => {
                    let _ = reply.send(Err(loss.unusable()));
                }
                job @ Job::Read(..) => self.waiting.push_back(job),
            }
        }
    }
}

#[cfg(test)]
mod tests;
