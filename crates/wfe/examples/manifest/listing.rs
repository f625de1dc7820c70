//! Which files the manifest is about: the regular files below DIR, less our own.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

use crate::{name::Name, sums};

/// Files of our own, which are left out wherever they lie.
#[derive(Debug, Clone, Default)]
pub struct Own {
    files: Vec<PathBuf>,
    manifests: Vec<PathBuf>,
    databases: Vec<PathBuf>,
}

impl Own {
    pub fn add_file(&mut self, path: &Path) -> io::Result<()> {
        self.files.push(resolve(path)?);
        Ok(())
    }

    /// The manifest, with what becomes it.
    pub fn add_manifest(&mut self, path: &Path) -> io::Result<()> {
        self.manifests.push(resolve(path)?);
        Ok(())
    }

    /// The database, with everything that SQLite and WFE keep beside it.
    pub fn add_database(&mut self, path: &Path) -> io::Result<()> {
        self.databases.push(resolve(path)?);
        Ok(())
    }

    /// Whether this path, resolved, is one of them.
    pub fn has(&self, path: &Path) -> bool {
        self.files.iter().any(|own| own == path)
            || self.manifests.iter().any(|out| out == path || sums::is_temporary(out, path))
            || self.databases.iter().any(|db| db == path || wfe_sqlite::is_sidecar(db, path))
    }
}

/// The path as a walk below a resolved directory would name it. The file itself need not exist yet.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    if let Ok(real) = fs::canonicalize(path) {
        return Ok(real);
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    Ok(fs::canonicalize(folder)?.join(name))
}

/// The regular files below `dir`, which must be resolved, sorted by the bytes of their paths. Symbolic links are
/// neither followed nor listed.
pub fn list(dir: &Path, own: &Own) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in WalkDir::new(dir).follow_links(false) {
        let entry = match entry {
            Ok(entry) => entry,
            // It vanished between being named by its folder and being looked at: it is not there.
            Err(e) if e.depth() > 0 && e.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => {
                continue;
            }
            Err(e) => {
                let path = e.path().unwrap_or(dir).display().to_string();
                let error = e.into_io_error().unwrap_or_else(|| io::Error::other("it contains itself"));
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
