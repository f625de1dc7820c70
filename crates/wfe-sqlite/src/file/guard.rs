//! Guards the files of an open database. The guard prevents the removal of the log, and detects removals that it could
//! not prevent.
//!
//! * *Prevention*, on Linux: the guard holds open file description (OFD) locks, in addition to SQLite's own locks (see
//!   [`locks`](super::locks)). Because of the OFD locks, no SQLite connection, not even one of this process, can take
//!   itself for the last connection and remove the log. The guard releases the OFD locks before this process closes its
//!   last connection.
//! * *Detection*: the guard checks that the paths of the database, its log and its `-shm` still lead to the files that
//!   were opened (same device and inode), and that the database and the log are complete (see
//!   [`wal_index`](super::wal_index)). It makes this check before each batch, after the batch's COMMIT, and from time
//!   to time for readers and idle hosts. On systems that have no OFD locks, each check first takes SQLite's own locks
//!   again.
//! * *After a loss*: every call returns the loss as an error. While old connections are open, no new connection is
//!   opened: it would share the `-shm` of the old connections, but write to another log. When the last connection
//!   closes, it may write to the database only if it is certain that no other process has opened the database since the
//!   loss.
//!
//! If a file is removed after a check, the next check detects it. A file that is overwritten in place keeps its inode
//! and its length, so the guard detects such a loss only when SQLite reports that the file is damaged.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wfe_core::{WfeError, logging, sync::lock};

use super::loss::Loss;
use super::open_files::{self, OpenFiles};
use super::wal_index::{Checkpoint, LastCommit, WalIndex};
use crate::error::{self, SqliteError};

/// The minimum time between two checks by readers and idle hosts. With this interval, they find a loss within a second,
/// even if one check is late.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// The guard of one database file that this process has open. All providers that have the file open share this guard.
pub(crate) struct Guard {
    /// The guard's descriptor of the database. It is closed only after SQLite has closed its last descriptor of the
    /// file, because an earlier close would release SQLite's locks. `None` once the guard's descriptor is closed.
    database: Option<File>,
    /// The path of the database, with symbolic links resolved. The log and the `-shm` are beside the file at this path.
    real: PathBuf,
    state: Mutex<State>,
    /// When the files were last checked, in milliseconds since [`STARTED`].
    checked: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The number of groups of connections that are open or being opened.
    open: usize,
    /// The number of groups of connections that are active: opened, and not yet released.
    working: usize,
    lost: Option<Loss>,
    /// Whether connections were left open for ever. If so, this process must open no further connection to the file.
    abandoned: bool,
    files: Option<OpenFiles>,
    /// WFE's own descriptor of the `-shm`, through which the guard locks that file.
    shm: Option<File>,
}

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Guard {
    /// Creates the guard of an open database file. The guard must be created before SQLite opens the file in this
    /// process.
    pub(crate) fn new(database: File, real: PathBuf) -> Self {
        Self { database: Some(database), real, state: Mutex::default(), checked: AtomicU64::new(0) }
    }

    /// The path of the database, with symbolic links resolved.
    pub(crate) fn real(&self) -> &Path {
        &self.real
    }

    /// Whether this process has connections open on the file.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.state();
        state.open > 0 || state.abandoned
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No holder of the lock can panic half-way through a change.
        lock(&self.state)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let shm = self.state().shm.take();
        open_files::close([self.database.take(), shm].into_iter().flatten());
    }
}

/// The guard of a database file, together with the path by which one provider opened it.
#[derive(Clone)]
pub(crate) struct Watch {
    guard: Arc<Guard>,
    given: Arc<Path>,
    /// The first loss that this provider found. It stays set even when all connections are closed. The loss in the
    /// guard's state, in contrast, is cleared at that moment, so that another provider can open the file.
    found: Arc<OnceLock<Loss>>,
}

impl Watch {
    pub(crate) fn new(guard: Arc<Guard>, given: &Path) -> Self {
        Self { guard, given: given.into(), found: Arc::default() }
    }

    /// The path of the database, with symbolic links resolved.
    pub(crate) fn real(&self) -> &Path {
        self.guard.real()
    }

    /// Announces that connections will be opened.
    ///
    /// # Errors
    /// Fails if the file was lost and this process still has connections to the lost file.
    pub(crate) fn enter(&self) -> Result<Hold, Loss> {
        let mut state = self.guard.state();
        self.check_files(&mut state)?;
        state.open += 1;
        Ok(Hold { watch: self.clone(), is_working: false })
    }

    /// Checks now that all files are at their paths. An error is final.
    pub(crate) fn check(&self) -> Result<(), Loss> {
        self.check_files(&mut self.guard.state())
    }

    /// Like [`check`](Self::check), but returns the result of the last check if it was less than half a second ago.
    pub(crate) fn check_at_times(&self) -> Result<(), Loss> {
        if let Some(loss) = self.found.get() {
            return Err(loss.clone());
        }
        let mut state = self.guard.state();
        let checked = Duration::from_millis(self.guard.checked.load(Ordering::Relaxed));
        if STARTED.elapsed().saturating_sub(checked) < CHECK_EVERY {
            return state.lost.clone().map_or(Ok(()), Err);
        }
        self.check_files(&mut state)
    }

    /// Reads what identifies the last commit. `None` means that it cannot be read at this moment, or that the file is not
    /// open.
    pub(crate) fn last_commit(&self) -> Option<LastCommit> {
        self.wal_index().map(|index| index.last_commit())
    }

    fn wal_index(&self) -> Option<WalIndex> {
        let state = self.guard.state();
        let (Some(shm), Some(_), None) = (&state.shm, &state.files, &state.lost) else { return None };
        // If the file cannot be read, the check before the next commit finds out why.
        WalIndex::read(shm).ok().flatten()
    }

    /// Reads how far checkpoints have copied the log into the database. `None` as for [`last_commit`](Self::last_commit).
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.wal_index().map(|index| index.checkpoint())
    }

    /// The number of pages in the log that no checkpoint has moved into the database yet. `None` as for
    /// [`last_commit`](Self::last_commit).
    pub(crate) fn log_pages(&self) -> Option<u64> {
        let state = self.guard.state();
        let (Some(shm), Some(_), None) = (&state.shm, &state.files, &state.lost) else { return None };
        WalIndex::read(shm).ok().flatten().map(|index| index.pending())
    }

    /// Checks whether the file is lost, after SQLite has returned an error. The error may report damage, or SQLite may
    /// have failed because the file is gone.
    pub(crate) fn judge(&self, error: &Arc<SqliteError>) -> Result<(), Loss> {
        let mut state = self.guard.state();
        if state.lost.is_none() && error::is_damage(error) {
            state.lost = Some(Loss::damaged(&self.given, Arc::clone(error)));
        }
        self.check_files(&mut state)
    }

    /// Like [`judge`](Self::judge), but takes a [`WfeError`] that was made from an SQLite error. Returns the loss if
    /// there is one, otherwise `error`.
    pub(crate) fn judged(&self, error: WfeError) -> WfeError {
        match error::cause(&error).map_or(Ok(()), |cause| self.judge(cause)) {
            Ok(()) => error,
            Err(loss) => loss.unusable(),
        }
    }

    fn check_files(&self, state: &mut State) -> Result<(), Loss> {
        if let (None, Some(database), Some(files), Some(shm)) =
            (&state.lost, &self.guard.database, &mut state.files, &state.shm)
        {
            state.lost = files.check(database, shm, &self.given).err();
        }
        let now = STARTED.elapsed().as_millis();
        self.guard.checked.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
        match (&state.lost, self.found.get()) {
            (_, Some(loss)) => Err(loss.clone()),
            (Some(loss), None) => Err(self.found.get_or_init(|| loss.clone()).clone()),
            (None, None) => Ok(()),
        }
    }
}

/// Represents a group of open connections. The hold is dropped when these connections are closed.
pub(crate) struct Hold {
    watch: Watch,
    is_working: bool,
}

impl Hold {
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Starts the checks. The connections must be open, and one of them must have read in WAL mode.
    ///
    /// # Errors
    /// Fails if a file of the database was lost while the connections were being opened. The caller must then close the
    /// connections.
    pub(crate) fn activate(&mut self) -> Result<(), Loss> {
        let guard = &self.watch.guard;
        let mut state = guard.state();
        self.watch.check_files(&mut state)?;
        if let (None, Some(database)) = (&state.files, &guard.database) {
            let files = OpenFiles::open(database, &mut state.shm, &self.watch.given, &guard.real)?;
            state.files = Some(files);
        }
        state.working += 1;
        self.is_working = true;
        Ok(())
    }

    /// Returns another hold, for connections that were opened together with the connections of this hold.
    pub(crate) fn share(&self) -> Self {
        let mut state = self.watch.guard.state();
        state.open += 1;
        state.working += usize::from(self.is_working);
        Self { watch: self.watch.clone(), is_working: self.is_working }
    }

    /// Ends the checks. Called before the connections are closed. `false` means that the caller must leave the
    /// connections open for ever: if they were closed, SQLite could write an old log over data that other processes
    /// have stored.
    #[must_use]
    pub(crate) fn release(&mut self) -> bool {
        if !std::mem::take(&mut self.is_working) {
            return true;
        }
        let mut state = self.watch.guard.state();
        // This check also finds a loss that no earlier check has found.
        let is_lost = self.watch.check_files(&mut state).is_err();
        state.working -= 1;
        let may_close = state.working > 0 || self.watch.release_last(&state, is_lost);
        state.abandoned |= !may_close;
        if state.working == 0 {
            // The checks end here. From now on, SQLite may take other locks, and remove the log.
            state.files = None;
        }
        may_close
    }
}

impl Watch {
    /// Whether the last connection of this process may be closed.
    fn release_last(&self, state: &State, is_lost: bool) -> bool {
        let (Some(files), Some(database), Some(shm)) = (&state.files, &self.guard.database, &state.shm)
        else {
            return true;
        };
        match &state.lost {
            Some(loss) if is_lost => {
                (loss.is_of_sidecar() && files.may_write_back(database, shm, &self.given))
                    || files.keeps_log()
            }
            _ => {
                if let Err(error) = files.unlock(database, shm) {
                    logging::warn!(%error, database = %self.given.display(), "cannot release the locks of the database; its log stays beside it");
                }
                true
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A hold that is dropped without a release belongs to connections that close automatically.
        let _ = self.release();
        let mut state = self.watch.guard.state();
        state.open -= 1;
        if state.open > 0 {
            return;
        }
        if state.abandoned {
            // This process must never open the file beside the abandoned connections.
            std::mem::forget(Arc::clone(&self.watch.guard));
        } else {
            // The next provider that opens the file checks the state of the file at that time.
            state.lost = None;
        }
    }
}
