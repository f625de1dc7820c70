//! What can be told of a database file before SQLite touches it.

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

/// How long the last one who leaves a removed database may take for that, some ten microseconds as a rule, and how long to
/// wait before looking again.
const HANDOVER: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(1);

/// The database files that this process has open, by device and inode.
///
/// On Unix, closing *any* descriptor of a file takes away all the locks that the process holds on it, SQLite's
/// among them. So a file that is in use here is not opened again to look at it, and two who open one file look at it
/// one after the other.
static FILES: Mutex<Files> = Mutex::new(Files::new());

type Files = BTreeMap<(u64, u64), Weak<Guard>>;

/// Makes a missing file, for its owner alone, and refuses whatever can be seen to be unusable before SQLite touches it.
///
/// Hold what it returns for as long as SQLite has the file open: meanwhile, nothing here opens the file again.
pub(crate) fn check(path: &Path) -> Result<Arc<Guard>> {
    if path.to_str().is_none() {
        return Err(unusable(path, "its path is not UTF-8, as SQLite needs it; choose another name", None));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    match fs::metadata(&folder) {
        Ok(found) if found.is_dir() => network_fs::refuse(path, &folder, &found)?,
        Ok(_) => return Err(unusable(path, format!("{} is not a folder", folder.display()), None)),
        Err(error) => {
            let reason = format!("its folder {} cannot be used ({error}); make it first", folder.display());
            return Err(unusable(path, reason, Some(Box::new(error))));
        }
    }
    refuse_removed(path)?;
    // Nothing that holds it can panic half-way through a change.
    let mut files = lock(&FILES);
    match identity::create(path) {
        Ok(file) => {
            let found = file.metadata().map_err(|error| inaccessible(path, error))?;
            return put(&mut files, &found, file, path);
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(unusable(path, format!("it cannot be made ({error})"), Some(Box::new(error))));
        }
    }
    let found = fs::metadata(path).map_err(|error| inaccessible(path, error))?;
    if !found.is_file() {
        return Err(unusable(path, "it is not a regular file", None));
    }
    // Links may have led to another file system than that of the folder.
    network_fs::refuse(path, path, &found)?;
    if found.permissions().readonly() {
        return Err(unusable(path, "it is read-only; make it writable", None));
    }
    if identity::links(&found) > 1 {
        // The write-ahead log lies beside the name, not the file: who opens it by another name does not see it.
        let reason = "it has more than one hard link, and SQLite loses data when a database is opened by two of its names; \
                      remove the others, or make them symbolic links";
        return Err(unusable(path, reason, None));
    }
    let real = open::real(path)?;
    let is_another = |guard: &Arc<Guard>| guard.real() == real && guard.is_open();
    if let Some(in_use) = identity::inode(&found).and_then(|number| files.get(&number)?.upgrade()) {
        return Ok(in_use);
    }
    if files.values().filter_map(Weak::upgrade).any(|guard| is_another(&guard)) {
        // It would share the log and the `-shm` of the one before.
        let reason = "this program still has the file open that lay there before; close it first";
        return Err(unusable(path, reason, None));
    }
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| {
        unusable(path, format!("it cannot be opened for writing ({error})"), Some(Box::new(error)))
    })?;
    let sidecars = Sidecars::of(&real)?;
    sidecars.check_files_of_sqlite()?;
    first_page::check(path, &mut file, &sidecars)?;
    log::check(path, &mut file, &sidecars)?;
    put(&mut files, &found, file, path)
}

/// Refuses to make a database where another one was that somebody still has open: he would go on with it, as if nothing had
/// happened, until he looks.
fn refuse_removed(path: &Path) -> Result<()> {
    let end = Instant::now() + HANDOVER;
    loop {
        let is_held =
            crate::file::sidecars::is_open_elsewhere(path).map_err(|error| inaccessible(path, error))?;
        // Asked in this order: whoever holds a lock beside it has made it or found it there before.
        if !is_held || path.try_exists().map_err(|error| inaccessible(path, error))? {
            return Ok(());
        }
        // The last one may be just about to leave.
        if Instant::now() >= end {
            let reason = "it was removed while another process, or this one, has it open; stop all that have it open, put \
                          the file back if it is still wanted, and try again";
            return Err(unusable(path, reason, None));
        }
        thread::sleep(PAUSE);
    }
}

fn put(files: &mut Files, found: &Metadata, file: File, path: &Path) -> Result<Arc<Guard>> {
    let guard = Arc::new(Guard::new(file, open::real(path)?));
    files.retain(|_, other| other.strong_count() > 0);
    files.extend(identity::inode(found).map(|number| (number, Arc::downgrade(&guard))));
    Ok(guard)
}

fn inaccessible(path: &Path, error: io::Error) -> WfeError {
    unusable(path, format!("it cannot be looked at ({error})"), Some(Box::new(error)))
}
