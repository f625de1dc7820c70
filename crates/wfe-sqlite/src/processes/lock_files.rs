//! What lies beside a database file for the processes that share it: two locks by which their writers take turns
//! (`<database>-gate` and `<database>-turn`, see [`Turnstile`](crate::processes::fair_lock::Turnstile)), and a few bytes that say
//! that there is news (`<database>-bell`).
//!
//! Every provider holds a shared lock on the bell for as long as it lives. Whoever finds at its end that it can have
//! that lock for itself alone is the last one, and removes all three. What a killed process leaves is used again, and
//! removed by the next last one.

use std::{
    fs::{File, TryLockError},
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

use wfe_core::{Result, WfeError, logging};

use crate::{
    error::unusable,
    file::{
        companions::{BELL, GATE, TURN},
        sidecars::{self, Sidecars},
    },
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
    /// Joins those who use the database; waits at most `patience` for somebody who is just about to remove the files.
    pub(crate) fn join(sidecars: &Sidecars, patience: Duration) -> Result<Arc<Self>> {
        // The bell first: nobody removes any of them while somebody holds it.
        let bell = hold(sidecars, patience)?;
        let gate = match open(sidecars, GATE) {
            Ok(gate) => gate,
            Err(error) => return Err(left(&[&bell], error)),
        };
        let turn = match open(sidecars, TURN) {
            Ok(turn) => turn,
            Err(error) => return Err(left(&[&gate, &bell], error)),
        };
        Ok(Arc::new(Self {
            gate,
            turn,
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
        if !self.has_left.swap(true, Ordering::Relaxed) {
            // The bell last: it is what whoever comes now looks at first.
            leave(&[&self.gate, &self.turn, &self.bell]);
        }
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

/// Leaves those who use the database; the last one removes these files, of which the bell comes last.
fn leave(files: &[&Shared]) {
    let Some(bell) = files.last() else { return };
    if let Err(error) = clear(bell, files) {
        logging::warn!(%error, file = %bell.path.display(), "lock files were left behind");
    }
}

fn clear(bell: &Shared, files: &[&Shared]) -> io::Result<()> {
    // Not every system turns a shared lock into an exclusive one, so it is given back first. Of several who leave at
    // once, whoever fails to get it met one who tries after him, or who is removing the files.
    bell.file.unlock()?;
    match bell.file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if sidecars::is_same(&bell.file, &bell.path)? {
        for shared in files {
            sidecars::remove(&shared.file, &shared.path)?;
        }
    }
    bell.file.unlock()
}

/// Leaves what could not be joined because of this error.
fn left(files: &[&Shared], error: WfeError) -> WfeError {
    leave(files);
    error
}

fn open(sidecars: &Sidecars, suffix: &str) -> Result<Shared> {
    let path = sidecars.path(suffix);
    match sidecars.open_or_create(&path) {
        Ok(file) => Ok(Shared { file, path }),
        Err(error) => Err(failed(&path, error)),
    }
}

/// Opens and holds the bell of a database.
fn hold(sidecars: &Sidecars, patience: Duration) -> Result<Shared> {
    let path = sidecars.path(BELL);
    let end = Instant::now() + patience;
    loop {
        let attempt = sidecars.open_or_create(&path).and_then(|file| Ok((is_held(&file, &path)?, file)));
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
        Ok(()) => sidecars::is_same(bell, path),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
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
    let _alone = lock(&PLACE);
    file.rewind()?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at_start(mut file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    use std::io::{Read, Seek};
    let _alone = lock(&PLACE);
    file.rewind()?;
    file.read(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A folder with a database, and its sidecars.
    fn place() -> (tempfile::TempDir, Sidecars) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.db"), "").unwrap();
        let sidecars = Sidecars::of(&folder.path().join("a.db")).unwrap();
        (folder, sidecars)
    }

    /// What lies in the folder beside the database.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "a.db");
        names.sort();
        names
    }

    const ALL: [&str; 3] = ["a.db-bell", "a.db-gate", "a.db-turn"];

    #[test]
    fn the_last_one_removes_the_files_and_no_other_does() {
        let (folder, sidecars) = place();
        let (one, other) =
            (Beside::join(&sidecars, PATIENCE).unwrap(), Beside::join(&sidecars, PATIENCE).unwrap());
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
        let (folder, sidecars) = place();
        for name in ALL {
            fs::write(folder.path().join(name), "left behind").unwrap();
        }
        let one = Beside::join(&sidecars, PATIENCE).unwrap();
        assert_eq!(names(folder.path()), ALL);
        one.leave();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn whoever_joins_while_the_last_one_leaves_has_files_that_stay() {
        let (folder, sidecars) = place();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let beside = Beside::join(&sidecars, PATIENCE).unwrap();
                        for shared in [&beside.gate, &beside.turn, &beside.bell] {
                            assert!(sidecars::is_same(&shared.file, &shared.path).unwrap());
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
        let (_folder, sidecars) = place();
        let path = sidecars.path(BELL);
        let file = sidecars.open_or_create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!is_held(&file, &path).unwrap());
        let another = sidecars.open_or_create(&path).unwrap();
        assert!(!is_held(&file, &path).unwrap());
        assert!(is_held(&another, &path).unwrap());
    }

    #[test]
    fn a_bell_that_somebody_holds_for_himself_is_busy_in_the_end() {
        let (_folder, sidecars) = place();
        let bell = File::create(sidecars.path(BELL)).unwrap();
        bell.lock().unwrap();
        let joined = Beside::join(&sidecars, Duration::from_millis(1));
        assert!(matches!(joined, Err(WfeError::Busy { .. })));
    }

    #[test]
    fn each_ring_is_heard_by_all_as_something_new() {
        let (_folder, sidecars) = place();
        let (one, other) =
            (Beside::join(&sidecars, PATIENCE).unwrap(), Beside::join(&sidecars, PATIENCE).unwrap());
        assert_eq!(one.heard().unwrap(), [0; 16]);
        let mut heard = std::collections::HashSet::from([[0; 16]]);
        for ringer in [&one, &one, &other, &one, &other] {
            ringer.ring().unwrap();
            assert_eq!(one.heard().unwrap(), other.heard().unwrap());
            assert!(heard.insert(one.heard().unwrap()));
        }
    }
}
