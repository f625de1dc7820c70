//! A path relative to the directory, kept as bytes because file names need not be UTF-8.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A file name. It is stored as text if it is valid UTF-8, which keeps the database readable. Otherwise it is stored as
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

impl Name {
    pub fn of(path: &Path) -> Self {
        let bytes = path.as_os_str().as_bytes().to_vec();
        String::from_utf8(bytes).map_or_else(|e| Self::Bytes(e.into_bytes()), Self::Text)
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    pub fn below(&self, dir: &Path) -> PathBuf {
        dir.join(OsStr::from_bytes(self.as_bytes()))
    }
}
