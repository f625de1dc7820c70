//! What lies beside a database file.

use std::path::Path;

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
    match suffix.strip_prefix(b"-owner-") {
        Some(id) => !id.is_empty() && id.iter().all(u8::is_ascii_digit),
        None => matches!(suffix, b"-wal" | b"-shm" | b"-journal" | b"-gate" | b"-turn" | b"-bell"),
    }
}
