//! The lock files of owners, `<database>-owner-<id>`: how an owner of a file shows that it is alive.
//!
//! An owner holds an exclusive lock on its file as long as it is alive. The operating system releases the lock at the
//! moment the process dies, so nothing has to be written for that. An owner that is dropped removes its file. So an
//! unlocked file belongs to an owner whose process died; the process that has counted that death removes it. The file holds
//! the owner's lease and its heartbeats, by which a frozen owner is found (see
//! [`freeze_detector`](super::freeze_detector)).
//!
//! A program that cleans folders, or an operator, can remove the file of a living owner. Other processes then take the
//! owner for dead. So its own provider checks the file, every 50 ms while a host listens and at each claim, and puts it
//! back. A process that finds no file checks once more a little later ([`SECOND_CHECK`]), so the work of the owner goes on
//! undisturbed.
//!
//! The owner counts as lost for all later claims all the same. Another process may already have decided that it is dead,
//! and would release everything that the owner has by the time this decision is carried out. A new owner is not affected.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    thread,
    time::{Duration, Instant},
};

use wfe_core::{Result, WfeError, logging, sync::lock};

use crate::{
    file::{
        sidecar_names::OWNER_LOCK,
        sidecars::{self, Sidecars, is_refusal},
    },
    processes::freeze_detector::Sign,
};

/// How long to wait for another process that holds the lock on an owner's file.
const HANDOVER: Duration = Duration::from_millis(200);
/// How much later a process checks again for the missing file of an owner: three of the checks that put it back.
pub(crate) const SECOND_CHECK: Duration = Duration::from_millis(150);

/// What an owner's file says of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// A process holds the lock.
    Alive,
    /// No process holds the lock: the owner's process died.
    Dead,
    /// The file is missing, or no owner has written it: how its owner ended, if it did, is unknown.
    Missing,
    /// In memory, where there are no files: the owner was dropped.
    Left,
}

/// The lock files of the owners of one database, as one provider sees them.
pub(crate) struct OwnerFiles {
    sidecars: Sidecars,
    /// What the names of the files begin with.
    prefix: PathBuf,
    /// The files that this provider holds.
    held: Mutex<HashMap<u64, Weak<OwnerFile>>>,
    /// Other owners whose files could not be read, which was reported.
    unreadable: Mutex<HashSet<u64>>,
}

/// The lock file of an owner, held until it is dropped.
pub(crate) struct OwnerFile {
    id: u64,
    path: PathBuf,
    sidecars: Sidecars,
    held: Mutex<Held>,
}

struct Held {
    file: File,
    sign: Sign,
    /// The file was found missing, now or before.
    is_lost: bool,
    /// Why the file could not be put back.
    not_put_back: Option<String>,
}

impl OwnerFiles {
    pub(crate) fn new(sidecars: Sidecars) -> Self {
        let prefix = sidecars.path(OWNER_LOCK);
        Self { sidecars, prefix, held: Mutex::default(), unreadable: Mutex::default() }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.sidecars.path(&format!("{OWNER_LOCK}{id}"))
    }

    /// Creates the file of a new owner.
    pub(crate) fn make(&self, id: u64, lease: Duration) -> Result<Arc<OwnerFile>> {
        let path = self.path(id);
        let sign = Sign { lease, beat: 0 };
        let file = take(&self.sidecars, &path, sign)?;
        let held = Mutex::new(Held { file, sign, is_lost: false, not_put_back: None });
        let made = Arc::new(OwnerFile { id, path, sidecars: self.sidecars.clone(), held });
        let mut all = lock(&self.held);
        all.retain(|_, other| other.strong_count() > 0);
        all.insert(id, Arc::downgrade(&made));
        Ok(made)
    }

    fn held(&self, id: u64) -> Option<Arc<OwnerFile>> {
        lock(&self.held).get(&id)?.upgrade()
    }

    /// Checks the file of an owner. One that another provider holds is that provider's concern.
    pub(crate) fn check_lock_file(&self, id: u64) -> Result<()> {
        self.held(id).map_or(Ok(()), |file| file.check_lock_file())
    }

    /// Checks all files that this provider holds.
    pub(crate) fn check_lock_files(&self) {
        let all: Vec<_> = lock(&self.held).values().filter_map(Weak::upgrade).collect();
        for file in all {
            // The loss was reported, and the next claim of the owner returns it.
            let _ = file.check_lock_file();
        }
    }

    /// Whether an owner is alive. If that cannot be found out, the owner keeps its instances, and other work goes on.
    pub(crate) fn liveness(&self, id: u64) -> Liveness {
        liveness(&self.sidecars, &self.path(id)).unwrap_or_else(|error| {
            self.report_unreadable(id, &error);
            Liveness::Alive
        })
    }

    fn report_unreadable(&self, id: u64, error: &WfeError) {
        if lock(&self.unreadable).insert(id) {
            logging::error!(owner = id, %error, "cannot find out whether this owner is alive; it keeps its instances");
        }
    }

    /// Writes one more heartbeat of an owner.
    pub(crate) fn heartbeat(&self, id: u64, lease: Duration) -> Result<()> {
        if let Some(file) = self.held(id) {
            return file.heartbeat();
        }
        let path = self.path(id);
        let file = self.sidecars.open(&path).map_err(|error| failed("open", &path, error))?;
        // Only the owner writes its file. One that is incomplete says nothing that still counts.
        let sign = read_sign(&file, &path)?.unwrap_or(Sign { lease, beat: 0 });
        write_sign(&file, &path, Sign { beat: sign.beat.wrapping_add(1), ..sign })
    }

    /// The sign of life of an owner; `None`: it is dead, or has just registered, or reading failed.
    pub(crate) fn sign(&self, id: u64) -> Option<Sign> {
        let path = self.path(id);
        let sign = match self.sidecars.open(&path) {
            Ok(file) => read_sign(&file, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_refusal(&error) => Ok(None),
            Err(error) => Err(failed("open", &path, error)),
        };
        sign.unwrap_or_else(|error| {
            self.report_unreadable(id, &error);
            None
        })
    }

    /// The owners whose processes died, even those that owned nothing.
    pub(crate) fn dead(&self) -> Result<Vec<u64>> {
        let (Some(folder), Some(name)) = (self.prefix.parent(), self.prefix.file_name()) else {
            return Ok(Vec::new());
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let (name, mut dead) = (name.as_encoded_bytes(), Vec::new());
        let listed = |error| failed("list the folder of", &self.prefix, error);
        for entry in fs::read_dir(folder).map_err(listed)? {
            let entry = entry.map_err(listed)?;
            let found = entry.file_name();
            let id = found.as_encoded_bytes().strip_prefix(name).map(String::from_utf8_lossy);
            let Some(id) = id.and_then(|id| id.parse::<u64>().ok().filter(|number| number.to_string() == id))
            else {
                continue;
            };
            match unlocked(&self.sidecars, &entry.path()) {
                Ok(Unlocked::Yes(_)) => dead.push(id),
                Ok(Unlocked::No | Unlocked::Missing) => {}
                // It must not keep a host from starting.
                Err(error) => {
                    logging::warn!(%error, "cannot check what may be the lock file of a dead owner; it stays where it is");
                }
            }
        }
        Ok(dead)
    }

    /// Removes the lock file of an owner whose process died.
    pub(crate) fn remove_lock_file(&self, id: u64) {
        if let Err(error) = remove_unlocked(&self.sidecars, &self.path(id)) {
            logging::warn!(owner = id, %error, "cannot remove the lock file of a dead owner");
        }
    }
}

impl OwnerFile {
    /// Checks that other processes still find this file. If not, the file is put back, and the owner is lost all the same.
    fn check_lock_file(&self) -> Result<()> {
        let held = self.checked_file()?;
        if held.is_lost { Err(self.lost(&held)) } else { Ok(()) }
    }

    fn heartbeat(&self) -> Result<()> {
        let mut held = self.checked_file()?;
        held.sign.beat = held.sign.beat.wrapping_add(1);
        write_sign(&held.file, &self.path, held.sign)?;
        // A file that was put back shows that the owner still owns what it runs.
        if held.not_put_back.is_some() { Err(self.lost(&held)) } else { Ok(()) }
    }

    fn checked_file(&self) -> Result<std::sync::MutexGuard<'_, Held>> {
        let mut held = lock(&self.held);
        if sidecars::is_same(&held.file, &self.path).map_err(|error| failed("check", &self.path, error))? {
            return Ok(held);
        }
        held.not_put_back = match take(&self.sidecars, &self.path, held.sign) {
            Ok(file) => {
                held.file = file;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if !std::mem::replace(&mut held.is_lost, true) {
            logging::error!(
                owner = self.id,
                file = %self.path.display(),
                not_put_back = held.not_put_back,
                "the lock file of this host was removed or replaced; other processes may take over its instances. The host continues as a new owner"
            );
        }
        Ok(held)
    }

    fn lost(&self, held: &Held) -> WfeError {
        let reason = match &held.not_put_back {
            None => format!("its lock file {} was removed or replaced", self.path.display()),
            Some(error) => format!(
                "its lock file {} was removed or replaced, and cannot be put back: {error}",
                self.path.display()
            ),
        };
        WfeError::OwnerLost { owner: self.id, reason }
    }
}

impl Drop for OwnerFile {
    fn drop(&mut self) {
        // A file that another process has put there stays. If the file cannot be removed, the next process finds it
        // unlocked, which has the same meaning as a missing one.
        let held = self.held.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = sidecars::remove(&held.file, &self.path) {
            logging::debug!(%error, file = %self.path.display(), "cannot remove the lock file of an owner that ended");
        }
    }
}

/// Locks the file at this path and writes this sign of life into it; creates the file if it is missing.
fn take(sidecars: &Sidecars, path: &Path, sign: Sign) -> Result<File> {
    // Before the file is locked here, a process that looks for dead owners can lock and remove it; then this starts again.
    // That takes microseconds. A process that holds the lock for longer is an owner of a deleted database of the same name.
    let end = Instant::now() + HANDOVER;
    loop {
        let file = sidecars.open_or_create(path).map_err(|error| failed("create", path, error))?;
        match file.try_lock() {
            Ok(()) if is_same(&file, path)? => {
                write_sign(&file, path, sign)?;
                return Ok(file);
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, error)),
            Err(error @ TryLockError::WouldBlock) if Instant::now() >= end => {
                return Err(failed("lock", path, error.into()));
            }
            Ok(()) | Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    }
}

/// What this file says of its owner. A file that must not be used is no sign of life, and neither is one that no owner
/// has written: another program has put it there in place of the owner's.
fn liveness(sidecars: &Sidecars, path: &Path) -> Result<Liveness> {
    Ok(match unlocked(sidecars, path)? {
        Unlocked::No => Liveness::Alive,
        Unlocked::Yes(file) if read_sign(&file, path)?.is_some() => Liveness::Dead,
        Unlocked::Yes(_) | Unlocked::Missing => Liveness::Missing,
    })
}

/// Whether no process holds the lock on a file.
enum Unlocked {
    Yes(File),
    No,
    Missing,
}

fn unlocked(sidecars: &Sidecars, path: &Path) -> Result<Unlocked> {
    let file = match sidecars.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Unlocked::Missing),
        Err(error) if is_refusal(&error) => {
            logging::debug!(%error, file = %path.display(), "a file with the name of an owner's lock file is none");
            return Ok(Unlocked::Missing);
        }
        Err(error) => return Err(failed("open", path, error)),
    };
    // A shared lock, so that two processes that check at once do not take each other for the owner.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(Unlocked::No),
        Err(TryLockError::Error(error)) => Err(failed("lock", path, error)),
        Ok(()) if is_same(&file, path)? => Ok(Unlocked::Yes(file)),
        // Another process has removed the file since.
        Ok(()) => Ok(Unlocked::Missing),
    }
}

/// Removes a file whose lock no process holds.
fn remove_unlocked(sidecars: &Sidecars, path: &Path) -> Result<()> {
    loop {
        let file = match sidecars.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("open", path, error)),
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, error)),
            // As long as the path leads to the locked file, no other process removes it. Otherwise there may be a new
            // file by now, whose owner is alive.
            Ok(()) if sidecars::remove(&file, path).map_err(|error| failed("remove", path, error))? => {
                return Ok(());
            }
            Ok(()) => {}
        }
    }
}

/// Writes lease and heartbeat as text that an operator can read. The length is always the same, so the new text replaces
/// the old one.
fn write_sign(mut file: &File, path: &Path, sign: Sign) -> Result<()> {
    // A lease of more milliseconds than that never expires in practice.
    let lease = u64::try_from(sign.lease.as_millis()).unwrap_or(u64::MAX);
    let text = format!("lease {lease:>20} ms, heartbeat {:>20}\n", sign.beat);
    // In one write, so that no process reads half of it.
    file.rewind().and_then(|()| file.write_all(text.as_bytes())).map_err(|error| failed("write", path, error))
}

/// The sign of life in this file; `None`: there is none yet.
fn read_sign(file: &File, path: &Path) -> Result<Option<Sign>> {
    let mut text = String::new();
    file.take(128).read_to_string(&mut text).map_err(|error| failed("read", path, error))?;
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    Ok(match (numbers.next(), numbers.next()) {
        (Some(lease), Some(beat)) => Some(Sign { lease: Duration::from_millis(lease), beat }),
        _ => None,
    })
}

fn is_same(file: &File, path: &Path) -> Result<bool> {
    sidecars::is_same(file, path).map_err(|error| failed("check", path, error))
}

fn failed(what: &str, path: &Path, error: io::Error) -> WfeError {
    WfeError::Storage {
        message: format!("cannot {what} the owner's lock file {} ({error})", path.display()),
        source: Some(Box::new(error)),
    }
}

#[cfg(test)]
mod tests;
