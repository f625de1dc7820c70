//! Keeps the log of an open database from being taken away, and finds out when one of its files was taken away all the
//! same.
//!
//! * *Prevented*, on Linux: locks of an open file description, beside SQLite's own (see [`locks`](super::locks)). They
//!   stop SQLite in this process, too, from being the last one: they are given back before the last connection closes.
//! * *Found*: device and inode of the database, its log and its `-shm`, and whether database and log are as long as they
//!   must be (see [`index`](super::index)), before each batch and after its COMMIT, and at times by whoever reads or only
//!   listens. Where there are no such locks, SQLite's are taken again before.
//! * *After a loss* everybody who asks gets it as an error, nothing is opened beside what is open (it would share the old
//!   `-shm` and have another log), and what closes last writes nothing, unless nobody else can have come meanwhile.
//!
//! What is taken away after a look is found by the next one. Files that are overwritten in place keep their inode and
//! their length: they are found when SQLite says that they are damaged.
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

/// Who does not write looks so often at most: a loss is found within a second also where his look comes late.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// One for each database file that this process has open, shared by its providers.
pub(crate) struct Guard {
    /// Not closed before SQLite's last descriptor of it: that would take away SQLite's locks. `None` once it is closed.
    database: Option<File>,
    /// Its path, links followed: its log and its `-shm` lie beside that.
    real: PathBuf,
    state: Mutex<State>,
    /// When somebody checked last, in milliseconds since [`STARTED`].
    checked: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Those who have connections open, or are about to.
    open: usize,
    /// Those of them who have begun and not left yet.
    working: usize,
    lost: Option<Loss>,
    /// Connections were left open for good: nothing must be opened beside them in this process.
    abandoned: bool,
    #[cfg(unix)]
    files: Option<OpenFiles>,
    /// This process's own descriptor of the `-shm`, for its lock.
    #[cfg(unix)]
    shm: Option<File>,
}

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Guard {
    /// Of an open database file that SQLite has not opened yet, or only through this guard.
    pub(crate) fn new(database: File, real: PathBuf) -> Self {
        Self { database: Some(database), real, state: Mutex::default(), checked: AtomicU64::new(0) }
    }

    /// Its path, links followed.
    pub(crate) fn real(&self) -> &Path {
        &self.real
    }

    /// Whether this process has connections open on it.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.state();
        state.open > 0 || state.abandoned
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic half-way through a change.
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

/// A database file by the path that led to it: what can be asked of its guard.
#[derive(Clone)]
pub(crate) struct Watch {
    guard: Arc<Guard>,
    given: Arc<Path>,
    /// What was found first. It stays when all is closed: the guard forgets it then, for whoever opens the file anew.
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

    /// Before connections are opened.
    ///
    /// # Errors
    /// The file was lost, and what this process had open of it is not closed yet.
    pub(crate) fn enter(&self) -> Result<Hold, Loss> {
        let mut state = self.guard.state();
        self.check_files(&mut state)?;
        state.open += 1;
        Ok(Hold { watch: self.clone(), is_working: false })
    }

    /// Whether all is in its place, now. An error is final.
    pub(crate) fn check(&self) -> Result<(), Loss> {
        self.check_files(&mut self.guard.state())
    }

    /// As [`check`](Self::check), but it looks only if nobody has done so for half a second.
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

    /// Whether the file is lost after an error of SQLite's: it says so itself, or it failed because the file is gone.
    pub(crate) fn judge(&self, error: &Arc<sqlx::Error>) -> Result<(), Loss> {
        let mut state = self.guard.state();
        if state.lost.is_none() && error::is_damage(error) {
            state.lost = Some(Loss::damaged(&self.given, Arc::clone(error)));
        }
        self.check_files(&mut state)
    }

    /// As [`judge`](Self::judge), of an error that was made from SQLite's: itself, or what is said instead of it.
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

/// That somebody has connections open; dropped when they are closed.
pub(crate) struct Hold {
    watch: Watch,
    is_working: bool,
}

impl Hold {
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The connections are open, and one of them has read in WAL mode.
    ///
    /// # Errors
    /// A file was taken away meanwhile. Close the connections then.
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

    /// One more, for connections that were opened together with those of this one.
    pub(crate) fn share(&self) -> Self {
        let mut state = self.watch.guard.state();
        state.open += 1;
        state.working += usize::from(self.is_working);
        Self { watch: self.watch.clone(), is_working: self.is_working }
    }

    /// The connections are about to be closed. `false`: leave them open for good, since nothing else would keep SQLite from
    /// writing an old log over what others have stored.
    #[must_use]
    pub(crate) fn release(&mut self) -> bool {
        if !std::mem::take(&mut self.is_working) {
            return true;
        }
        let mut state = self.watch.guard.state();
        // Also what nobody has found yet.
        let is_lost = self.watch.check_files(&mut state).is_err();
        state.working -= 1;
        let may_close = state.working > 0 || self.watch.release_last(&state, is_lost);
        state.abandoned |= !may_close;
        #[cfg(unix)]
        if state.working == 0 {
            // Not checked at any more: SQLite may have other locks now, and remove the log.
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
                    logging::warn!(%error, database = %self.given.display(), "the log stays beside the database");
                }
                true
            }
        }
    }

    /// Elsewhere nobody can take a file away that is open.
    #[cfg(not(unix))]
    fn release_last(&self, _: &State, _: bool) -> bool {
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Whoever drops it without leaving has connections that close by themselves.
        let _ = self.release();
        let mut state = self.watch.guard.state();
        state.open -= 1;
        if state.open > 0 {
            return;
        }
        if state.abandoned {
            // Nobody must ever open it beside what was abandoned.
            std::mem::forget(Arc::clone(&self.watch.guard));
        } else {
            // Whoever opens it next sees what there is then.
            state.lost = None;
        }
    }
}
