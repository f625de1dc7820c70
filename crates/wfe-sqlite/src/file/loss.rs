//! A loss describes what happened to a file of the database. Every later call of the store returns the loss as an
//! error.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::error::SqliteError;
use wfe_core::WfeError;

/// A file of the database is no longer the file that was opened, or can no longer be checked. Once a loss is found, no
/// call may report that anything was stored.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    path: PathBuf,
    kind: LossKind,
}

#[derive(Clone, Debug)]
enum LossKind {
    /// The database file is missing.
    Removed,
    /// The log or the `-shm` is missing.
    SidecarRemoved,
    Replaced,
    Truncated,
    /// This process has lost its locks on the database, and another process has locked the database exclusively.
    LockedByOther,
    NotLocked(Arc<io::Error>),
    Inaccessible(Arc<io::Error>),
    /// SQLite reports that the file is damaged or is not a database.
    Damaged(Arc<SqliteError>),
}

impl Loss {
    fn new(path: &Path, kind: LossKind) -> Self {
        Self { path: path.to_owned(), kind }
    }

    /// Converts an I/O error to a loss. The error occurred while the database file was checked.
    pub(crate) fn database(path: &Path, error: io::Error) -> Self {
        Self::of_error(path, error, LossKind::Removed)
    }

    /// Converts an I/O error to a loss. The error occurred while the log or the `-shm` was checked.
    pub(crate) fn sidecar(path: &Path, error: io::Error) -> Self {
        Self::of_error(path, error, LossKind::SidecarRemoved)
    }

    fn of_error(path: &Path, error: io::Error, missing: LossKind) -> Self {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        Self::new(path, if is_missing { missing } else { LossKind::Inaccessible(Arc::new(error)) })
    }

    pub(crate) fn replaced(path: &Path) -> Self {
        Self::new(path, LossKind::Replaced)
    }

    pub(crate) fn truncated(path: &Path) -> Self {
        Self::new(path, LossKind::Truncated)
    }

    pub(crate) fn damaged(path: &Path, error: Arc<SqliteError>) -> Self {
        Self::new(path, LossKind::Damaged(error))
    }

    pub(crate) fn locked_by_other(path: &Path) -> Self {
        Self::new(path, LossKind::LockedByOther)
    }

    pub(crate) fn not_locked(path: &Path, error: io::Error) -> Self {
        Self::new(path, LossKind::NotLocked(Arc::new(error)))
    }

    /// Whether the loss is that the log or the `-shm` was removed. The check had found the database itself at its path.
    pub(crate) fn is_of_sidecar(&self) -> bool {
        matches!(self.kind, LossKind::SidecarRemoved)
    }

    /// The error of a call that wrote nothing.
    pub(crate) fn unusable(&self) -> WfeError {
        WfeError::Unusable { path: self.path.clone(), reason: self.reason(), source: self.cause() }
    }

    /// The error of a call whose commit ended before the loss was found.
    pub(crate) fn commit_unknown(&self) -> WfeError {
        let message = format!("{}: {}", self.path.display(), self.reason());
        WfeError::CommitUnknown { message, source: Some(Box::new(self.clone())) }
    }

    /// The text of the error: what happened, and what the operator can do.
    fn reason(&self) -> String {
        let advice = match self.kind {
            LossKind::SidecarRemoved => {
                "stop all programs that have the database open, and start them again; the last program to close it writes the \
                 commits of the removed log into the database, unless another process has created a new log meanwhile"
            }
            LossKind::Damaged(_) | LossKind::Truncated => {
                "stop all programs that have the database open, and restore a backup"
            }
            _ => {
                "stop all programs that have the database open, put the file back or restore a backup, and start them again"
            }
        };
        format!("{}, so nothing more is stored: {advice}", self.kind)
    }

    fn cause(&self) -> Option<Box<dyn Error + Send + Sync>> {
        match &self.kind {
            LossKind::Inaccessible(error) | LossKind::NotLocked(error) => Some(Box::new(Arc::clone(error))),
            LossKind::Damaged(error) => Some(Box::new(Arc::clone(error))),
            _ => None,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)
    }
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed | Self::SidecarRemoved => f.write_str("it was removed or renamed while it was open"),
            Self::Replaced => f.write_str("another file was put in its place while it was open"),
            Self::Truncated => f.write_str("it was emptied or cut short while it was open"),
            Self::LockedByOther => f.write_str(
                "this process lost its locks on the file (the program opened and closed the file itself), and another process \
                 has locked it",
            ),
            Self::NotLocked(error) => write!(f, "it can no longer be locked ({error})"),
            Self::Inaccessible(error) => write!(f, "it can no longer be checked ({error})"),
            Self::Damaged(error) => write!(f, "it was damaged or overwritten ({error})"),
        }
    }
}

impl Error for Loss {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            LossKind::Inaccessible(error) | LossKind::NotLocked(error) => Some(&**error),
            LossKind::Damaged(error) => Some(&**error),
            _ => None,
        }
    }
}
