//! The names of the files beside a database.

use std::path::{Path, PathBuf};

/// The suffixes of the files that WFE keeps beside a database. The suffix of an owner's lock file is followed by the
/// owner's id. The suffixes are defined only here, so that [`is_sidecar`] recognises every file that WFE creates.
pub(crate) const ENTRY_LOCK: &str = "-gate";
pub(crate) const WRITER_LOCK: &str = "-turn";
pub(crate) const CHANGE_SIGNAL: &str = "-bell";
pub(crate) const OWNER_LOCK: &str = "-owner-";

/// The suffixes of SQLite's own files: the write-ahead log, the index of this log in shared memory, and the rollback
/// journal.
pub(crate) const WAL: &str = "-wal";
pub(crate) const SHM: &str = "-shm";
pub(crate) const JOURNAL: &str = "-journal";
pub(crate) const OF_SQLITE: [&str; 3] = [WAL, SHM, JOURNAL];

/// The path of the sidecar that has this suffix and is beside `database`.
pub(crate) fn sidecar_path(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns `true` if `other` is a file that SQLite or WFE keeps beside the database at `database`.
///
/// The sidecars of SQLite are the write-ahead log, the shared memory and the rollback journal. The sidecars of WFE are
/// the lock files of owners, the two locks of the writers (`-gate`, `-turn`) and the change signal (`-bell`). The
/// database itself is not a sidecar.
///
/// The two paths are compared as they are written, so pass both in the same form, for example both as absolute paths.
/// If the database's path is a symbolic link, pass the path of its target, because the sidecars are beside the target.
///
/// Use this function in programs that traverse, copy or clean folders: a sidecar must be treated as a part of its
/// database.
///
/// ```
/// use std::path::Path;
/// let database = Path::new("state/orders.db");
/// assert!(wfe_sqlite::is_sidecar(database, Path::new("state/orders.db-wal")));
/// assert!(!wfe_sqlite::is_sidecar(database, Path::new("state/orders.db-notes")));
/// ```
#[must_use]
pub fn is_sidecar(database: &Path, other: &Path) -> bool {
    let (database, other) = (database.as_os_str().as_encoded_bytes(), other.as_os_str().as_encoded_bytes());
    let Some(suffix) = other.strip_prefix(database) else { return false };
    match suffix.strip_prefix(OWNER_LOCK.as_bytes()) {
        Some(id) => !id.is_empty() && id.iter().all(u8::is_ascii_digit),
        None => OF_SQLITE
            .iter()
            .chain(&[ENTRY_LOCK, WRITER_LOCK, CHANGE_SIGNAL])
            .any(|own| own.as_bytes() == suffix),
    }
}
