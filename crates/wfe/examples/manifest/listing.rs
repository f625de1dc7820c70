//! The files of the manifest: the regular files below DIR, without the program's own files.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use walkdir::WalkDir;

use super::{name::Name, sums};

/// The program's own files, as resolved paths. The manifest never contains them, wherever they are.
#[derive(Debug, Clone, Default)]
pub struct Own {
    pub db: PathBuf,
    pub out: PathBuf,
    pub log: Option<PathBuf>,
}

impl Own {
    /// Whether this path is one of the program's own files.
    pub fn has(&self, path: &Path) -> bool {
        self.is_of_db(path) || self.is_of_out(path) || self.log.as_deref() == Some(path)
    }

    /// Whether this path is the database, or a file that SQLite or WFE keeps next to it.
    pub fn is_of_db(&self, path: &Path) -> bool {
        path == self.db || wfe::sqlite::is_sidecar(&self.db, path)
    }

    /// Whether this path is the manifest, or one of its temporary files.
    pub fn is_of_out(&self, path: &Path) -> bool {
        path == self.out || sums::is_temporary(&self.out, path)
    }
}

/// Resolves a path to the form in which a walk of a resolved directory returns it. The file need not exist yet.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    if let Ok(real) = fs::canonicalize(path) {
        return Ok(real);
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| io::Error::other("not the path of a file"))?;
    Ok(fs::canonicalize(folder)?.join(name))
}

/// Lists the regular files below `dir`, which must be resolved. They are sorted by the bytes of their paths. Symbolic
/// links are neither followed nor listed.
pub fn list(dir: &Path, own: &Own) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in WalkDir::new(dir).follow_links(false) {
        let entry = match entry {
            Ok(entry) => entry,
            // The file was removed while the directory was being listed.
            Err(e) if e.depth() > 0 && e.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => {
                continue;
            }
            Err(e) => {
                let path = e.path().unwrap_or(dir).display().to_string();
                let error =
                    e.into_io_error().unwrap_or_else(|| io::Error::other("the folder contains itself"));
                return Err(io::Error::new(error.kind(), format!("cannot list {path}: {error}")));
            }
        };
        if entry.file_type().is_file()
            && !own.has(entry.path())
            && let Ok(relative) = entry.path().strip_prefix(dir)
        {
            names.push(Name::of(relative));
        }
    }
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

/// When a file or its attributes were last changed. Also a copy that keeps the time of the original counts as a change.
/// `None`: the file was removed, or the time is out of range.
pub fn changed_at(path: &Path) -> io::Result<Option<DateTime<Utc>>> {
    match fs::symlink_metadata(path) {
        Ok(found) => {
            let nanos = u32::try_from(found.ctime_nsec()).unwrap_or(0);
            Ok(DateTime::from_timestamp(found.ctime(), nanos))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
