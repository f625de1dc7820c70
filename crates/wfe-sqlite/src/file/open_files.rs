//! The three files of an open database (database, write-ahead log, `-shm`): their identities, and the locks on them.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::libc;
use wfe_core::logging;

use super::{
    locks::{self, DMS, Kind, Lock, SHARED},
    loss::Loss,
    stat::{self, Found, Inode, inode},
    wal_index::{Checkpoint, WalIndex},
};
use crate::file::sidecar_names::sidecar_path;

/// The maximum number of attempts that one check makes while other processes write. On systems where the WAL index
/// cannot be read, one attempt is enough.
const ATTEMPTS: usize = if cfg!(target_os = "openbsd") { 1 } else { 8 };

/// The files of an open database, as they were when the database was opened.
#[derive(Debug)]
pub(super) struct OpenFiles {
    kind: Kind,
    database: Inode,
    /// The log and the `-shm`.
    sidecars: [(PathBuf, Inode); 2],
    /// The log. SQLite has no locks on the log, so closing this descriptor releases no lock.
    log: File,
    /// The length of the database in bytes, and its checkpoint, as they were when a check last found the database
    /// complete.
    complete: Option<(u64, Checkpoint)>,
}

impl OpenFiles {
    /// Locks the files and records their identities. Call this function after SQLite has opened all three files.
    ///
    /// `given` is the path by which the database was opened. `real` is the same path with symbolic links resolved.
    /// `shm` keeps WFE's own descriptor of the `-shm`. This descriptor must stay open as long as SQLite has that file
    /// open.
    pub(super) fn open(
        database: &File,
        shm: &mut Option<File>,
        given: &Path,
        real: &Path,
    ) -> Result<Self, Loss> {
        let [wal_path, shm_path] = ["-wal", "-shm"].map(|suffix| sidecar_path(real, suffix));
        let opened = match shm.take() {
            // The existing descriptor of this file stays open: another connection of this process may have locks on the
            // file.
            Some(opened)
                if inode_of_sidecar(&shm_path)?
                    == inode_of(&opened).map_err(|error| Loss::sidecar(&shm_path, error))? =>
            {
                opened
            }
            _ => read_only(&shm_path)?,
        };
        let shm = shm.insert(opened);
        let mut kind = Kind::best();
        let mut locked = lock(kind, database, shm);
        if kind == Kind::Description && locked.as_ref().is_err_and(locks::is_unknown) {
            kind = Kind::Posix;
            locked = lock(kind, database, shm);
        }
        locked.map_err(|error| not_locked(given, error))?;
        // Because of the locks, no process removes these files. The files at the paths are therefore the open files.
        let inodes = (inode_of_sidecar(&wal_path)?, inode_of_sidecar(&shm_path)?);
        let log = read_only(&wal_path)?;
        let sidecars = [(wal_path, inodes.0), (shm_path, inodes.1)];
        let mut files = Self { kind, database: stat_database(given)?.inode, sidecars, log, complete: None };
        files.are_open_here(database, shm, given)?;
        files.check_paths(shm, given)?;
        Ok(files)
    }

    /// Checks that SQLite has exactly these files open, and not other files that were at these paths earlier.
    fn are_open_here(&self, database: &File, shm: &File, given: &Path) -> Result<(), Loss> {
        let [(wal_path, wal_inode), (shm_path, shm_inode)] = &self.sidecars;
        if inode_of(database).map_err(|error| Loss::database(given, error))? != self.database {
            return Err(Loss::replaced(given));
        }
        if inode_of(shm).map_err(|error| Loss::sidecar(shm_path, error))? != *shm_inode {
            return Err(Loss::replaced(shm_path));
        }
        let Some(open) = descriptors() else { return Ok(()) };
        // In this process, WFE has one descriptor of each file, and SQLite has at least one more.
        let all = [(given, self.database), (wal_path, *wal_inode), (shm_path, *shm_inode)];
        for (path, inode) in all {
            if open.iter().filter(|other| **other == inode).count() < 2 {
                return Err(Loss::replaced(path));
            }
        }
        Ok(())
    }

    /// Checks that all three files are still at their paths, and complete.
    ///
    /// If the locks belong to the process (POSIX locks), the check takes them again first. There are three cases:
    ///
    /// * Another process has locks that conflict with these locks. The check fails.
    /// * A file is gone. The check fails.
    /// * No process has acted as the last one until now. A process that does so later finds all earlier commits in the
    ///   log.
    pub(super) fn check(&mut self, database: &File, shm: &File, given: &Path) -> Result<(), Loss> {
        if self.kind == Kind::Posix {
            lock(self.kind, database, shm).map_err(|error| not_locked(given, error))?;
        }
        self.check_paths(shm, given)
    }

    /// Checks that the files are at their paths, and complete. A file counts as truncated only if the WAL index has not
    /// changed during the check. If the WAL index has changed, other processes are writing, and the check starts again.
    /// If no attempt is conclusive, the decision is left to the next check.
    fn check_paths(&mut self, shm: &File, given: &Path) -> Result<(), Loss> {
        for _ in 0..ATTEMPTS {
            let index = self.wal_index(shm)?;
            let database = stat_database(given)?;
            if database.inode != self.database {
                return Err(Loss::replaced(given));
            }
            let mut lengths = [0; 2];
            for ((path, inode), length) in self.sidecars.iter().zip(&mut lengths) {
                let found = stat_sidecar(path)?;
                if found.inode != *inode {
                    return Err(Loss::replaced(path));
                }
                *length = found.length;
            }
            let Some(index) = index else { continue };
            let truncated = self.truncated(&index, shm, given, database.length, lengths[0])?;
            if truncated.is_none() || self.wal_index(shm)? == Some(index) {
                self.complete = Some((database.length, index.checkpoint()));
                return truncated.map_or(Ok(()), Err);
            }
        }
        Ok(())
    }

    fn wal_index(&self, shm: &File) -> Result<Option<WalIndex>, Loss> {
        let path = &self.sidecars[1].0;
        WalIndex::read(shm).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Loss::truncated(path),
            _ => Loss::sidecar(path, error),
        })
    }

    /// Returns a loss if the database or the log was truncated. `database` and `log` are the lengths of these two files
    /// in bytes.
    fn truncated(
        &self,
        index: &WalIndex,
        shm: &File,
        given: &Path,
        database: u64,
        log: u64,
    ) -> Result<Option<Loss>, Loss> {
        let [(wal_path, _), (shm_path, _)] = &self.sidecars;
        if index.is_log_truncated(&self.log, log).map_err(|error| Loss::sidecar(wal_path, error))? {
            return Ok(Some(Loss::truncated(wal_path)));
        }
        let before = self.complete.map(|(length, _)| length);
        // If there was no checkpoint since, a database that was complete and has not become shorter is still complete.
        if self.complete.is_some_and(|(length, at)| length <= database && at == index.checkpoint()) {
            return Ok(None);
        }
        let is_truncated = index.is_database_truncated(shm, database, before);
        let is_truncated = is_truncated.map_err(|error| Loss::sidecar(shm_path, error))?;
        Ok(is_truncated.then(|| Loss::truncated(given)))
    }

    /// Releases WFE's own locks before the last connection of this process is closed, so that SQLite may checkpoint the
    /// log into the database. SQLite needs its own locks for the checkpoint. The program may have released these locks,
    /// so this function takes them again first.
    ///
    /// # Errors
    /// If the call fails, the locks stay, and SQLite does not checkpoint the log. No data is lost.
    pub(super) fn unlock(&self, database: &File, shm: &File) -> io::Result<()> {
        lock(Kind::Posix, database, shm)?;
        if self.kind == Kind::Description {
            self.kind.set(database, SHARED, Lock::None)?;
            self.kind.set(shm, DMS, Lock::None)?;
        }
        Ok(())
    }

    /// Decides, after a loss, whether SQLite may write to the database when this process closes its last connection.
    /// SQLite would then write back commits that only this process still has.
    ///
    /// The close may write if the log or the `-shm` was removed and no process has recreated the file since. A process
    /// that opened the database since the removal would have recreated it. `false` means that the close must not write,
    /// because it would overwrite data that other processes have stored since, and would remove their log.
    pub(super) fn may_write_back(&self, database: &File, shm: &File, given: &Path) -> bool {
        if !self.is_in_place(given) || self.unlock(database, shm).is_err() {
            return false;
        }
        // SQLite takes the same lock when it closes the database. While this process has the lock, no other process can
        // open the database.
        if Kind::Posix.set(database, SHARED, Lock::Write).is_ok() && self.is_in_place(given) {
            return true;
        }
        // Another process has the database open. This process takes its locks again, so that neither the other process
        // nor SQLite in this process acts as the last one. Taking the locks cannot fail while the other process has
        // read locks. If it fails nevertheless, the database is still closed without writing.
        let again =
            Kind::Posix.set(database, SHARED, Lock::Read).and_then(|()| lock(self.kind, database, shm));
        if let Err(error) = again {
            logging::warn!(%error, database = %given.display(), "cannot lock a lost database again");
        }
        false
    }

    /// Whether the locks also prevent SQLite in this process from checkpointing the log when it closes the database.
    pub(super) fn keeps_log(&self) -> bool {
        self.kind == Kind::Description
    }

    /// Whether the database is at its path, and the log and the `-shm` are at their paths or missing.
    fn is_in_place(&self, given: &Path) -> bool {
        let is_missing = |path: &Path| {
            fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        stat_database(given).is_ok_and(|found| found.inode == self.database)
            && self.sidecars.iter().all(|(path, inode)| {
                inode_of_sidecar(path).is_ok_and(|found| found == *inode) || is_missing(path)
            })
    }
}

fn lock(kind: Kind, database: &File, shm: &File) -> io::Result<()> {
    kind.set(database, SHARED, Lock::Read)?;
    kind.set(shm, DMS, Lock::Read)
}

fn not_locked(given: &Path, error: io::Error) -> Loss {
    if locks::is_taken(&error) { Loss::locked_by_other(given) } else { Loss::not_locked(given, error) }
}

fn inode_of(file: &File) -> io::Result<Inode> {
    file.metadata().map(|found| inode(&found))
}

/// Finds the file at the path of the database. A symbolic link at this path is followed. An empty file counts as
/// truncated, because a database has at least one page.
fn stat_database(path: &Path) -> Result<Found, Loss> {
    match stat::followed(path).map_err(|error| Loss::database(path, error))? {
        Found { length: 0, .. } => Err(Loss::truncated(path)),
        found => Ok(found),
    }
}

/// Finds the file at the path of the log or the `-shm`. A symbolic link at this path is not followed.
fn stat_sidecar(path: &Path) -> Result<Found, Loss> {
    stat::unfollowed(path).map_err(|error| Loss::sidecar(path, error))
}

fn inode_of_sidecar(path: &Path) -> Result<Inode, Loss> {
    stat_sidecar(path).map(|found| found.inode)
}

/// Opens the log or the `-shm` for reading. A symbolic link at this path is not followed.
///
/// Where the system allows it, reading the file does not change its time of last access. If each reading changed that
/// time, the first check after each commit would change the inode of the log, and the next fsync of the log would have
/// to write this inode as well.
fn read_only(path: &Path) -> Result<File, Loss> {
    let open = |flags| OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | flags).open(path);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let opened = open(libc::O_NOATIME).or_else(|error| match error.kind() {
        // The file belongs to another user, but the user of this process may write to it.
        io::ErrorKind::PermissionDenied => open(0),
        _ => Err(error),
    });
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let opened = open(0);
    opened.map_err(|error| Loss::sidecar(path, error))
}

/// The files that this process has open. `None` means that the system does not list open files. The call takes some
/// microseconds for each descriptor.
fn descriptors() -> Option<Vec<Inode>> {
    let all = fs::read_dir("/proc/self/fd").ok()?;
    // A descriptor that was closed meanwhile is left out.
    Some(
        all.flatten()
            .filter_map(|entry| fs::metadata(entry.path()).ok())
            .map(|found| inode(&found))
            .collect(),
    )
}

/// Closes each of these descriptors, unless another part of this process has the same file open. The other part, for
/// example a connection of the program, may have locks on the file, and closing the descriptor here would release those
/// locks. A descriptor that is not closed here stays open until the process ends.
pub(super) fn close(files: impl Iterator<Item = File>) {
    let open = descriptors().unwrap_or_default();
    for file in files {
        let is_in_use =
            inode_of(&file).is_ok_and(|own| open.iter().filter(|other| **other == own).count() > 1);
        if is_in_use {
            std::mem::forget(file);
        }
    }
}
