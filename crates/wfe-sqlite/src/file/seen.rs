//! The three files of an open database as they were when it was opened: which they are, and locked.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::libc;
use wfe_core::logging;

use super::{
    index::{Checkpoint, Index},
    locks::{self, DMS, Kind, Lock, SHARED},
    loss::Loss,
    stat::{self, Found, Number, number},
};
use crate::file::companions::beside;

/// How often a look begins anew where others write meanwhile. Where the index cannot be read, there is nothing to wait for.
const ATTEMPTS: usize = if cfg!(target_os = "openbsd") { 1 } else { 8 };

/// What lies at the three paths, open and locked.
#[derive(Debug)]
pub(super) struct Seen {
    kind: Kind,
    database: Number,
    companions: [(PathBuf, Number); 2],
    /// The log. SQLite has no locks on it, so that closing it takes none away.
    log: File,
    /// When the database was last found whole: its length, in bytes, and the checkpoint at that time.
    whole: Option<(u64, Checkpoint)>,
}

impl Seen {
    /// Locks the files and takes down which they are. To be called when SQLite has opened all three. `given` is the path
    /// by which the database was opened, `real` the same with links followed; `index` keeps this process's descriptor of
    /// the `-shm`, which must not be closed while SQLite has that file open.
    pub(super) fn take(
        database: &File,
        index: &mut Option<File>,
        given: &Path,
        real: &Path,
    ) -> Result<Self, Loss> {
        let [wal, shm] = ["-wal", "-shm"].map(|suffix| beside(real, suffix));
        let open = match index.take() {
            // One that is still in its place is not closed: somebody here may have locks on it.
            Some(open)
                if of_companion(&shm)? == of(&open).map_err(|error| Loss::companion(&shm, error))? =>
            {
                open
            }
            _ => read_only(&shm)?,
        };
        let index = index.insert(open);
        let mut kind = Kind::best();
        let mut locked = lock(kind, database, index);
        if kind == Kind::Description && locked.as_ref().is_err_and(locks::is_unknown) {
            kind = Kind::Posix;
            locked = lock(kind, database, index);
        }
        locked.map_err(|error| not_locked(given, error))?;
        // Nobody removes anything now: what lies there is what is open.
        let numbers = (of_companion(&wal)?, of_companion(&shm)?);
        let log = read_only(&wal)?;
        let companions = [(wal, numbers.0), (shm, numbers.1)];
        let mut seen = Self { kind, database: of_database(given)?.number, companions, log, whole: None };
        seen.is_open_here(database, index, given)?;
        seen.places(index, given)?;
        Ok(seen)
    }

    /// Whether SQLite, too, has these files open, and no others that were at the paths before.
    fn is_open_here(&self, database: &File, index: &File, given: &Path) -> Result<(), Loss> {
        let [wal, shm] = &self.companions;
        if of(database).map_err(|error| Loss::database(given, error))? != self.database {
            return Err(Loss::replaced(given));
        }
        if of(index).map_err(|error| Loss::companion(&shm.0, error))? != shm.1 {
            return Err(Loss::replaced(&shm.0));
        }
        let Some(open) = descriptors() else { return Ok(()) };
        // One of SQLite's, beside ours.
        for (path, number, at_least) in [(given, self.database, 2), (&wal.0, wal.1, 2), (&shm.0, shm.1, 2)] {
            if open.iter().filter(|other| **other == number).count() < at_least {
                return Err(Loss::replaced(path));
            }
        }
        Ok(())
    }

    /// Whether all three are in their places, as they were. Where the locks are the process's, they are taken again first:
    /// either that is refused; or a file is gone; or nobody has taken himself for the last one until now, and one who does
    /// so later finds in the log what was committed before.
    pub(super) fn look(&mut self, database: &File, index: &File, given: &Path) -> Result<(), Loss> {
        if self.kind == Kind::Posix {
            lock(self.kind, database, index).map_err(|error| not_locked(given, error))?;
        }
        self.places(index, given)
    }

    /// Whether the files are in their places, and whole. What the index says of them holds if it still says so afterwards;
    /// otherwise others write, and the look is made again, or left to the next one.
    fn places(&mut self, shm: &File, given: &Path) -> Result<(), Loss> {
        for _ in 0..ATTEMPTS {
            let index = self.index(shm)?;
            let database = of_database(given)?;
            if database.number != self.database {
                return Err(Loss::replaced(given));
            }
            let mut lengths = [0; 2];
            for ((path, number), length) in self.companions.iter().zip(&mut lengths) {
                let found = found_companion(path)?;
                if found.number != *number {
                    return Err(Loss::replaced(path));
                }
                *length = found.length;
            }
            let Some(index) = index else { continue };
            let cut = self.cut(&index, shm, given, database.length, lengths[0])?;
            if cut.is_none() || self.index(shm)? == Some(index) {
                self.whole = Some((database.length, index.checkpoint()));
                return cut.map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    fn index(&self, shm: &File) -> Result<Option<Index>, Loss> {
        let path = &self.companions[1].0;
        Index::read(shm).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Loss::truncated(path),
            _ => Loss::companion(path, error),
        })
    }

    /// Which of database and log, of these lengths in bytes, lacks something.
    fn cut(
        &self,
        index: &Index,
        shm: &File,
        given: &Path,
        database: u64,
        log: u64,
    ) -> Result<Option<Loss>, Loss> {
        let [(wal_path, _), (shm_path, _)] = &self.companions;
        if index.is_log_cut(&self.log, log).map_err(|error| Loss::companion(wal_path, error))? {
            return Ok(Some(Loss::truncated(wal_path)));
        }
        let before = self.whole.map(|(length, _)| length);
        // Without a checkpoint, what was whole and has not become shorter is whole.
        if self.whole.is_some_and(|(length, at)| length <= database && at == index.checkpoint()) {
            return Ok(None);
        }
        let is_cut = index.is_database_cut(shm, database, before);
        Ok(is_cut.map_err(|error| Loss::companion(shm_path, error))?.then(|| Loss::truncated(given)))
    }

    /// Before the last connection here is closed, which may bring the log back into the database. SQLite has its own locks
    /// for that; the program may have lost them, so they are taken again before ours are given back.
    ///
    /// # Errors
    /// The locks stay: the log is not brought back, which harms nobody.
    pub(super) fn give_back(&self, database: &File, index: &File) -> io::Result<()> {
        lock(Kind::Posix, database, index)?;
        if self.kind == Kind::Description {
            self.kind.set(database, SHARED, Lock::None)?;
            self.kind.set(index, DMS, Lock::None)?;
        }
        Ok(())
    }

    /// After a loss, and before the last connection here is closed: whether closing it may write back what this process
    /// still has. So it is where the log or the `-shm` was removed, and nobody has made another: whoever came since would
    /// have. `false`: it must not write, for it would write over what others have stored since, and remove their log.
    pub(super) fn heal(&self, database: &File, index: &File, given: &Path) -> bool {
        if !self.is_whole(given) || self.give_back(database, index).is_err() {
            return false;
        }
        // As SQLite will, in this process: nobody else can come from now on.
        if Kind::Posix.set(database, SHARED, Lock::Write).is_ok() && self.is_whole(given) {
            return true;
        }
        // Somebody else is there. With our locks again neither he nor SQLite here is the last one; that cannot fail while
        // he has read locks, and the database is closed without writing all the same.
        let again =
            Kind::Posix.set(database, SHARED, Lock::Read).and_then(|()| lock(self.kind, database, index));
        if let Err(error) = again {
            logging::warn!(%error, database = %given.display(), "the locks of a lost database could not be taken again");
        }
        false
    }

    /// Whether the locks keep SQLite in this process, too, from bringing the log back when it closes.
    pub(super) fn keeps_log(&self) -> bool {
        self.kind == Kind::Description
    }

    /// Whether the database is in its place, and the log and the `-shm` are so, too, or nowhere.
    fn is_whole(&self, given: &Path) -> bool {
        let is_missing = |path: &Path| {
            fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        of_database(given).is_ok_and(|found| found.number == self.database)
            && self.companions.iter().all(|(path, number)| {
                of_companion(path).is_ok_and(|found| found == *number) || is_missing(path)
            })
    }
}

fn lock(kind: Kind, database: &File, index: &File) -> io::Result<()> {
    kind.set(database, SHARED, Lock::Read)?;
    kind.set(index, DMS, Lock::Read)
}

fn not_locked(given: &Path, error: io::Error) -> Loss {
    if locks::is_taken(&error) { Loss::taken(given) } else { Loss::not_locked(given, error) }
}

fn of(file: &File) -> io::Result<Number> {
    file.metadata().map(|found| number(&found))
}

/// What lies at the path of the database, which may be a link. An empty file is none: a database has a page at least.
fn of_database(path: &Path) -> Result<Found, Loss> {
    match stat::followed(path).map_err(|error| Loss::database(path, error))? {
        Found { length: 0, .. } => Err(Loss::truncated(path)),
        found => Ok(found),
    }
}

/// What lies at the path of the log or the `-shm`, which is no link.
fn found_companion(path: &Path) -> Result<Found, Loss> {
    stat::unfollowed(path).map_err(|error| Loss::companion(path, error))
}

fn of_companion(path: &Path) -> Result<Number, Loss> {
    found_companion(path).map(|found| found.number)
}

/// The log or the `-shm`, which is no link. Reading leaves the time of the last access alone where the system allows that:
/// otherwise the first look after each commit changes the inode of the log, and the next fsync of the log writes it.
fn read_only(path: &Path) -> Result<File, Loss> {
    let open = |flags| OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | flags).open(path);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let opened = open(libc::O_NOATIME).or_else(|error| match error.kind() {
        // The file is another user's, who lets this one write to it.
        io::ErrorKind::PermissionDenied => open(0),
        _ => Err(error),
    });
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let opened = open(0);
    opened.map_err(|error| Loss::companion(path, error))
}

/// What this process has open; `None`: the system does not tell. It takes some microseconds for each descriptor.
fn descriptors() -> Option<Vec<Number>> {
    let all = fs::read_dir("/proc/self/fd").ok()?;
    // One that was closed meanwhile is not open.
    Some(
        all.flatten()
            .filter_map(|entry| fs::metadata(entry.path()).ok())
            .map(|found| number(&found))
            .collect(),
    )
}

/// Closes descriptors of files on which nobody else in this process has locks. Where somebody has (a connection of the
/// program's own, say), closing ours would take these away: then they stay open to the end of the process.
pub(super) fn close(files: impl Iterator<Item = File>) {
    let open = descriptors().unwrap_or_default();
    for file in files {
        let is_in_use = of(&file).is_ok_and(|own| open.iter().filter(|other| **other == own).count() > 1);
        if is_in_use {
            std::mem::forget(file);
        }
    }
}
