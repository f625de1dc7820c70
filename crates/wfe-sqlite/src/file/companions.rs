//! What lies beside a database file.

use std::path::{Path, PathBuf};

/// What the names of the files that WFE keeps there end with; an owner's number follows the last one. They are spelled
/// here alone, so that [`is_companion`] knows whatever is made.
pub(crate) const GATE: &str = "-gate";
pub(crate) const TURN: &str = "-turn";
pub(crate) const BELL: &str = "-bell";
pub(crate) const OWNER: &str = "-owner-";

/// The same of SQLite's own: write-ahead log, its index in shared memory, rollback journal.
pub(crate) const WAL: &str = "-wal";
pub(crate) const SHM: &str = "-shm";
pub(crate) const JOURNAL: &str = "-journal";
pub(crate) const SQLITES: [&str; 3] = [WAL, SHM, JOURNAL];

/// The path that goes on with this.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether `other` is a file that SQLite or WFE keeps beside the database at `database`: its write-ahead log, its shared
/// memory, its rollback journal, an owner's lock file, the locks by which writers take turns (`-gate`, `-turn`) or the
/// bell that says that there is news (`-bell`). Paths are compared as they are written, so give both in the
/// same form, and of a link the file that it leads to: companions lie beside that. The database itself is no companion of its own.
///
/// For programs that walk over folders, copy or clean them: a companion belongs to its database.
///
/// ```
/// use std::path::Path;
/// let database = Path::new("state/orders.db");
/// assert!(wfe_sqlite::is_companion(database, Path::new("state/orders.db-wal")));
/// assert!(!wfe_sqlite::is_companion(database, Path::new("state/orders.db-notes")));
/// ```
#[must_use]
pub fn is_companion(database: &Path, other: &Path) -> bool {
    let (database, other) = (database.as_os_str().as_encoded_bytes(), other.as_os_str().as_encoded_bytes());
    let Some(suffix) = other.strip_prefix(database) else { return false };
    match suffix.strip_prefix(OWNER.as_bytes()) {
        Some(id) => !id.is_empty() && id.iter().all(u8::is_ascii_digit),
        None => SQLITES.iter().chain(&[GATE, TURN, BELL]).any(|own| own.as_bytes() == suffix),
    }
}
