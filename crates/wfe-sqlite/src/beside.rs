//! What lies beside a database file for the processes that share it: two locks by which their writers take turns
//! (`<database>-gate` and `<database>-turn`, see [`Turnstile`](crate::turnstile::Turnstile)), and a few bytes that say
//! that there is news (`<database>-bell`).
//!
//! Every provider holds a shared lock on the bell for as long as it lives. Whoever finds at its end that it can have
//! that lock for itself alone is the last one, and removes all three. What a killed process leaves is used again, and
//! removed by the next last one.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use wfe_core::{Result, WfeError};

use crate::{
    companions::{BELL, GATE, TURN, beside},
    look::{self, unusable},
};

/// How long to wait before looking again whether the last one of before has removed its files: that takes it some ten
/// microseconds.
const PAUSE: Duration = Duration::from_micros(200);

/// The files beside one database, held by one provider.
pub(crate) struct Beside {
    gate: Shared,
    turn: Shared,
    bell: Shared,
    /// Tells this provider's rings and stamps from everybody else's.
    tag: u64,
    count: AtomicU64,
    has_left: AtomicBool,
}

/// A small file that all who use the database have open.
pub(crate) struct Shared {
    pub(crate) file: File,
    path: PathBuf,
}

impl Beside {
    /// Joins those who use the database at this path, links already followed; waits at most `patience` for somebody who
    /// is just about to remove the files.
    pub(crate) fn join(database: &Path, patience: Duration) -> Result<Arc<Self>> {
        // The bell first: nobody removes any of them while somebody holds it.
        let bell = hold(beside(database, BELL), patience)?;
        let open = |path: PathBuf| match open_or_make(&path) {
            Ok(file) => Ok(Shared { file, path }),
            Err(error) => Err(failed(&path, error)),
        };
        Ok(Arc::new(Self {
            gate: open(beside(database, GATE))?,
            turn: open(beside(database, TURN))?,
            bell,
            tag: RandomState::new().hash_one(std::process::id()),
            count: AtomicU64::new(0),
            has_left: AtomicBool::new(false),
        }))
    }

    pub(crate) fn gate(&self) -> &Shared {
        &self.gate
    }

    pub(crate) fn turn(&self) -> &Shared {
        &self.turn
    }

    /// A number that no other provider has, nor this one before (but for an accident of 1 in 2^64).
    pub(crate) fn stamp(&self) -> u64 {
        self.tag.wrapping_add(self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Says to all who use the database that there is news: whatever [`heard`](Self::heard) returned before, it now
    /// returns something else.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn ring(&self) -> io::Result<()> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.tag.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.stamp().to_ne_bytes());
        self.bell.put(&bytes)
    }

    /// What was rung last, by whomever; zeros: nothing yet.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn heard(&self) -> io::Result<[u8; 16]> {
        self.bell.get()
    }

    /// Leaves those who use the database; the last one removes the files. Twice is fine.
    pub(crate) fn leave(&self) {
        if !self.has_left.swap(true, Ordering::Relaxed)
            && let Err(error) = self.clear()
        {
            tracing::warn!(%error, file = %self.bell.path.display(), "lock files were left behind");
        }
    }

    fn clear(&self) -> io::Result<()> {
        // Not every system turns a shared lock into an exclusive one, so it is given back first. Of several who leave
        // at once, whoever fails to get it met one who tries after him, or who is removing the files.
        self.bell.file.unlock()?;
        match self.bell.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if look::is_same(&self.bell.file, &self.bell.path)? {
            // The bell last: it is what whoever comes now looks at first.
            for shared in [&self.gate, &self.turn, &self.bell] {
                match fs::remove_file(&shared.path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        self.bell.file.unlock()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Shared {
    /// Puts these bytes at the beginning.
    pub(crate) fn put(&self, bytes: &[u8]) -> io::Result<()> {
        write_at_start(&self.file, bytes)
    }

    /// The first bytes; zeros where nothing was put yet.
    pub(crate) fn get<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        read_at_start(&self.file, &mut bytes)?;
        Ok(bytes)
    }
}

/// Whether somebody has the database at this path open, as far as his lock tells; also while the last one is leaving.
pub(crate) fn is_held_by_others(database: &Path) -> io::Result<bool> {
    let bell = match OpenOptions::new().read(true).write(true).open(beside(database, BELL)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        bell => bell?,
    };
    match bell.try_lock() {
        // Given back when it is closed, at once.
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Opens and holds the bell of a database.
fn hold(path: PathBuf, patience: Duration) -> Result<Shared> {
    let end = Instant::now() + patience;
    loop {
        let attempt = open_or_make(&path).and_then(|file| Ok((is_held(&file, &path)?, file)));
        match attempt.map_err(|error| failed(&path, error))? {
            (true, file) => return Ok(Shared { file, path }),
            (false, _) if Instant::now() < end => thread::sleep(PAUSE),
            (false, _) => {
                return Err(WfeError::Busy {
                    message: format!(
                        "for {patience:?}, another process has been about to remove {}, and may be stopped: continue or end it",
                        path.display()
                    ),
                    source: None,
                });
            }
        }
    }
}

/// Holds a bell. `false`: the last one of before is removing it, or did so before it was locked here.
fn is_held(bell: &File, path: &Path) -> io::Result<bool> {
    match bell.try_lock_shared() {
        Ok(()) => look::is_same(bell, path),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn open_or_make(path: &Path) -> io::Result<File> {
    loop {
        match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        match look::create(path) {
            // Somebody else was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result,
        }
    }
}

fn failed(path: &Path, error: io::Error) -> WfeError {
    unusable(
        path,
        format!("this lock file beside the database cannot be used ({error})"),
        Some(Box::new(error)),
    )
}

#[cfg(unix)]
fn write_at_start(file: &File, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, 0)
}

#[cfg(unix)]
fn read_at_start(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, 0)
}

/// Elsewhere a place to write at belongs to the open file: one at a time.
#[cfg(not(unix))]
static PLACE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(not(unix))]
fn write_at_start(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    use std::io::{Seek, Write};
    let _alone = PLACE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    file.rewind()?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at_start(mut file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    use std::io::{Read, Seek};
    let _alone = PLACE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    file.rewind()?;
    file.read(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    const ALL: [&str; 3] = ["a.db-bell", "a.db-gate", "a.db-turn"];

    #[test]
    fn the_last_one_removes_the_files_and_no_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let (one, other) =
            (Beside::join(&database, PATIENCE).unwrap(), Beside::join(&database, PATIENCE).unwrap());
        one.leave();
        assert_eq!(names(folder.path()), ALL);
        // Whoever still has it open after it left harms nobody.
        one.leave();
        one.ring().unwrap();
        drop(one);
        assert_eq!(names(folder.path()), ALL);
        other.leave();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_a_killed_process_left_is_used_again_and_removed_by_the_next_last_one() {
        let folder = tempfile::tempdir().unwrap();
        for name in ALL {
            fs::write(folder.path().join(name), "left behind").unwrap();
        }
        let one = Beside::join(&folder.path().join("a.db"), PATIENCE).unwrap();
        assert_eq!(names(folder.path()), ALL);
        one.leave();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn whoever_joins_while_the_last_one_leaves_has_files_that_stay() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let beside = Beside::join(&database, PATIENCE).unwrap();
                        for shared in [&beside.gate, &beside.turn, &beside.bell] {
                            assert!(look::is_same(&shared.file, &shared.path).unwrap());
                        }
                        beside.leave();
                    }
                });
            }
        });
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_bell_that_was_removed_before_it_was_locked_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db-bell");
        let file = open_or_make(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!is_held(&file, &path).unwrap());
        let another = open_or_make(&path).unwrap();
        assert!(!is_held(&file, &path).unwrap());
        assert!(is_held(&another, &path).unwrap());
    }

    #[test]
    fn a_bell_that_somebody_holds_for_himself_is_busy_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let bell = File::create(folder.path().join("a.db-bell")).unwrap();
        bell.lock().unwrap();
        let joined = Beside::join(&folder.path().join("a.db"), Duration::from_millis(1));
        assert!(matches!(joined, Err(WfeError::Busy { .. })));
    }

    #[test]
    fn each_ring_is_heard_by_all_as_something_new() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let (one, other) =
            (Beside::join(&database, PATIENCE).unwrap(), Beside::join(&database, PATIENCE).unwrap());
        assert_eq!(one.heard().unwrap(), [0; 16]);
        let mut heard = std::collections::HashSet::from([[0; 16]]);
        for ringer in [&one, &one, &other, &one, &other] {
            ringer.ring().unwrap();
            assert_eq!(one.heard().unwrap(), other.heard().unwrap());
            assert!(heard.insert(one.heard().unwrap()));
        }
    }
}
