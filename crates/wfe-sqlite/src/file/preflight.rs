//! Checks a database file before SQLite touches it.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    thread,
    time::{Duration, Instant},
};

use wfe_core::{Result, WfeError, sync::lock};

use super::identity;
use crate::error::unusable;
use crate::file::{Guard, first_page, log, network_fs, open, sidecars::Sidecars};

/// How long this process waits for another process that still has a removed database open, and may be closing it. Such
/// a close usually takes some ten microseconds. `PAUSE` is the wait between two checks.
const HANDOVER: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(1);

/// The database files that this process has open, by device and inode.
///
/// Closing *any* descriptor of a file releases all locks that the process holds on it, including SQLite's
/// locks. Therefore a file that this process uses is not opened again for a check, and two providers that open the same
/// file check it one after the other.
static FILES: Mutex<Files> = Mutex::new(Files::new());

type Files = BTreeMap<(u64, u64), Weak<Guard>>;

/// What the caller will do with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Write to it, and create it if it is missing. Only the user who owns the new file can read it.
    Create,
    /// Write to it.
    Write,
    /// Only read it.
    Read,
}

/// Checks a database file before SQLite opens it. Refuses a file that this check finds to be unusable.
///
/// The caller must keep the returned guard while SQLite has the file open. As long as the guard exists, this function
/// does not open the file again.
pub(crate) fn check(path: &Path, intent: Intent) -> Result<Arc<Guard>> {
    if path.to_str().is_none() {
        return Err(unusable(path, "its path is not UTF-8, which SQLite needs; choose another name", None));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    match fs::metadata(&folder) {
        Ok(found) if found.is_dir() => network_fs::refuse(path, &folder, &found)?,
        Ok(_) => return Err(unusable(path, format!("{} is not a folder", folder.display()), None)),
        Err(error) => {
            let reason = format!("its folder {} cannot be used ({error}); create it first", folder.display());
            return Err(unusable(path, reason, Some(Box::new(error))));
        }
    }
    refuse_removed(path)?;
    // No holder of the lock can panic half-way through a change.
    let mut files = lock(&FILES);
    if intent == Intent::Create {
        match identity::create(path) {
            Ok(file) => {
                let found = file.metadata().map_err(|error| inaccessible(path, error))?;
                return put(&mut files, &found, file, path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(unusable(path, format!("it cannot be created ({error})"), Some(Box::new(error))));
            }
        }
    }
    let found = fs::metadata(path).map_err(|error| missing(path, error))?;
    if !found.is_file() {
        return Err(unusable(path, "it is not a regular file", None));
    }
    // Symbolic links may lead to a file system other than that of the folder.
    network_fs::refuse(path, path, &found)?;
    if intent != Intent::Read && found.permissions().readonly() {
        return Err(unusable(path, "it is read-only; make it writable", None));
    }
    if identity::links(&found) > 1 {
        // The name of the write-ahead log is derived from the name of the database. A process that uses another name
        // does not find the log.
        let reason = "it has more than one hard link, and SQLite loses data if a database is opened by two names; \
                      remove the other links, or replace them with symbolic links";
        return Err(unusable(path, reason, None));
    }
    let real = open::real(path)?;
    let is_another = |guard: &Arc<Guard>| guard.real() == real && guard.is_open();
    if intent != Intent::Create && found.len() == 0 {
        return Err(unusable(path, "it is empty, so it is no store", None));
    }
    if let Some(in_use) = files.get(&identity::inode(&found)).and_then(Weak::upgrade) {
        return Ok(in_use);
    }
    if files.values().filter_map(Weak::upgrade).any(|guard| is_another(&guard)) {
        // The new file would share the log and the `-shm` of the earlier one.
        let reason = "this program still has an earlier file open under this path; close that file first";
        return Err(unusable(path, reason, None));
    }
    let writable = OpenOptions::new().read(true).write(true).open(path);
    let mut file = match (writable, intent) {
        // A descriptor for reading is enough for the locks of the guard.
        (Err(_), Intent::Read) => File::open(path).map_err(|error| inaccessible(path, error))?,
        (opened, _) => opened.map_err(|error| {
            unusable(path, format!("it cannot be opened for writing ({error})"), Some(Box::new(error)))
        })?,
    };
    let sidecars = Sidecars::of(&real)?;
    let sidecars = if intent == Intent::Read { sidecars.read_only() } else { sidecars };
    sidecars.check_files_of_sqlite()?;
    first_page::check(path, &mut file, &sidecars)?;
    log::check(path, &mut file, &sidecars)?;
    put(&mut files, &found, file, path)
}

/// Refuses to create a database at the path of a removed database that a process still has open. That process would
/// continue with the removed file until its next check.
fn refuse_removed(path: &Path) -> Result<()> {
    let end = Instant::now() + HANDOVER;
    loop {
        let is_held =
            crate::file::sidecars::is_open_elsewhere(path).map_err(|error| inaccessible(path, error))?;
        // The lock is checked before the path: a process that holds the lock has created or found the database before
        // it took the lock.
        if !is_held || path.try_exists().map_err(|error| inaccessible(path, error))? {
            return Ok(());
        }
        // The last process may be closing the database at this moment.
        if Instant::now() >= end {
            let reason = "it was removed while a process (perhaps this one) has it open; stop all processes that have it \
                          open, put the file back if you still need it, and try again";
            return Err(unusable(path, reason, None));
        }
        thread::sleep(PAUSE);
    }
}

fn put(files: &mut Files, found: &Metadata, file: File, path: &Path) -> Result<Arc<Guard>> {
    let guard = Arc::new(Guard::new(file, open::real(path)?));
    files.retain(|_, other| other.strong_count() > 0);
    files.insert(identity::inode(found), Arc::downgrade(&guard));
    Ok(guard)
}

fn missing(path: &Path, error: io::Error) -> WfeError {
    match error.kind() {
        io::ErrorKind::NotFound => unusable(path, "there is no such file", Some(Box::new(error))),
        _ => inaccessible(path, error),
    }
}

fn inaccessible(path: &Path, error: io::Error) -> WfeError {
    unusable(path, format!("it cannot be checked ({error})"), Some(Box::new(error)))
}
