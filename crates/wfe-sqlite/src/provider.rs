//! The provider: its open connections and files, and the calls by which other modules reach the database.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use chrono::DateTime;
use futures_util::future::BoxFuture;
use wfe_core::{CorruptValues, Result, WfeError, clock::Clock, logging};

use crate::{
    codec::time,
    connection::{
        admission::Caller,
        execute::Counts,
        reader::Reader,
        refusal::Refusal,
        thread::Timer,
        writer::{Recovery, Writer},
    },
    error::{self, unusable},
    file::{
        LastCommit, Watch,
        another::Another,
        open::{self, Opened},
        preflight::{self, Intent},
        reading,
        sidecars::Sidecars,
    },
    instance::cache::Cache,
    options::{Access, Location, SqliteOptions},
    processes::{change_signal::ChangeSignal, lock_files::LockFiles, owner_liveness::Owners},
    purged_events::PurgedEvents,
    request::{Done, Script},
    row::Row,
    schema,
};

/// A store of workflows in one SQLite database.
///
/// The effect of a call is durable when the call returns: the call returns after the fsync of its commit. (A database
/// in memory has no fsync.) If the future of a call is dropped, either the whole effect of the call is stored, or
/// nothing is stored. Any number of providers, in any number of processes, may have one file open. Their writers take
/// turns.
///
/// Dropping the provider finishes earlier calls and then closes the database. The drop blocks the thread
/// meanwhile, usually for some milliseconds and at most for two seconds. [`close`](Self::close) waits without
/// blocking the thread, and without a time limit.
///
/// A call is acknowledged only if its effect is in the database file that is at the path. If the database, its `-wal`
/// or its `-shm` is removed, renamed, replaced or truncated while it is open, the current call detects this before it
/// returns. This call and every later call fail with [`Unusable`](wfe_core::WfeError::Unusable), with one exception: a
/// commit that was under way when the loss was found fails with [`CommitUnknown`](wfe_core::WfeError::CommitUnknown).
/// These checks do not detect a file that is overwritten in place. [The crate's
/// documentation](crate#when-the-database-file-is-lost) describes the limits. To copy a database that is open, use
/// [`Management::backup`](wfe_core::traits::Management::backup). Do not copy its files.
///
/// A provider has at most four connections to its file: one connection writes, and three connections read snapshots. A
/// database in memory has one connection for both writes and reads. Such a database exists as long as its provider.
/// There is no pool, so no connection is recycled or timed out. The writing connection is reopened after an error that
/// makes SQLite's view of the file doubtful. A reading connection is never reopened.
///
/// # How much waits
/// Calls wait in two queues, one for writes and one for reads. A database in memory has one queue for both. A queue has
/// permits for 1 024 calls of the program. It admits fewer calls if their arguments reach 64 MiB in total. A call with
/// more than 64 MiB of arguments enters the queue only when no other call of the program has a permit. Further calls
/// wait outside the queue for a permit, in the order in which they were made. A call waits for at most
/// [`busy_timeout`](SqliteOptions::busy_timeout), counted from its beginning. Then it fails with
/// [`Busy`](wfe_core::WfeError::Busy), and has written nothing. A call that is dropped while it waits outside the queue
/// has no effect. A call that is dropped in the queue keeps its permit until the database has served the call.
///
/// Calls of a host's engine (the commits, claims, loads and similar calls of
/// [`StepStore`](wfe_core::traits::StepStore)) need no permit and never wait outside the queue. Each workflow instance
/// that the engine has in memory makes only one such call at a time.
pub struct SqlitePersistenceProvider {
    pub(crate) writer: Writer,
    /// `None` for a database in memory, which is read on the writer's connection.
    reader: Option<Reader>,
    schema_version: i64,
    pub(crate) cache: Arc<Cache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) owners: Arc<Owners>,
    pub(crate) change_signal: ChangeSignal,
    /// `None` for a database in memory, which cannot be removed.
    watch: Option<Watch>,
    corrupt: CorruptValues,
    pub(crate) purged_events: PurgedEvents,
    location: Location,
    counts: Arc<Counts>,
    /// Ends the waits of calls. Its thread ends with this value.
    pub(crate) timer: Timer,
    /// Opens another connection. `None` for a database in memory, which has only one.
    pub(crate) another: Option<Another>,
}

impl SqlitePersistenceProvider {
    /// Opens a database. Creates the database and its tables if they are missing.
    ///
    /// The URL is `:memory:` (or `sqlite::memory:`), `sqlite:relative.db` or `sqlite:///absolute/path.db`. If the path
    /// contains a `?` or a `%`, write these characters as percent escapes.
    ///
    /// # Errors
    /// * [`Unusable`](wfe_core::WfeError::Unusable): if the database cannot be used. The error contains the path and
    ///   the cause, and the file is unchanged. The possible causes are:
    ///   * The URL is of another kind, or has an unknown parameter.
    ///   * The folder of the file is missing.
    ///   * The file is not a database, belongs to another program, or is read-only.
    ///   * The file is on a network file system that Linux reports as one.
    ///   * The SQLite library is older than 3.51.3.
    ///   * The schema lacks a part, because it was changed by hand.
    ///   * A write-ahead log, a `-shm` or a lock file does not belong to the database, or must not be used. This is
    ///     detected as far as possible.
    ///   * The file was removed while a process still has it open.
    ///   * The clock shows a time before 1970.
    /// * [`SchemaTooNew`](wfe_core::WfeError::SchemaTooNew): if a newer version of WFE has written the
    ///   database. The file is unchanged.
    /// * [`Busy`](wfe_core::WfeError::Busy): if another process held the database for longer than the busy
    ///   timeout.
    pub async fn new(url: &str) -> Result<Self> {
        Self::builder(url).open().await
    }

    /// Like [`new`](Self::new), but with options.
    pub fn builder(url: &str) -> SqliteOptions {
        SqliteOptions::url(url)
    }

    /// Like [`builder`](Self::builder), but for the file at this path. Any path is allowed. A `%` in it is an ordinary
    /// character.
    pub fn file(path: impl AsRef<Path>) -> SqliteOptions {
        SqliteOptions::file(path.as_ref())
    }

    #[inline(never)]
    pub(crate) fn open(location: Location, options: SqliteOptions) -> BoxFuture<'static, Result<Self>> {
        // An `async fn` is compiled by the crate that awaits it: each program would compile the connections' threads anew.
        Box::pin(Self::open_here(location, options))
    }

    async fn open_here(location: Location, options: SqliteOptions) -> Result<Self> {
        check_clock(&location, &*options.clock)?;
        if let Some(reads) = Self::open_reading(&location, &options).await? {
            return Ok(reads);
        }
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let busy = options.busy_timeout;
        let mut recovery =
            Recovery { options: None, cache: Arc::clone(&cache), location: location.name(), busy };
        let (counts, timer) = (Arc::default(), Timer::start()?);
        let (writer, reader, owners, change_signal, another) = match &location {
            Location::Memory => {
                let change_signal = ChangeSignal::in_memory();
                let of_writer = change_signal.clone();
                let open = async move || Ok((open::memory().await?, None, of_writer, ()));
                let owners = Arc::new(Owners::in_memory(options.lease));
                let (writer, ()) = Writer::start(recovery, &counts, timer.runtime().clone(), open).await?;
                (writer, None, owners, change_signal, None)
            }
            Location::File(path) => {
                // The working directory may change, so the path is made absolute now.
                let path = open::absolute(path)?;
                let Access { creates, upgrades, .. } = options.access;
                let intent = if creates { Intent::Create } else { Intent::Write };
                let watch = checked(&path, intent).await?;
                let sidecars = Sidecars::of(watch.real())?;
                sidecars.check_files_of_sqlite()?;
                let owners = Arc::new(Owners::of_file(sidecars.clone(), options.lease));
                let looked_after = Arc::clone(&owners);
                recovery.options = Some((open::writing(&path, busy), sidecars.clone()));
                let another = Another {
                    path: path.clone(),
                    watch: watch.clone(),
                    sidecars: sidecars.clone(),
                    busy,
                    is_immutable: false,
                    version: schema::VERSION,
                };
                let watched = watch.clone();
                let open = async move || {
                    // This block runs on the writer's thread, which may wait for a lock.
                    let change_signal = ChangeSignal::of_file(
                        LockFiles::join(&sidecars, busy)?,
                        watched.clone(),
                        looked_after,
                    );
                    let Opened { writer, readers, hold } =
                        open::file(&path, &watched, &sidecars, busy, upgrades).await?;
                    let shared = hold.share();
                    Ok((writer, Some(hold), change_signal.clone(), (readers, shared, change_signal)))
                };
                let (writer, (readers, hold, change_signal)) =
                    Writer::start(recovery, &counts, timer.runtime().clone(), open).await?;
                let (readers, timer) = ((readers, false), timer.runtime().clone());
                let reader = Reader::start(readers, &hold, &counts, timer, busy, location.name())?;
                (writer, Some(reader), owners, change_signal, Some(another))
            }
        };
        let corrupt = CorruptValues::default();
        Ok(Self {
            writer,
            reader,
            schema_version: schema::VERSION,
            cache,
            clock: options.clock,
            owners,
            change_signal,
            watch: another.as_ref().map(|another| another.watch.clone()),
            corrupt,
            purged_events: PurgedEvents::default(),
            location,
            counts,
            another,
            timer,
        })
    }

    /// Opens a file that is only read: because of the options, or because it has an earlier schema version and must not be
    /// upgraded. `None` means that the file is to be opened for writing.
    async fn open_reading(location: &Location, options: &SqliteOptions) -> Result<Option<Self>> {
        let access = options.access;
        let path = match location {
            Location::File(path) => open::absolute(path)?,
            Location::Memory if access.writes => return Ok(None),
            Location::Memory => {
                let reason =
                    "a database in memory cannot be opened for reading only: it would have nothing to read";
                return Err(unusable(Path::new(&location.name()), reason, None));
            }
        };
        let is_there = || std::fs::metadata(&path).is_ok_and(|found| found.len() > 0);
        if access.writes && (access.upgrades || !is_there()) {
            return Ok(None);
        }
        let watch = checked(&path, Intent::Read).await?;
        let sidecars = Sidecars::of(watch.real())?;
        let change_signal = ChangeSignal::of_reader(sidecars.clone());
        let sidecars = sidecars.read_only();
        sidecars.check_files_of_sqlite()?;
        let busy = options.busy_timeout;
        let opened = reading::open(&path, &watch, &sidecars, busy).await?;
        let is_earlier = opened.version < schema::VERSION;
        if access.writes && !is_earlier {
            opened.close().await;
            return Ok(None);
        }
        let refusal = if access.writes { Refusal::TooOld(opened.version) } else { Refusal::ReadOnly };
        let (counts, timer) = (Arc::default(), Timer::start()?);
        let runtime = || timer.runtime().clone();
        let readers = (opened.connections, is_earlier);
        let reader = Reader::start(readers, &opened.hold, &counts, runtime(), busy, location.name())?;
        let another = Another {
            path,
            watch: watch.clone(),
            sidecars: sidecars.clone(),
            busy,
            is_immutable: opened.is_immutable,
            version: opened.version,
        };
        Ok(Some(Self {
            writer: Writer::refusing(refusal, runtime(), busy, location.name()),
            reader: Some(reader),
            schema_version: opened.version,
            cache: Arc::new(Cache::new(options.cache_bytes)),
            clock: Arc::clone(&options.clock),
            owners: Arc::new(Owners::of_file(sidecars, options.lease)),
            change_signal,
            watch: Some(watch),
            corrupt: CorruptValues::default(),
            purged_events: PurgedEvents::default(),
            location: location.clone(),
            counts,
            another: Some(another),
            timer,
        }))
    }

    /// The newest schema version that this version of WFE knows. A database that is created or upgraded has this version.
    pub const SCHEMA_VERSION: i64 = schema::VERSION;

    /// The schema version of the database when it was opened. It is below [`SCHEMA_VERSION`](Self::SCHEMA_VERSION) only if the
    /// options forbid an upgrade.
    #[must_use]
    pub fn schema_version(&self) -> i64 {
        self.schema_version
    }

    /// Finishes earlier calls, closes the database, and returns when it is closed. Every later call returns
    /// [`Closed`](wfe_core::WfeError::Closed). Closing twice is harmless.
    pub async fn close(&self) {
        if let Some(reader) = &self.reader {
            reader.close().await;
        }
        // The writer closes last, so that SQLite can merge the WAL into the file.
        self.writer.close().await;
    }

    /// The number of SQL statements that this provider has run, and the number of these that had to be prepared first. For
    /// tests and benchmarks, which compare the numbers before and after a call.
    #[doc(hidden)]
    pub fn statements(&self) -> (u64, u64) {
        (self.counts.statements.load(Relaxed), self.counts.prepared.load(Relaxed))
    }

    /// The number of transactions that this provider has committed, and the number of rows that they have changed. For tests
    /// and benchmarks.
    #[doc(hidden)]
    pub fn written(&self) -> (u64, u64) {
        (self.counts.commits.load(Relaxed), self.counts.rows.load(Relaxed))
    }

    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// For how long the oldest read of this provider has run. `None` means that none runs.
    pub(crate) fn oldest_read(&self) -> Option<Duration> {
        self.reader.as_ref().and_then(Reader::oldest)
    }

    /// Reads from one consistent snapshot, for a call of the program.
    pub(crate) async fn read(&self, script: Script) -> Result<Vec<Done>> {
        self.read_for(Caller::Program, script).await
    }

    /// Like [`read`](Self::read), but for a call of any caller.
    pub(crate) async fn read_for(&self, caller: Caller, script: Script) -> Result<Vec<Done>> {
        match &self.reader {
            Some(reader) => reader.read(caller, script).await,
            None => self.writer.read(caller, script).await,
        }
    }

    /// Reads a page of rows, for a call of the program. Returns the rows that decode, and the cursor of the last row if
    /// more rows may follow.
    pub(crate) async fn page<T, P>(
        &self,
        script: Script,
        limit: usize,
        cursor: impl FnOnce(Row<'_>) -> Result<P>,
        decode: impl FnMut(Row<'_>) -> Result<T>,
    ) -> Result<(Vec<T>, Option<P>)> {
        let done = self.read(script).await?;
        let rows = || done.iter().flat_map(|done| &done.rows);
        // The cursor belongs to the last row that was read, even if this row does not decode: the rows after it
        // can be read in either case.
        let last = rows().last().filter(|_| rows().count() == limit);
        Ok((self.sound(rows().map(decode))?, last.map(cursor).transpose()?))
    }

    /// Checks that the database file is still the one that was opened. If `at_times` is `true`, the result of a check
    /// that is less than half a second old is enough.
    pub(crate) fn check(&self, at_times: bool) -> Result<()> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let checked = if at_times { watch.check_at_times() } else { watch.check() };
        checked.map_err(|loss| loss.unusable())
    }

    /// What identifies the last commit in the database. `None` means that it cannot be read at this moment.
    ///
    /// # Errors
    /// Fails if the file is not the one that was opened. A result of this check that is less than half a second old is
    /// enough.
    pub(crate) fn last_commit(&self) -> Result<Option<LastCommit>> {
        self.check(true)?;
        Ok(match &self.watch {
            Some(watch) => watch.last_commit(),
            None => Some(LastCommit::default()),
        })
    }

    /// Returns the rows that decode. A row that does not decode is logged and left out, so that it does not
    /// affect the other rows.
    pub(crate) fn sound<T>(&self, rows: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
        rows.into_iter().filter_map(|row| self.sound_one(row).transpose()).collect()
    }

    /// Returns the row if it decodes. `None` means that the row does not decode, and that this was logged.
    pub(crate) fn sound_one<T>(&self, row: Result<T>) -> Result<Option<T>> {
        match row {
            Ok(row) => Ok(Some(row)),
            Err(error @ WfeError::Corrupt { .. }) => {
                self.report(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The path of the database, or `None` if it is in memory.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.location {
            Location::Memory => None,
            Location::File(path) => Some(path),
        }
    }

    /// Adds the name of the database to the error of a value that does not decode, before the result leaves the
    /// store.
    pub(crate) fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error::of_corrupt(&self.location.name(), error))
    }

    /// Logs a corrupt value, once for each row and column.
    pub(crate) fn report(&self, error: &WfeError) {
        if self.corrupt.is_new(error) {
            logging::error!(store = self.location.name(), %error, "a stored row does not decode; it is left out of the result");
        }
    }

    /// Waits for this time, whatever runtime the caller has.
    pub(crate) async fn pause(&self, time: Duration) {
        // The task fails only if the runtime is shut down, which ends the wait too.
        drop(self.timer.runtime().spawn(tokio::time::sleep(time)).await);
    }

    /// The time of the store's clock, as a bound (see [`time::bound`]).
    pub(crate) fn now(&self) -> Option<i64> {
        time::bound(self.clock.now())
    }
}

/// Checks a file before it is opened.
async fn checked(path: &Path, intent: Intent) -> Result<Watch> {
    match preflight::check(path, intent) {
        Ok(guard) => Ok(Watch::new(guard, path)),
        Err(error) => Err(schema::explained(path, error).await),
    }
}

/// Refuses a clock that shows a time before 1970, for example because the computer has lost its time. Everything that
/// began at such a time, and also the ids of instances, would be out of order as soon as the clock is set right.
fn check_clock(location: &Location, clock: &dyn Clock) -> Result<()> {
    let now = clock.now();
    if now >= DateTime::UNIX_EPOCH {
        return Ok(());
    }
    Err(unusable(
        Path::new(&location.name()),
        format!("the clock shows {now}, which is before 1970; set the clock"),
        None,
    ))
}

/// How long dropping a provider waits for each of its threads. If the program ends before a thread has finished, the
/// database is not closed and the lock files remain. These remains are harmless, so a longer wait is not worthwhile.
const LAST_WAIT: Duration = Duration::from_secs(1);

impl Drop for SqlitePersistenceProvider {
    fn drop(&mut self) {
        let read = self.reader.as_ref().is_none_or(|reader| reader.close_within(LAST_WAIT));
        if !(read && self.writer.close_within(LAST_WAIT)) {
            logging::debug!(store = self.location.name(), "the store is closed in the background");
        }
    }
}

impl std::fmt::Debug for SqlitePersistenceProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlitePersistenceProvider").field("location", &self.location).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wfe_core::{models::WorkflowInstance, traits::WorkflowRepository};

    use super::*;
    use crate::sqlx::{ConnectOptions, Connection, Executor, sqlite::SqliteConnectOptions};

    #[tokio::test]
    async fn a_database_in_memory_is_one_connection_that_nothing_can_recycle() {
        let store = SqlitePersistenceProvider::new(":memory:").await.unwrap();
        // Reads have no separate connection, and the writer has no options with which it could open another
        // connection. This crate has no pool, so no connection ends because of idle time or age.
        assert!(store.reader.is_none());
        assert!(!include_str!("file/open.rs").contains(concat!("Sqlite", "Pool")));
        let store = SqlitePersistenceProvider::new("sqlite::memory:").await.unwrap();
        assert!(store.reader.is_none());
    }

    #[tokio::test]
    async fn the_last_commit_changes_with_each_commit_that_writes_and_with_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
        let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        let last = || store.last_commit().unwrap().unwrap();
        let changes = || last().changes;
        let mut instance = WorkflowInstance::new("d", 1, json!(0));
        let before = changes();
        instance.id = store.create_new_workflow(&instance).await.unwrap();
        assert_eq!(changes(), before + 1);
        store.get_workflow_instance(&instance.id).await.unwrap();
        assert_eq!(changes(), before + 1);
        let texts = [
            ("BEGIN IMMEDIATE; UPDATE workflows SET revision = 2; ROLLBACK", false),
            ("BEGIN IMMEDIATE; UPDATE workflows SET revision = 2 WHERE id = ''; COMMIT", false),
            ("PRAGMA wal_checkpoint(TRUNCATE)", false),
            ("PRAGMA wal_checkpoint(RESTART)", false),
            (
                "BEGIN; UPDATE workflows SET revision = 3; UPDATE workflows SET data = hex(zeroblob(4000000)); COMMIT",
                true,
            ),
            ("DELETE FROM workflows", true),
        ];
        for (text, commits) in texts {
            let before = last();
            other.execute(text).await.unwrap();
            assert_eq!(
                (last() != before, changes() - before.changes),
                (commits, u32::from(commits)),
                "{text}"
            );
        }
        store.close().await;
        assert_eq!(store.last_commit().unwrap(), None);
        other.close().await.unwrap();
    }
}
