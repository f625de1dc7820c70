//! Who owns instances, and whether they are still alive.
//!
//! An owner of a file holds an exclusive lock on a small file beside it, `<database>-owner-<id>`, for as long as it
//! lives: the operating system frees it at the moment its process dies, and nothing need be written for that. What a
//! dead owner leaves behind is removed by the next one that looks. In memory, where owner and store share a process, a
//! list does the same.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use wfe_core::{Result, WfeError, traits::Owner};

use crate::look;

/// How long to wait for somebody else to let go of a new owner's file.
const PATIENCE: Duration = Duration::from_millis(200);

/// The owners of one store.
pub(crate) enum Owners {
    Memory(Arc<Mutex<HashSet<u64>>>),
    /// What the names of the owners' files begin with.
    File(PathBuf),
}

impl Owners {
    pub(crate) fn in_memory() -> Self {
        Self::Memory(Arc::default())
    }

    pub(crate) fn beside(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push("-owner-");
        Self::File(name.into())
    }

    /// A new owner, alive until it is dropped.
    pub(crate) fn enlist(&self, id: u64) -> Result<Owner> {
        match self {
            Self::Memory(alive) => {
                lock(alive).insert(id);
                Ok(Owner::new(id, Listed { alive: Arc::clone(alive), id }))
            }
            Self::File(prefix) => {
                sweep(prefix)?;
                let path = path(prefix, id);
                Ok(Owner::new(id, Locked::new(path)?))
            }
        }
    }

    /// Whether an owner lives. What a dead one left is removed.
    pub(crate) fn is_alive(&self, id: u64) -> Result<bool> {
        match self {
            Self::Memory(alive) => Ok(lock(alive).contains(&id)),
            Self::File(prefix) => is_locked(&path(prefix, id)),
        }
    }
}

fn lock(alive: &Mutex<HashSet<u64>>) -> std::sync::MutexGuard<'_, HashSet<u64>> {
    // Nothing that holds it can panic half-way through a change.
    alive.lock().unwrap_or_else(PoisonError::into_inner)
}

fn path(prefix: &Path, id: u64) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(id.to_string());
    name.into()
}

struct Listed {
    alive: Arc<Mutex<HashSet<u64>>>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.alive).remove(&self.id);
    }
}

struct Locked {
    path: PathBuf,
    _file: File,
}

impl Locked {
    fn new(path: PathBuf) -> Result<Self> {
        // Between making and locking it, somebody who looks for dead owners can lock and remove it: then once more.
        // That takes microseconds; who holds it for longer is an owner of a deleted database of the same name.
        let end = Instant::now() + PATIENCE;
        loop {
            match look::create(&path) {
                Ok(file) => match file.try_lock() {
                    Ok(()) if is_same(&file, &path)? => return Ok(Self { path, _file: file }),
                    Ok(()) | Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(failed("lock", &path, error)),
                },
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && Instant::now() < end => {}
                Err(error) => return Err(failed("make", &path, error)),
            }
            thread::yield_now();
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Missing or not removable: whoever looks next finds it unlocked, which says the same.
        let _ = fs::remove_file(&self.path);
    }
}

fn failed(what: &str, path: &Path, error: io::Error) -> WfeError {
    WfeError::Storage {
        message: format!("cannot {what} the owner's file {} ({error})", path.display()),
        source: Some(Box::new(error)),
    }
}

/// Whether the path still leads to this open file.
fn is_same(file: &File, path: &Path) -> Result<bool> {
    look::is_same(file, path).map_err(|error| failed("look at", path, error))
}

/// Whether somebody holds a lock on this file; one that nobody holds is removed.
fn is_locked(path: &Path) -> Result<bool> {
    loop {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("open", path, error)),
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, error)),
            Ok(()) => {}
        }
        if remove(&file, path)? {
            return Ok(false);
        }
    }
}

/// Removes a file that the caller has locked. `false`: somebody else did, and at the path there may be another one by
/// now, whose owner lives.
fn remove(locked: &File, path: &Path) -> Result<bool> {
    // As long as the path leads to the locked file, nobody else removes it.
    if !is_same(locked, path)? {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(true),
    }
}

/// Removes what dead owners left behind, even those that owned nothing.
fn sweep(prefix: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (prefix.parent(), prefix.file_name()) else { return Ok(()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let name = name.as_encoded_bytes();
    for entry in fs::read_dir(folder).map_err(|error| failed("list the folder of", prefix, error))? {
        let entry = entry.map_err(|error| failed("list the folder of", prefix, error))?;
        let found = entry.file_name();
        if let Some(id) = found.as_encoded_bytes().strip_prefix(name)
            && !id.is_empty()
            && id.iter().all(u8::is_ascii_digit)
        {
            is_locked(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        for owners in [Owners::in_memory(), Owners::beside(&folder.path().join("a.db"))] {
            let (one, other) = (owners.enlist(1).unwrap(), owners.enlist(2).unwrap());
            assert!(owners.is_alive(one.id()).unwrap() && owners.is_alive(other.id()).unwrap());
            drop(one);
            assert!(!owners.is_alive(1).unwrap() && owners.is_alive(2).unwrap());
            assert!(!owners.is_alive(3).unwrap());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn what_a_killed_owner_left_is_swept_and_other_files_are_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::beside(&folder.path().join("a.db"));
        for name in ["a.db-owner-7", "a.db-owner-x", "a.db-owner-", "b.db-owner-7"] {
            File::create(folder.path().join(name)).unwrap();
        }
        let _one = owners.enlist(8).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a.db-owner-", "a.db-owner-8", "a.db-owner-x", "b.db-owner-7"]);
    }

    #[cfg(unix)]
    #[test]
    fn who_was_slow_to_bury_the_dead_does_not_remove_the_file_of_the_living() {
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::beside(&folder.path().join("a.db"));
        let path = folder.path().join("a.db-owner-1");
        let left = File::create(&path).unwrap();
        // Somebody else is faster, and a new owner takes the place.
        fs::remove_file(&path).unwrap();
        let _one = owners.enlist(1).unwrap();
        left.try_lock().unwrap();
        assert!(!remove(&left, &path).unwrap());
        assert!(owners.is_alive(1).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn an_owners_file_is_for_its_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::beside(&folder.path().join("a.db"));
        let _one = owners.enlist(1).unwrap();
        let mode = fs::metadata(folder.path().join("a.db-owner-1")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
