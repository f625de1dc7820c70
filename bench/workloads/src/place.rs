//! Where a subject keeps its data.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::Done;

#[derive(Debug, Clone)]
pub struct Place {
    path: Option<PathBuf>,
    keeps_copies: bool,
}

impl Place {
    /// A database file, with full durability.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), keeps_copies: true }
    }

    /// A database in the memory of this process.
    pub fn memory() -> Self {
        Self { path: None, keeps_copies: true }
    }

    /// The same place for a subject that keeps no copies of what it has read or written, so that each load reads all rows.
    #[must_use]
    pub fn without_copies(self) -> Self {
        Self { keeps_copies: false, ..self }
    }

    /// `None`: the place is in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub fn keeps_copies(&self) -> bool {
        self.keeps_copies
    }

    /// The path of the file, for subjects that have no database in memory.
    pub fn on_disk(&self) -> Done<&Path> {
        self.path().ok_or_else(|| "this subject has no database in memory".into())
    }

    /// A copy of this closed database in another folder. Its log must be empty: a closed database has everything in the file.
    pub fn copied_into(&self, folder: &Path) -> Done<Self> {
        let from = self.on_disk()?;
        let mut log = from.as_os_str().to_owned();
        log.push("-wal");
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            return Err(format!("{} has a log, so its subject has not closed it", from.display()).into());
        }
        let to = folder.join("run.db");
        fs::copy(from, &to)?;
        // Otherwise the run would pay for writing the copy to the disk.
        fs::File::open(&to)?.sync_all()?;
        Ok(Self { path: Some(to), ..self.clone() })
    }
}
