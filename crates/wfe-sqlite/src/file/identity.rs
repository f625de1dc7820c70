//! The identity of a file, its number of names, and how a file is created.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    path::Path,
};

/// Device and inode.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
pub(crate) fn inode(file: &Metadata) -> Option<(u64, u64)> {
    Some(super::stat::inode(file))
}

/// Outside Unix, locks belong to a handle, and closing another handle does not affect them.
#[cfg(not(unix))]
pub(crate) fn inode(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// How many names (hard links) the file has.
#[cfg(unix)]
pub(crate) fn links(file: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(file)
}

/// Outside Unix, the standard library does not say.
#[cfg(not(unix))]
pub(crate) fn links(_: &Metadata) -> u64 {
    1
}

/// Creates a file that only its owner can read. SQLite gives the files that it creates beside it the same mode.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}
