//! Guards the files of an open database: keeps its log from being removed, and finds out when a file was removed all the
//! same.
//!
//! * *Prevention*, on Linux: locks of the open file description, in addition to SQLite's own (see
//!   [`locks`](super::locks)). They keep every SQLite, also that of this process, from acting as the last one. They are
//!   released before the last connection closes.
//! * *Detection*: the guard compares device and inode of the database, its log and its `-shm`, and checks that database and
//!   log are complete (see [`wal_index`](super::wal_index)). It does so before each batch and after its COMMIT, and from
//!   time to time for readers and idle hosts. Where locks of the open file description are missing, it first takes SQLite's
//!   own locks again.
//! * *After a loss* every call returns the loss as an error. No connection is opened beside the open ones: it would share
//!   the old `-shm`, but have another log. The connection that closes last writes nothing, unless no other process can have
//!   opened the database since.
//!
//! A file that is removed after a check is found by the next check. A file that is overwritten in place keeps its inode
//! and its length: it is found when SQLite reports that it is damaged.
#![cfg_attr(not(unix), allow(dead_code, reason = "there, a file that is open can only be damaged"))]

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
#[cfg(unix)]
use super::open_files::{self, OpenFiles};
use crate::error;

/// Readers and idle hosts check at most this often. They find a loss within a second, even if one check comes late.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// The guard of one database file that this process has open. All providers of the file share it.
pub(crate) struct Guard {
    /// Closed only after SQLite's last descriptor of the file: closing it earlier would release SQLite's locks. `None` once
    /// it is closed.
    database: Option<File>,
    /// The path with links followed: log and `-shm` lie beside that file.
    real: PathBuf,
    state: Mutex<State>,
    /// When the files were last checked, in milliseconds since [`STARTED`].
    checked: AtomicU64,
}

#[derive(Default)]
struct State {
    /// How many groups of connections are open, or about to be.
    open: usize,
    /// How many of them are active: opened, and not yet released.
    working: usize,
    lost: Option<Loss>,
    /// Connections were left open for ever: this process must not open others beside them.
    abandoned: bool,
    #[cfg(unix)]
    files: Option<OpenFiles>,
    /// This process's own descriptor of the `-shm`, for its lock.
    #[cfg(unix)]
    shm: Option<File>,
}

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Guard {
    /// The guard of an open database file. SQLite has not opened the file yet, or only through this guard.
    pub(crate) fn new(database: File, real: PathBuf) -> Self {
        Self { database: Some(database), real, state: Mutex::default(), checked: AtomicU64::new(0) }
    }

    /// The path of the database, links followed.
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
        #[cfg(unix)]
        {
            let shm = self.state().shm.take();
            open_files::close([self.database.take(), shm].into_iter().flatten());
        }
    }
}

/// The guard of a database file, together with the path by which one provider opened it.
#[derive(Clone)]
pub(crate) struct Watch {
    guard: Arc<Guard>,
    given: Arc<Path>,
    /// The loss that was found first. It stays when all connections are closed, while the guard forgets it for the next
    /// provider that opens the file.
    found: Arc<OnceLock<Loss>>,
}

impl Watch {
    pub(crate) fn new(guard: Arc<Guard>, given: &Path) -> Self {
        Self { guard, given: given.into(), found: Arc::default() }
    }

    /// The path of the database, links followed.
    pub(crate) fn real(&self) -> &Path {
        self.guard.real()
    }

    /// Announces that connections will be opened.
    ///
    /// # Errors
    /// The file was lost, and this process has not closed all of its connections yet.
    pub(crate) fn enter(&self) -> Result<Hold, Loss> {
        let mut state = self.guard.state();
        self.check_files(&mut state)?;
        state.open += 1;
        Ok(Hold { watch: self.clone(), is_working: false })
    }

    /// Checks that all files are at their paths, now. An error is final.
    pub(crate) fn check(&self) -> Result<(), Loss> {
        self.check_files(&mut self.guard.state())
    }

    /// As [`check`](Self::check), but does nothing if the last check was less than half a second ago.
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

    /// Whether the file is lost, after this error of SQLite: SQLite reports damage, or it failed because the file is gone.
    pub(crate) fn judge(&self, error: &Arc<sqlx::Error>) -> Result<(), Loss> {
        let mut state = self.guard.state();
        if state.lost.is_none() && error::is_damage(error) {
            state.lost = Some(Loss::damaged(&self.given, Arc::clone(error)));
        }
        self.check_files(&mut state)
    }

    /// As [`judge`](Self::judge), for an error that was made from SQLite's: returns the loss, or else the error itself.
    pub(crate) fn judged(&self, error: WfeError) -> WfeError {
        match error::cause(&error).map_or(Ok(()), |cause| self.judge(cause)) {
            Ok(()) => error,
            Err(loss) => loss.unusable(),
        }
    }

    fn check_files(&self, state: &mut State) -> Result<(), Loss> {
        #[cfg(unix)]
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

/// Stands for a group of open connections; dropped when they are closed.
pub(crate) struct Hold {
    watch: Watch,
    is_working: bool,
}

impl Hold {
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Starts the checks. The connections are open, and one of them has read in WAL mode.
    ///
    /// # Errors
    /// A file was removed meanwhile. Close the connections then.
    pub(crate) fn activate(&mut self) -> Result<(), Loss> {
        let guard = &self.watch.guard;
        let mut state = guard.state();
        self.watch.check_files(&mut state)?;
        #[cfg(unix)]
        if let (None, Some(database)) = (&state.files, &guard.database) {
            let files = OpenFiles::open(database, &mut state.shm, &self.watch.given, &guard.real)?;
            state.files = Some(files);
        }
        state.working += 1;
        self.is_working = true;
        Ok(())
    }

    /// Another hold, for connections that were opened together with those of this one.
    pub(crate) fn share(&self) -> Self {
        let mut state = self.watch.guard.state();
        state.open += 1;
        state.working += usize::from(self.is_working);
        Self { watch: self.watch.clone(), is_working: self.is_working }
    }

    /// Ends the checks, since the connections are about to be closed. `false`: leave the connections open for ever, since
    /// nothing else would keep SQLite from writing an old log over what other processes have stored.
    #[must_use]
    pub(crate) fn release(&mut self) -> bool {
        if !std::mem::take(&mut self.is_working) {
            return true;
        }
        let mut state = self.watch.guard.state();
        // This finds also a loss that no check has found yet.
        let is_lost = self.watch.check_files(&mut state).is_err();
        state.working -= 1;
        let may_close = state.working > 0 || self.watch.release_last(&state, is_lost);
        state.abandoned |= !may_close;
        #[cfg(unix)]
        if state.working == 0 {
            // The checks end: SQLite may have other locks from now on, and remove the log.
            state.files = None;
        }
        may_close
    }
}

impl Watch {
    /// Whether the last connection here may be closed.
    #[cfg(unix)]
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

    /// Outside Unix an open file cannot be removed.
    #[cfg(not(unix))]
    fn release_last(&self, _: &State, _: bool) -> bool {
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A hold that is dropped without a release belongs to connections that close by themselves.
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
            // The next provider that opens the file sees its state at that time.
            state.lost = None;
        }
    }
}
