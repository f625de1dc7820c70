//! The lock files of owners, `<database>-owner-<id>`: how an owner of a file shows that it lives.
//!
//! An owner holds an exclusive lock on its file for as long as it lives: the operating system frees it at the moment
//! its process dies, and nothing need be written for that. An owner that is dropped removes its file; so a file that
//! nobody holds tells of a process that died, and is removed by whoever has counted that death. The file holds the owner's
//! lease and its heartbeats, by which a frozen owner is found (see [`freeze_detector`](super::freeze_detector)).
//!
//! A cleaner of folders, or a careless hand, can take the file of a living owner away. Others then take it for dead, so
//! its own provider looks after it, each 50 ms while a host listens and at each claim, and puts it back. Who finds no
//! file looks once more a little later before it judges ([`SECOND_LOOK`]): what the owner runs goes on undisturbed then.
//! For what it would claim from now on the owner counts as lost all the same: somebody may have judged already, and
//! would free whatever it has by the time when that judgement is carried out. A new owner has nothing to fear from it.

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
        companions::OWNER,
        sidecars::{self, Sidecars, is_refusal},
    },
    processes::freeze_detector::Sign,
};

/// How long to wait for somebody else to let go of an owner's file.
const PATIENCE: Duration = Duration::from_millis(200);
/// How much later whoever finds no file of an owner looks again: three of the looks by which it is put back.
pub(crate) const SECOND_LOOK: Duration = Duration::from_millis(150);

/// What an owner's file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Somebody holds it.
    Alive,
    /// Nobody holds it: its owner's process died.
    Dead,
    /// It is not there, or it is no owner's: nothing says how its owner ended, if it did.
    Missing,
    /// In memory, where there are no files: its owner was dropped.
    Left,
}

/// The owners' files beside one database, as one provider sees them.
pub(crate) struct OwnerFiles {
    sidecars: Sidecars,
    /// What their names begin with.
    prefix: PathBuf,
    /// Those that are held here.
    held: Mutex<HashMap<u64, Weak<OwnerFile>>>,
    /// Those of others that could not be looked at, which was reported.
    unseen: Mutex<HashSet<u64>>,
}

/// An owner's file, held until it is dropped.
pub(crate) struct OwnerFile {
    id: u64,
    path: PathBuf,
    sidecars: Sidecars,
    held: Mutex<Held>,
}

struct Held {
    file: File,
    sign: Sign,
    /// It was found missing, now or before.
    is_lost: bool,
    /// Why it could not be put back.
    is_gone: Option<String>,
}

impl OwnerFiles {
    pub(crate) fn new(sidecars: Sidecars) -> Self {
        let prefix = sidecars.path(OWNER);
        Self { sidecars, prefix, held: Mutex::default(), unseen: Mutex::default() }
    }

    fn path(&self, id: u64) -> PathBuf {
        self.sidecars.path(&format!("{OWNER}{id}"))
    }

    /// Makes the file of a new owner.
    pub(crate) fn make(&self, id: u64, lease: Duration) -> Result<Arc<OwnerFile>> {
        let path = self.path(id);
        let sign = Sign { lease, beat: 0 };
        let file = take(&self.sidecars, &path, sign)?;
        let held = Mutex::new(Held { file, sign, is_lost: false, is_gone: None });
        let made = Arc::new(OwnerFile { id, path, sidecars: self.sidecars.clone(), held });
        let mut all = lock(&self.held);
        all.retain(|_, other| other.strong_count() > 0);
        all.insert(id, Arc::downgrade(&made));
        Ok(made)
    }

    fn held(&self, id: u64) -> Option<Arc<OwnerFile>> {
        lock(&self.held).get(&id)?.upgrade()
    }

    /// Looks after the file of an owner. One that is held elsewhere is none of this provider's business.
    pub(crate) fn look_after(&self, id: u64) -> Result<()> {
        self.held(id).map_or(Ok(()), |file| file.look_after())
    }

    /// Looks after all that are held here.
    pub(crate) fn look_after_all(&self) {
        let all: Vec<_> = lock(&self.held).values().filter_map(Weak::upgrade).collect();
        for file in all {
            // It was told; whoever claims hears of it.
            let _ = file.look_after();
        }
    }

    /// Whether an owner lives. One of which that cannot be told keeps what it has, and hinders nobody else's work.
    pub(crate) fn life(&self, id: u64) -> Life {
        life(&self.sidecars, &self.path(id)).unwrap_or_else(|error| {
            self.report_unseen(id, &error);
            Life::Alive
        })
    }

    fn report_unseen(&self, id: u64, error: &WfeError) {
        if lock(&self.unseen).insert(id) {
            logging::error!(owner = id, %error, "it cannot be told whether this owner lives: what it has stays its own");
        }
    }

    /// One more heartbeat of an owner.
    pub(crate) fn beat(&self, id: u64, lease: Duration) -> Result<()> {
        if let Some(file) = self.held(id) {
            return file.beat();
        }
        let path = self.path(id);
        let file = self.sidecars.open(&path).map_err(|error| failed("open", &path, error))?;
        // Its only writer is the owner, and one that was cut short says nothing that matters any more.
        let sign = read_sign(&file, &path)?.unwrap_or(Sign { lease, beat: 0 });
        write_sign(&file, &path, Sign { beat: sign.beat.wrapping_add(1), ..sign })
    }

    /// `None`: it is dead, or was just born, or that cannot be told.
    pub(crate) fn sign(&self, id: u64) -> Option<Sign> {
        let path = self.path(id);
        let sign = match self.sidecars.open(&path) {
            Ok(file) => read_sign(&file, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_refusal(&error) => Ok(None),
            Err(error) => Err(failed("open", &path, error)),
        };
        sign.unwrap_or_else(|error| {
            self.report_unseen(id, &error);
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
                // It keeps nobody from starting.
                Err(error) => {
                    logging::warn!(%error, "what may be a dead owner's lock file was left where it is");
                }
            }
        }
        Ok(dead)
    }

    /// Removes what an owner left whose process died.
    pub(crate) fn bury(&self, id: u64) {
        if let Err(error) = remove_unlocked(&self.sidecars, &self.path(id)) {
            logging::warn!(owner = id, %error, "a dead owner's lock file was left where it is");
        }
    }
}

impl OwnerFile {
    /// Looks whether others still find this file; if they do not, it is put back, and the owner is lost all the same.
    fn look_after(&self) -> Result<()> {
        let held = self.look()?;
        if held.is_lost { Err(self.lost(&held)) } else { Ok(()) }
    }

    fn beat(&self) -> Result<()> {
        let mut held = self.look()?;
        held.sign.beat = held.sign.beat.wrapping_add(1);
        write_sign(&held.file, &self.path, held.sign)?;
        // One that was put back shows that what the owner still runs is its own.
        if held.is_gone.is_some() { Err(self.lost(&held)) } else { Ok(()) }
    }

    fn look(&self) -> Result<std::sync::MutexGuard<'_, Held>> {
        let mut held = lock(&self.held);
        if sidecars::is_same(&held.file, &self.path).map_err(|error| failed("look at", &self.path, error))? {
            return Ok(held);
        }
        held.is_gone = match take(&self.sidecars, &self.path, held.sign) {
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
                not_put_back = held.is_gone,
                "this host's lock file was removed or replaced: others may take over what it runs. It goes on as another owner"
            );
        }
        Ok(held)
    }

    fn lost(&self, held: &Held) -> WfeError {
        let reason = match &held.is_gone {
            None => format!("its lock file {} was removed or replaced", self.path.display()),
            Some(error) => format!(
                "its lock file {} was removed or replaced, and could not be put back: {error}",
                self.path.display()
            ),
        };
        WfeError::OwnerLost { owner: self.id, reason }
    }
}

impl Drop for OwnerFile {
    fn drop(&mut self) {
        // What somebody else has put there stays. Not removable: whoever looks next finds it unlocked, which says the
        // same as a missing one.
        let held = self.held.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(error) = sidecars::remove(&held.file, &self.path) {
            logging::debug!(%error, file = %self.path.display(), "an owner's lock file was left behind");
        }
    }
}

/// Holds the file at this path, with this sign in it; makes it if it is missing.
fn take(sidecars: &Sidecars, path: &Path, sign: Sign) -> Result<File> {
    // Before it is locked here, somebody who looks for dead owners can lock and remove it: then once more. That takes
    // microseconds; who holds it for longer is an owner of a deleted database of the same name.
    let end = Instant::now() + PATIENCE;
    loop {
        let file = sidecars.open_or_create(path).map_err(|error| failed("make", path, error))?;
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

/// What this file says of its owner. Whatever must not be used is nobody's sign of life; neither is what no owner has
/// written: somebody has put it there in place of the owner's.
fn life(sidecars: &Sidecars, path: &Path) -> Result<Life> {
    Ok(match unlocked(sidecars, path)? {
        Unlocked::No => Life::Alive,
        Unlocked::Yes(file) if read_sign(&file, path)?.is_some() => Life::Dead,
        Unlocked::Yes(_) | Unlocked::Missing => Life::Missing,
    })
}

/// Whether nobody holds a file.
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
            logging::debug!(%error, file = %path.display(), "this is no owner's lock file");
            return Ok(Unlocked::Missing);
        }
        Err(error) => return Err(failed("open", path, error)),
    };
    // Shared, so that two that look at once do not take each other for the owner.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(Unlocked::No),
        Err(TryLockError::Error(error)) => Err(failed("lock", path, error)),
        Ok(()) if is_same(&file, path)? => Ok(Unlocked::Yes(file)),
        // Somebody has removed it since.
        Ok(()) => Ok(Unlocked::Missing),
    }
}

/// Removes a file that nobody holds.
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
            // As long as the path leads to the locked file, nobody else removes it. Else there may be another one by
            // now, whose owner lives.
            Ok(()) if sidecars::remove(&file, path).map_err(|error| failed("remove", path, error))? => {
                return Ok(());
            }
            Ok(()) => {}
        }
    }
}

/// Two numbers in words, for whoever looks into the file; always as long, so that a new one covers the old one.
fn write_sign(mut file: &File, path: &Path, sign: Sign) -> Result<()> {
    // One of more milliseconds than that lasts for ever all the same.
    let lease = u64::try_from(sign.lease.as_millis()).unwrap_or(u64::MAX);
    let text = format!("lease {lease:>20} ms, heartbeat {:>20}\n", sign.beat);
    // In one write, so that nobody reads half of it.
    file.rewind().and_then(|()| file.write_all(text.as_bytes())).map_err(|error| failed("write", path, error))
}

/// `None`: there is none in it yet.
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
    sidecars::is_same(file, path).map_err(|error| failed("look at", path, error))
}

fn failed(what: &str, path: &Path, error: io::Error) -> WfeError {
    WfeError::Storage {
        message: format!("cannot {what} the owner's file {} ({error})", path.display()),
        source: Some(Box::new(error)),
    }
}

#[cfg(test)]
mod tests;
