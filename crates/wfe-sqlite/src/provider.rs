//! The provider: what is open, and how its parts reach the database.

use std::{path::Path, sync::Arc, time::Duration};

use chrono::DateTime;
use sqlx::sqlite::SqliteRow;
use wfe_core::{CorruptValues, Result, WfeError, clock::Clock, logging};

use crate::{
    codec::time,
    connection::{
        admission::Caller,
        reader::Reader,
        writer::{Recovery, Writer},
    },
    error::{self, unusable},
    file::{
        Watch,
        open::{self, Opened},
        preflight::{self},
        sidecars::Sidecars,
    },
    instance::cache::Cache,
    options::{Location, SqliteOptions},
    processes::{change_signal::ChangeSignal, lock_files::LockFiles, owners::Owners},
    request::{Done, Script},
    schema,
};

/// A store of workflows in one SQLite database.
///
/// The effect of a call that returned is durable: the answer comes after the fsync of its commit (in memory
/// there is none). A dropped future leaves all of its effect or none. Any number of providers, in any number of
/// processes, may have one file open; their writers take turns.
///
/// Dropping the provider finishes earlier calls and then closes the database; it blocks for that, usually some
/// milliseconds and at most two seconds. [`close`](Self::close) waits without blocking, as long as it takes.
///
/// A call is acknowledged only if its effect is in the file at the path. If a database, `-wal` or `-shm` is
/// removed, renamed, replaced or truncated while it is open, the call finds that before it answers, and so does
/// every later call: [`Unusable`](wfe_core::WfeError::Unusable), or
/// [`CommitUnknown`](wfe_core::WfeError::CommitUnknown) for the commit that was under way. A file that is
/// overwritten in place is not detected in this way. [The crate's
/// documentation](crate#when-the-database-file-is-lost) has the limits. To copy a database that is open, use
/// `VACUUM INTO` on a connection of your own, not a copy of its files.
///
/// A file has at most four connections: one writes, and three read, each a snapshot. A database in memory has
/// one connection for both, and is lost only with its provider: there is no pool, so no connection is recycled
/// or timed out, and one is reopened only after an error that makes it doubtful.
///
/// # How much waits
/// Calls wait in two queues, one for writes and one for reads (in memory, one for both). A queue has permits
/// for 1 024 calls of the program, or for fewer with 64 MiB of arguments together; a call that is larger than
/// that enters alone. Further calls wait outside the queue, in order, for at most
/// [`busy_timeout`](SqliteOptions::busy_timeout) from their beginning. Then they fail with
/// [`Busy`](wfe_core::WfeError::Busy), and nothing was written. A call that is dropped while it waits outside
/// has no effect; one that is dropped in the queue keeps its permit until the database has served it.
///
/// Calls of the engine of a host (the commits, claims, loads and the like of
/// [`StepStore`](wfe_core::traits::StepStore)) need no permit and never wait outside: there is one such call at
/// a time for each instance in memory.
pub struct SqlitePersistenceProvider {
    pub(crate) writer: Writer,
    /// `None`: a database in memory, read on the writer's connection.
    reader: Option<Reader>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) owners: Arc<Owners>,
    pub(crate) change_signal: ChangeSignal,
    /// `None`: a database in memory, which cannot be removed.
    watch: Option<Watch>,
    corrupt: CorruptValues,
    location: Location,
}

impl SqlitePersistenceProvider {
    /// Opens a database; creates it and its tables if they are missing.
    ///
    /// The URL is `:memory:` (or `sqlite::memory:`), `sqlite:relative.db` or `sqlite:///absolute/path.db`, with
    /// percent escapes if the path has a `?` or `%`.
    ///
    /// # Errors
    /// * [`Unusable`](wfe_core::WfeError::Unusable), with path and cause; the file is untouched. The causes: a
    ///   URL of another kind or an unknown parameter; a missing folder; a file that is no database, belongs to
    ///   another program, or is read-only; a network file system that Linux names; a SQLite older than 3.51.3;
    ///   a schema that lacks something (because it was changed by hand); a write-ahead log, `-shm` or lock file
    ///   beside it that does not belong to it or must not be used, as far as that is visible; a file that was
    ///   removed while a process still has it open; a clock that shows a time before 1970.
    /// * [`SchemaTooNew`](wfe_core::WfeError::SchemaTooNew): a newer version of WFE wrote it; it is untouched.
    /// * [`Busy`](wfe_core::WfeError::Busy): another process held it for longer than the busy timeout.
    pub async fn new(url: &str) -> Result<Self> {
        Self::builder(url).open().await
    }

    /// As [`new`](Self::new), with options.
    pub fn builder(url: &str) -> SqliteOptions {
        SqliteOptions::url(url)
    }

    /// A file by its path, which may be any path, without escapes.
    pub fn file(path: impl AsRef<Path>) -> SqliteOptions {
        SqliteOptions::file(path.as_ref())
    }

    pub(crate) async fn open(location: Location, options: SqliteOptions) -> Result<Self> {
        check_clock(&location, &*options.clock)?;
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let busy = options.busy_timeout;
        let mut recovery =
            Recovery { options: None, cache: Arc::clone(&cache), location: location.name(), busy };
        let (writer, reader, owners, change_signal, watch) = match &location {
            Location::Memory => {
                let change_signal = ChangeSignal::in_memory();
                let of_writer = change_signal.clone();
                let open = async move || Ok((open::memory().await?, None, of_writer, ()));
                let owners = Arc::new(Owners::in_memory(options.lease));
                (Writer::start(recovery, open).await?.0, None, owners, change_signal, None)
            }
            Location::File(path) => {
                // The working directory may change: the database stays at the path where it was found.
                let path = open::absolute(path)?;
                let watch = match preflight::check(&path) {
                    Ok(guard) => Watch::new(guard, &path),
                    Err(error) => return Err(schema::explained(&path, error).await),
                };
                let sidecars = Sidecars::of(watch.real())?;
                sidecars.check_files_of_sqlite()?;
                let owners = Arc::new(Owners::of_file(sidecars.clone(), options.lease));
                let looked_after = Arc::clone(&owners);
                recovery.options = Some((open::writing(&path, busy), sidecars.clone()));
                let watched = watch.clone();
                let reading = open::reading(&path, busy);
                let open = async move || {
                    // On the writer's thread, which may wait for a lock.
                    let change_signal = ChangeSignal::of_file(
                        LockFiles::join(&sidecars, busy)?,
                        watched.clone(),
                        looked_after,
                    );
                    let Opened { writer, readers, hold } =
                        open::file(&path, &watched, &sidecars, busy).await?;
                    let shared = hold.share();
                    Ok((writer, Some(hold), change_signal.clone(), (readers, shared, change_signal)))
                };
                let (mut writer, (readers, hold, change_signal)) = Writer::start(recovery, open).await?;
                let reader = Reader::start(readers, reading, hold, busy, location.name())?;
                // The writer's own thread blocks while other processes hold the database.
                writer.admission.time_on(reader.runtime().clone());
                (writer, Some(reader), owners, change_signal, Some(watch))
            }
        };
        let corrupt = CorruptValues::default();
        Ok(Self {
            writer,
            reader,
            cache,
            clock: options.clock,
            owners,
            change_signal,
            watch,
            corrupt,
            location,
        })
    }

    /// Finishes earlier calls, closes the database and waits for it. Every later call is
    /// [`Closed`](wfe_core::WfeError::Closed). Idempotent.
    pub async fn close(&self) {
        if let Some(reader) = &self.reader {
            reader.close().await;
        }
        // Last, so that SQLite can merge the WAL into the file.
        self.writer.close().await;
    }

    /// Reads one consistent snapshot for the program.
    pub(crate) async fn read(&self, script: Script) -> Result<Vec<Done>> {
        self.read_for(Caller::Program, script).await
    }

    /// As [`read`](Self::read), for any caller.
    pub(crate) async fn read_for(&self, caller: Caller, script: Script) -> Result<Vec<Done>> {
        match &self.reader {
            Some(reader) => reader.read(caller, script).await,
            None => self.writer.read(caller, script).await,
        }
    }

    /// Reads a page of rows for the program: those that decode, and the cursor of the last one if there may be
    /// more after it.
    pub(crate) async fn page<T, P>(
        &self,
        script: Script,
        limit: usize,
        cursor: impl FnOnce(&SqliteRow) -> Result<P>,
        decode: impl FnMut(&SqliteRow) -> Result<T>,
    ) -> Result<(Vec<T>, Option<P>)> {
        let done = self.read(script).await?;
        let rows = || done.iter().flat_map(|done| &done.rows);
        // By the last row that was read, whether it decodes or not: the rows after it can be read in either
        // case.
        let last = rows().last().filter(|_| rows().count() == limit);
        Ok((self.sound(rows().map(decode))?, last.map(cursor).transpose()?))
    }

    /// Whether the database file is still the one that was opened: now, or half a second ago.
    pub(crate) fn check(&self, at_times: bool) -> Result<()> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let checked = if at_times { watch.check_at_times() } else { watch.check() };
        checked.map_err(|loss| loss.unusable())
    }

    /// Those of many rows that decode. The others are logged and left out: a corrupt row does not affect the
    /// others.
    pub(crate) fn sound<T>(&self, rows: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
        rows.into_iter().filter_map(|row| self.sound_one(row).transpose()).collect()
    }

    /// One of many rows; `None`: it does not decode, and was logged.
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

    /// Adds the name of the database to the error of a value that does not decode. For answers that leave the
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

    /// The time of the store's clock, as a bound (see [`time::bound`]).
    pub(crate) fn now(&self) -> Option<i64> {
        time::bound(self.clock.now())
    }
}

/// Refuses a clock before 1970, as shown by a computer that has lost its time: everything that begins under it,
/// including the ids of instances, is out of order as soon as the clock is set.
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

/// How long dropping a provider waits for each of its threads. If a program ended right after, its files would
/// stay unclosed and its lock files would remain, which does no harm but looks untidy; that is not worth a
/// longer wait.
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
    use super::*;

    #[tokio::test]
    async fn a_database_in_memory_is_one_connection_that_nothing_can_recycle() {
        let store = SqlitePersistenceProvider::new(":memory:").await.unwrap();
        // Reads have no connection of their own, and the writer has no options to open another one with. There
        // is no pool in this crate: no connection ends because of idle time or age.
        assert!(store.reader.is_none());
        assert!(!include_str!("file/open.rs").contains(concat!("Sqlite", "Pool")));
        let store = SqlitePersistenceProvider::new("sqlite::memory:").await.unwrap();
        assert!(store.reader.is_none());
    }
}
