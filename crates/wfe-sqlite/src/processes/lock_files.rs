//! The lock files beside a database. They coordinate the processes that share the database. The files are the two locks
//! of the writers (`<database>-gate` and `<database>-turn`, see [`FairLock`](crate::processes::fair_lock::FairLock)),
//! and the change signal (`<database>-bell`). The change signal is a few bytes that change after a commit that concerns
//! other hosts. After these bytes, the same file has as many bytes that change when a process wants fresh cards of the hosts
//! (see [`host_card`](crate::processes::host_card)).
//!
//! Every provider holds a shared lock on the change signal as long as it is open. If a closing provider can take that
//! lock exclusively, it is the last provider and removes all three files. The files that a killed process leaves behind
//! are used again. The next provider that is the last one to close removes them.

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
        sidecar_names::{CHANGE_SIGNAL, ENTRY_LOCK, WRITER_LOCK},
        sidecars::{self, Sidecars},
    },
};

/// The wait between two checks whether the last provider has removed its files. The removal takes some ten
/// microseconds.
const PAUSE: Duration = Duration::from_micros(200);

/// Where the question begins in the file of the change signal: after the signal.
const QUESTION_AT: u64 = 16;

/// The lock files of one database, held by one provider.
pub(crate) struct LockFiles {
    entry_lock: LockFile,
    writer_lock: LockFile,
    change_signal: LockFile,
    /// A number that distinguishes this provider's signals and stamps from those of all other providers.
    tag: u64,
    count: AtomicU64,
    has_left: AtomicBool,
}

/// A small file that all providers of the database have open.
pub(crate) struct LockFile {
    pub(crate) file: File,
    path: PathBuf,
}

impl LockFiles {
    /// Opens the lock files and registers this provider by its shared lock. Waits at most `patience` for a provider
    /// that is removing the files.
    pub(crate) fn join(sidecars: &Sidecars, patience: Duration) -> Result<Arc<Self>> {
        // Lock the change signal first: while a provider holds it, no other provider removes any of the files.
        let change_signal = hold_signal(sidecars, patience)?;
        let entry_lock = match open(sidecars, ENTRY_LOCK) {
            Ok(lock) => lock,
            Err(error) => return Err(left(&[&change_signal], error)),
        };
        let writer_lock = match open(sidecars, WRITER_LOCK) {
            Ok(lock) => lock,
            Err(error) => return Err(left(&[&entry_lock, &change_signal], error)),
        };
        Ok(Arc::new(Self {
            entry_lock,
            writer_lock,
            change_signal,
            tag: RandomState::new().hash_one(std::process::id()),
            count: AtomicU64::new(0),
            has_left: AtomicBool::new(false),
        }))
    }

    pub(crate) fn entry_lock(&self) -> &LockFile {
        &self.entry_lock
    }

    pub(crate) fn writer_lock(&self) -> &LockFile {
        &self.writer_lock
    }

    /// The path of the file that holds the change signal.
    pub(crate) fn signal_path(&self) -> &Path {
        &self.change_signal.path
    }

    /// A number that no other provider uses, and that this provider has not used before. The chance that another
    /// provider uses it nevertheless is 1 in 2^64.
    pub(crate) fn stamp(&self) -> u64 {
        self.tag.wrapping_add(self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Signals a change to all providers of the database. [`last_signals`](Self::last_signals) then returns a signal that
    /// it has never returned before.
    ///
    /// # Errors
    /// Returns the errors of the operating system.
    pub(crate) fn signal_change(&self) -> io::Result<()> {
        self.change_signal.put(&self.new_signal())
    }

    /// Asks all hosts for fresh cards. [`last_signals`](Self::last_signals) then returns a question that it has never
    /// returned before. Earlier versions of WFE read only the bytes before, and do not notice the question.
    ///
    /// # Errors
    /// Returns the errors of the operating system.
    pub(crate) fn ask(&self) -> io::Result<()> {
        write_at(&self.change_signal.file, &self.new_signal(), QUESTION_AT)
    }

    fn new_signal(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.tag.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.stamp().to_ne_bytes());
        bytes
    }

    /// The latest signal and the latest question, whichever providers they came from. All bytes of the one or the other are
    /// zero if there was none yet.
    ///
    /// # Errors
    /// Returns the errors of the operating system.
    pub(crate) fn last_signals(&self) -> io::Result<[[u8; 16]; 2]> {
        let bytes: [u8; 32] = self.change_signal.get()?;
        let mut signals = [[0; 16]; 2];
        signals.as_flattened_mut().copy_from_slice(&bytes);
        Ok(signals)
    }

    /// Unregisters this provider. If this provider is the last one of the database, also removes the files. A second
    /// call does nothing.
    pub(crate) fn leave(&self) {
        if !self.has_left.swap(true, Ordering::Relaxed) {
            // The change signal is removed last, because it is the first file that a new provider opens.
            leave(&[&self.entry_lock, &self.writer_lock, &self.change_signal]);
        }
    }
}

impl Drop for LockFiles {
    fn drop(&mut self) {
        self.leave();
    }
}

impl LockFile {
    /// Writes these bytes at the beginning of the file.
    pub(crate) fn put(&self, bytes: &[u8]) -> io::Result<()> {
        write_at(&self.file, bytes, 0)
    }

    /// The first bytes of the file. Bytes that were not written yet are zero.
    pub(crate) fn get<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        read_at_start(&self.file, &mut bytes)?;
        Ok(bytes)
    }
}

/// Asks all hosts for fresh cards, as [`LockFiles::ask`] does, for a provider that only reads and has no lock files. Does
/// nothing if no other provider has made the file of the change signal.
///
/// # Errors
/// Returns the errors of the operating system, such as that this process must not write to the file.
pub(crate) fn ask_as_reader(sidecars: &Sidecars) -> io::Result<()> {
    let signal = sidecars.open(&sidecars.path(CHANGE_SIGNAL))?;
    let random = || RandomState::new().hash_one(std::process::id());
    let mut question = [0; 16];
    question[..8].copy_from_slice(&random().to_ne_bytes());
    question[8..].copy_from_slice(&random().to_ne_bytes());
    write_at(&signal, &question, QUESTION_AT)
}

/// Unregisters this provider. If this provider is the last one of the database, also removes these files. The change
/// signal must be the last of `files`.
fn leave(files: &[&LockFile]) {
    let Some(signal) = files.last() else { return };
    if let Err(error) = clear(signal, files) {
        logging::warn!(%error, file = %signal.path.display(), "cannot remove the lock files of the writers; they stay beside the database");
    }
}

fn clear(signal: &LockFile, files: &[&LockFile]) -> io::Result<()> {
    // Not every system can convert a shared lock to an exclusive lock, so the shared lock is released first. If several
    // providers leave at once and one of them cannot lock, another provider tries later or is already removing the
    // files.
    signal.file.unlock()?;
    match signal.file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if sidecars::is_same(&signal.file, &signal.path)? {
        for lock_file in files {
            sidecars::remove(&lock_file.file, &lock_file.path)?;
        }
    }
    signal.file.unlock()
}

/// Unregisters this provider after an error prevented it from opening the lock files, and returns the error.
fn left(files: &[&LockFile], error: WfeError) -> WfeError {
    leave(files);
    error
}

fn open(sidecars: &Sidecars, suffix: &str) -> Result<LockFile> {
    let path = sidecars.path(suffix);
    match sidecars.open_or_create(&path) {
        Ok(file) => Ok(LockFile { file, path }),
        Err(error) => Err(failed(&path, error)),
    }
}

/// Opens the change signal of a database and takes the shared lock on it.
fn hold_signal(sidecars: &Sidecars, patience: Duration) -> Result<LockFile> {
    let path = sidecars.path(CHANGE_SIGNAL);
    let end = Instant::now() + patience;
    loop {
        let attempt = sidecars.open_or_create(&path).and_then(|file| Ok((is_held(&file, &path)?, file)));
        match attempt.map_err(|error| failed(&path, error))? {
            (true, file) => return Ok(LockFile { file, path }),
            (false, _) if Instant::now() < end => thread::sleep(PAUSE),
            (false, _) => {
                return Err(WfeError::Busy {
                    message: format!(
                        "lock file {} is held by a process that does not respond (waited {} s); resume or kill it",
                        path.display(),
                        patience.as_secs_f64()
                    ),
                    source: None,
                });
            }
        }
    }
}

/// Takes the shared lock on the change signal. `false` means that the last provider is removing the file, or removed it
/// before this provider locked it.
fn is_held(signal: &File, path: &Path) -> io::Result<bool> {
    match signal.try_lock_shared() {
        Ok(()) => sidecars::is_same(signal, path),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn failed(path: &Path, error: io::Error) -> WfeError {
    unusable(path, format!("cannot use this lock file of the database ({error})"), Some(Box::new(error)))
}

fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

fn read_at_start(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, 0)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Creates a folder with a database. Returns the folder, and the sidecars of this database.
    fn folder_with_database() -> (tempfile::TempDir, Sidecars) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.db"), "").unwrap();
        let sidecars = Sidecars::of(&folder.path().join("a.db")).unwrap();
        (folder, sidecars)
    }

    /// The names of the files beside the database.
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
    fn only_the_last_provider_removes_the_files() {
        let (folder, sidecars) = folder_with_database();
        let (one, other) =
            (LockFiles::join(&sidecars, PATIENCE).unwrap(), LockFiles::join(&sidecars, PATIENCE).unwrap());
        one.leave();
        assert_eq!(names(folder.path()), ALL);
        // A provider that has left can still use the files that it has open, which does not affect other providers.
        one.leave();
        one.signal_change().unwrap();
        drop(one);
        assert_eq!(names(folder.path()), ALL);
        other.leave();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn files_of_a_killed_process_are_used_again_and_removed_by_the_next_last_provider() {
        let (folder, sidecars) = folder_with_database();
        for name in ALL {
            fs::write(folder.path().join(name), "left behind").unwrap();
        }
        let one = LockFiles::join(&sidecars, PATIENCE).unwrap();
        assert_eq!(names(folder.path()), ALL);
        one.leave();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_provider_that_joins_while_the_last_one_leaves_has_files_that_stay() {
        let (folder, sidecars) = folder_with_database();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let files = LockFiles::join(&sidecars, PATIENCE).unwrap();
                        for lock_file in [&files.entry_lock, &files.writer_lock, &files.change_signal] {
                            assert!(sidecars::is_same(&lock_file.file, &lock_file.path).unwrap());
                        }
                        files.leave();
                    }
                });
            }
        });
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_change_signal_that_was_removed_before_it_was_locked_is_not_held() {
        let (_folder, sidecars) = folder_with_database();
        let path = sidecars.path(CHANGE_SIGNAL);
        let file = sidecars.open_or_create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!is_held(&file, &path).unwrap());
        let another = sidecars.open_or_create(&path).unwrap();
        assert!(!is_held(&file, &path).unwrap());
        assert!(is_held(&another, &path).unwrap());
    }

    #[test]
    fn joining_is_busy_after_a_while_if_a_process_holds_the_change_signal_exclusively() {
        let (_folder, sidecars) = folder_with_database();
        let change_signal = File::create(sidecars.path(CHANGE_SIGNAL)).unwrap();
        change_signal.lock().unwrap();
        let joined = LockFiles::join(&sidecars, Duration::from_millis(1));
        assert!(matches!(joined, Err(WfeError::Busy { .. })));
    }

    #[test]
    fn each_signal_differs_from_all_before_for_every_provider() {
        let (_folder, sidecars) = folder_with_database();
        let (one, other) =
            (LockFiles::join(&sidecars, PATIENCE).unwrap(), LockFiles::join(&sidecars, PATIENCE).unwrap());
        let last = || {
            let [signal, question] = one.last_signals().unwrap();
            assert_eq!([signal, question], other.last_signals().unwrap());
            (signal, question)
        };
        assert_eq!(last(), ([0; 16], [0; 16]));
        let mut signals = HashSet::from([[0; 16]]);
        for provider in [&one, &one, &other, &one, &other] {
            let (_, question) = last();
            provider.signal_change().unwrap();
            assert!(signals.insert(last().0) && last().1 == question);
            let (signal, _) = last();
            provider.ask().unwrap();
            assert!(signals.insert(last().1) && last().0 == signal);
        }
    }
}
