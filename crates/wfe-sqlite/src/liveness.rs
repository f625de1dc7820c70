//! Who owns instances, and whether they are still alive.
//!
//! An owner of a file holds an exclusive lock on a small file beside it, `<database>-owner-<id>`, for as long as it
//! lives: the operating system frees it at the moment its process dies, and nothing need be written for that. What a
//! dead owner leaves behind is removed by the next one that looks. The file holds the owner's lease and its heartbeats,
//! by which a frozen one is found (see [`observer`](crate::observer)). In memory, where owner and store share a process,
//! a list does the same.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use wfe_core::{Result, WfeError, traits::Owner};

use crate::{
    companions::{self, OWNER},
    look,
    observer::{Observer, Progress, Sign},
};

/// How long to wait for somebody else to let go of a new owner's file.
const PATIENCE: Duration = Duration::from_millis(200);

/// The owners of one store, as one provider sees them.
pub(crate) struct Owners {
    place: Place,
    /// The lease of those that are enlisted here.
    lease: Duration,
    observer: Mutex<Observer>,
}

enum Place {
    /// Each owner's heartbeats.
    Memory(Arc<Mutex<HashMap<u64, u64>>>),
    /// What the names of the owners' files begin with.
    File(PathBuf),
}

impl Owners {
    pub(crate) fn in_memory(lease: Duration) -> Self {
        Self::at(Place::Memory(Arc::default()), lease)
    }

    pub(crate) fn beside(database: &Path, lease: Duration) -> Self {
        Self::at(Place::File(companions::beside(database, OWNER)), lease)
    }

    fn at(place: Place, lease: Duration) -> Self {
        Self { place, lease, observer: Mutex::new(Observer::new(lease)) }
    }

    /// A new owner, alive until it is dropped.
    pub(crate) fn enlist(&self, id: u64) -> Result<Owner> {
        let owner = match &self.place {
            Place::Memory(alive) => {
                lock(alive).insert(id, 0);
                Owner::new(id, Listed { alive: Arc::clone(alive), id })
            }
            Place::File(prefix) => {
                sweep(prefix)?;
                let locked = Locked::new(path(prefix, id))?;
                write_sign(&locked.file, &locked.path, Sign { lease: self.lease, beat: 0 })?;
                Owner::new(id, locked)
            }
        };
        Ok(owner.with_lease(self.lease))
    }

    /// Whether an owner lives. What a dead one left is removed.
    pub(crate) fn is_alive(&self, id: u64) -> Result<bool> {
        match &self.place {
            Place::Memory(alive) => Ok(lock(alive).contains_key(&id)),
            Place::File(prefix) => is_locked(&path(prefix, id)),
        }
    }

    /// One more heartbeat of an owner.
    pub(crate) fn beat(&self, id: u64) -> Result<()> {
        match &self.place {
            Place::Memory(alive) => {
                if let Some(beat) = lock(alive).get_mut(&id) {
                    *beat += 1;
                }
                Ok(())
            }
            Place::File(prefix) => {
                let path = path(prefix, id);
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&path)
                    .map_err(|error| failed("open", &path, error))?;
                // Its only writer is the owner, and one that was cut short says nothing that matters any more.
                let sign = read_sign(&file, &path)?.unwrap_or(Sign { lease: self.lease, beat: 0 });
                write_sign(&file, &path, Sign { beat: sign.beat.wrapping_add(1), ..sign })
            }
        }
    }

    /// Whether it is time to [`look`](Self::look).
    pub(crate) fn is_time_to_look(&self, now: Duration) -> bool {
        lock(&self.observer).is_due(now)
    }

    /// Looks at all owners that have something; gives those that are alive, but frozen.
    pub(crate) fn look(&self, now: Duration, owners: Vec<Progress>) -> Result<Vec<Progress>> {
        let mut signs = Vec::with_capacity(owners.len());
        for progress in owners {
            if let Some(sign) = self.sign(progress.owner)? {
                signs.push((progress, sign));
            }
        }
        Ok(lock(&self.observer).look(now, signs))
    }

    /// `None`: it is dead, or was just born.
    fn sign(&self, id: u64) -> Result<Option<Sign>> {
        match &self.place {
            Place::Memory(alive) => {
                Ok(lock(alive).get(&id).map(|beat| Sign { lease: self.lease, beat: *beat }))
            }
            Place::File(prefix) => {
                let path = path(prefix, id);
                match File::open(&path) {
                    Ok(file) => read_sign(&file, &path),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(failed("open", &path, error)),
                }
            }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one of them can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn path(prefix: &Path, id: u64) -> PathBuf {
    companions::beside(prefix, &id.to_string())
}

struct Listed {
    alive: Arc<Mutex<HashMap<u64, u64>>>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.alive).remove(&self.id);
    }
}

struct Locked {
    path: PathBuf,
    file: File,
}

impl Locked {
    fn new(path: PathBuf) -> Result<Self> {
        // Between making and locking it, somebody who looks for dead owners can lock and remove it: then once more.
        // That takes microseconds; who holds it for longer is an owner of a deleted database of the same name.
        let end = Instant::now() + PATIENCE;
        loop {
            match look::create(&path) {
                Ok(file) => match file.try_lock() {
                    Ok(()) if is_same(&file, &path)? => return Ok(Self { path, file }),
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

    const LEASE: Duration = Duration::from_secs(16);

    #[test]
    fn an_owner_lives_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        for owners in [Owners::in_memory(LEASE), Owners::beside(&folder.path().join("a.db"), LEASE)] {
            let (one, other) = (owners.enlist(1).unwrap(), owners.enlist(2).unwrap());
            assert!(owners.is_alive(one.id()).unwrap() && owners.is_alive(other.id()).unwrap());
            drop(one);
            assert!(!owners.is_alive(1).unwrap() && owners.is_alive(2).unwrap());
            assert!(!owners.is_alive(3).unwrap());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn an_owner_without_heartbeats_is_frozen_after_its_lease_and_one_with_them_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for owners in [Owners::in_memory(LEASE), Owners::beside(&folder.path().join("a.db"), LEASE)] {
            let (still, beating) = (owners.enlist(1).unwrap(), owners.enlist(2).unwrap());
            assert_eq!(still.lease(), Some(LEASE));
            let has = |owner: u64| Progress { owner, rows: 1, fences: 1, revisions: 1 };
            let mut frozen = Vec::new();
            for second in 0..=16 {
                let now = Duration::from_secs(second);
                assert!(owners.is_time_to_look(now));
                owners.beat(beating.id()).unwrap();
                frozen = owners.look(now, vec![has(1), has(2), has(3)]).unwrap();
                assert!(frozen.is_empty() || second == 16, "{second}");
            }
            assert_eq!(frozen, [has(1)]);
        }
    }

    #[test]
    fn what_a_killed_owner_left_is_swept_and_other_files_are_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let owners = Owners::beside(&folder.path().join("a.db"), LEASE);
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
        let owners = Owners::beside(&folder.path().join("a.db"), LEASE);
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
        let owners = Owners::beside(&folder.path().join("a.db"), LEASE);
        let _one = owners.enlist(1).unwrap();
        let mode = fs::metadata(folder.path().join("a.db-owner-1")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
