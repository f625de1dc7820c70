//! The lock files of owners, `<database>-owner-<id>`. An owner shows by its lock file that it is alive.
//!
//! An owner holds an exclusive lock on its file as long as it is alive. The operating system releases the lock when the
//! process ends, so the owner does not have to write anything. An owner that is dropped removes its file. So an
//! unlocked file belongs to an owner whose process died. Another process counts this crash, and then removes the file.
//! The file contains the owner's lease and its heartbeats, by which a frozen owner is found (see
//! [`freeze_detector`](super::freeze_detector)), and after them what the host says about itself (see
//! [`host_card`](super::host_card)).
//!
//! A program that cleans folders, or an operator, can remove the file of a living owner. Other processes then consider
//! the owner dead. So the owner's provider checks the file at each claim. While a host listens for changes, the
//! provider also checks the file at most 50 ms after a file was removed from the folder. If the file was removed, the provider puts it back. A process that finds no file checks once more a little
//! later ([`SECOND_CHECK`]). If the file is back by then, the owner's work continues undisturbed.
//!
//! Nevertheless the owner counts as lost for all later claims. Another process may already have decided that the owner
//! is dead. When that process carries out its decision, it releases everything that the owner has at that time. A new
//! owner is not affected.

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
    processes::{freeze_detector::Sign, host_card},
};

/// How long to wait for another process that holds the lock on an owner's file.
const HANDOVER: Duration = Duration::from_millis(200);
/// The time after which a process checks again for the missing file of an owner. It is three times the interval of the
/// checks that put the file back.
pub(crate) const SECOND_CHECK: Duration = Duration::from_millis(150);

/// The state of an owner, according to its lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liveness {
    /// A process holds the lock.
    Alive,
    /// No process holds the lock: the owner's process died.
    Dead,
    /// The file is missing, or was not written by an owner. It is unknown whether and how the owner ended.
    Missing,
    /// The owner was dropped. This state occurs only with a database in memory, which has no lock files.
    Left,
}

/// The lock files of the owners of one database, as one provider sees them.
pub(crate) struct OwnerFiles {
    sidecars: Sidecars,
    /// The common prefix of the paths of all lock files of owners.
    prefix: PathBuf,
    /// The lock files that this provider holds for its own owners.
    held: Mutex<HashMap<u64, Weak<OwnerFile>>>,
    /// Other owners whose files could not be read. Each failure was reported.
    unreadable: Mutex<HashSet<u64>>,
}

/// The lock file of an owner. The lock is held until this value is dropped.
pub(crate) struct OwnerFile {
    id: u64,
    path: PathBuf,
    sidecars: Sidecars,
    held: Mutex<Held>,
}

struct Held {
    file: File,
    sign: Sign,
    /// The last card, as it was written.
    card: Option<Vec<u8>>,
    /// Whether the file was found missing, at the last check or earlier.
    is_lost: bool,
    /// The error that prevented the file from being put back, if there was one.
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
        let file = take(&self.sidecars, &path, sign, None)?;
        let held = Mutex::new(Held { file, sign, card: None, is_lost: false, not_put_back: None });
        let made = Arc::new(OwnerFile { id, path, sidecars: self.sidecars.clone(), held });
        let mut all = lock(&self.held);
        all.retain(|_, other| other.strong_count() > 0);
        all.insert(id, Arc::downgrade(&made));
        Ok(made)
    }

    fn held(&self, id: u64) -> Option<Arc<OwnerFile>> {
        lock(&self.held).get(&id)?.upgrade()
    }

    /// Checks the file of an owner if this provider holds it. Does nothing if another provider holds the file.
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

    /// Whether an owner is alive. If the check fails, the owner counts as alive and keeps its instances.
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
        // Only the owner writes its file. An incomplete sign of life contains nothing that must be kept.
        let sign = read_sign(&file, &path)?.unwrap_or(Sign { lease, beat: 0 });
        write_sign(&file, &path, Sign { beat: sign.beat.wrapping_add(1), ..sign })
    }

    /// The sign of life of an owner. `None` means that the owner is dead or has just registered, or that reading
    /// failed.
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

    /// The owners whose processes died, including owners without instances.
    pub(crate) fn dead(&self) -> Result<Vec<u64>> {
        let mut dead = Vec::new();
        self.check_all(|id, unlocked| match unlocked {
            Ok(Unlocked::Yes(_)) => dead.push(id),
            Ok(Unlocked::No | Unlocked::Missing) => {}
            // The failure must not prevent a host from starting.
            Err(error) => {
                logging::warn!(%error, "cannot check whether a file is the lock file of a dead owner; the file is kept");
            }
        })?;
        Ok(dead)
    }

    /// The number of owners that are alive. An owner whose file cannot be checked counts as alive.
    pub(crate) fn living(&self) -> Result<usize> {
        let mut living = 0;
        self.check_all(|_, unlocked| living += usize::from(matches!(unlocked, Ok(Unlocked::No) | Err(_))))?;
        Ok(living)
    }

    /// Checks the lock files of all owners, in any order, and passes each result on.
    fn check_all(&self, mut found: impl FnMut(u64, Result<Unlocked>)) -> Result<()> {
        let (Some(folder), Some(name)) = (self.prefix.parent(), self.prefix.file_name()) else {
            return Ok(());
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let name = name.as_encoded_bytes();
        let listed = |error| failed("list the folder of", &self.prefix, error);
        for entry in fs::read_dir(folder).map_err(listed)? {
            let entry = entry.map_err(listed)?;
            let file = entry.file_name();
            let id = file.as_encoded_bytes().strip_prefix(name).map(String::from_utf8_lossy);
            if let Some(id) =
                id.and_then(|id| id.parse::<u64>().ok().filter(|number| number.to_string() == id))
            {
                found(id, unlocked(&self.sidecars, &entry.path()));
            }
        }
        Ok(())
    }

    /// Removes the lock file of an owner whose process died.
    pub(crate) fn remove_lock_file(&self, id: u64) {
        if let Err(error) = remove_unlocked(&self.sidecars, &self.path(id)) {
            logging::warn!(owner = id, %error, "cannot remove the lock file of a dead owner");
        }
    }
}

impl OwnerFile {
    /// Checks that other processes still find this file. If they do not find it, the file is put back, but the owner
    /// counts as lost nevertheless.
    fn check_lock_file(&self) -> Result<()> {
        let held = self.checked_file()?;
        if held.is_lost { Err(self.lost(&held)) } else { Ok(()) }
    }

    fn heartbeat(&self) -> Result<()> {
        let mut held = self.checked_file()?;
        held.sign.beat = held.sign.beat.wrapping_add(1);
        write_sign(&held.file, &self.path, held.sign)?;
        // If the file was put back, it shows that the owner still owns its running instances.
        if held.not_put_back.is_some() { Err(self.lost(&held)) } else { Ok(()) }
    }

    fn checked_file(&self) -> Result<std::sync::MutexGuard<'_, Held>> {
        let mut held = lock(&self.held);
        if sidecars::is_same(&held.file, &self.path).map_err(|error| failed("check", &self.path, error))? {
            return Ok(held);
        }
        held.not_put_back = match take(&self.sidecars, &self.path, held.sign, held.card.as_deref()) {
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
        // A file that another process has put at this path stays. If this file cannot be removed, the next process
        // finds it unlocked and considers the owner dead.
        let held = self.held.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = sidecars::remove(&held.file, &self.path) {
            logging::debug!(%error, file = %self.path.display(), "cannot remove the lock file of an owner that ended");
        }
    }
}

/// Locks the file at this path, and writes this sign of life and this card into it. Creates the file if it is missing.
fn take(sidecars: &Sidecars, path: &Path, sign: Sign, card: Option<&[u8]>) -> Result<File> {
    // Before this process locks the file, a process that checks for dead owners can lock and remove it. The loop then
    // starts again. The other process needs microseconds. A process that holds the lock for longer is an owner of a
    // deleted database of the same name.
    let end = Instant::now() + HANDOVER;
    loop {
        let file = sidecars.open_or_create(path).map_err(|error| failed("create", path, error))?;
        match file.try_lock() {
            Ok(()) if is_same(&file, path)? => {
                write_sign(&file, path, sign)?;
                // An owner of a deleted database of the same name may have left its card.
                file.set_len(SIGN_BYTES)
                    .and_then(|()| card.map_or(Ok(()), |card| host_card::write(&file, card)))
                    .map_err(|error| failed("write", path, error))?;
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

/// The state of an owner, according to this file. The file counts as missing if it must not be used, or if another
/// program wrote it in place of the owner's file.
fn liveness(sidecars: &Sidecars, path: &Path) -> Result<Liveness> {
    Ok(match unlocked(sidecars, path)? {
        Unlocked::No => Liveness::Alive,
        Unlocked::Yes(file) if read_sign(&file, path)?.is_some() => Liveness::Dead,
        Unlocked::Yes(_) | Unlocked::Missing => Liveness::Missing,
    })
}

/// Whether a file exists, and if so, whether its lock is free.
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
            logging::debug!(%error, file = %path.display(), "a file is named like an owner's lock file, but is not one");
            return Ok(Unlocked::Missing);
        }
        Err(error) => return Err(failed("open", path, error)),
    };
    // The check takes a shared lock, so that two processes that check at the same time do not mistake each other for
    // the owner.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(Unlocked::No),
        Err(TryLockError::Error(error)) => Err(failed("lock", path, error)),
        Ok(()) if is_same(&file, path)? => Ok(Unlocked::Yes(file)),
        // Another process has removed the file since.
        Ok(()) => Ok(Unlocked::Missing),
    }
}

/// Removes a file, unless a process holds its lock.
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
            // While the path leads to the locked file, no other process removes that file. If there is a new file at
            // the path, its owner may be alive, so the loop starts again.
            Ok(()) if sidecars::remove(&file, path).map_err(|error| failed("remove", path, error))? => {
                return Ok(());
            }
            Ok(()) => {}
        }
    }
}

/// The length of a sign of life.
const SIGN_BYTES: u64 = 62;

/// Writes lease and heartbeat as text that an operator can read. The text always has the same length, so it completely
/// replaces the old text.
fn write_sign(mut file: &File, path: &Path, sign: Sign) -> Result<()> {
    // A lease of more than `u64::MAX` milliseconds never expires in practice.
    let lease = u64::try_from(sign.lease.as_millis()).unwrap_or(u64::MAX);
    let text = format!("lease {lease:>20} ms, heartbeat {:>20}\n", sign.beat);
    // The text is written in one call, so that no process reads half of it.
    file.rewind().and_then(|()| file.write_all(text.as_bytes())).map_err(|error| failed("write", path, error))
}

/// The sign of life in this file. `None` if the file does not contain a complete sign of life.
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

mod cards;
#[cfg(test)]
mod tests;
