//! Reads the identity of a file and the number of its hard links, and creates files.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    path::Path,
};

/// The device and the inode of a file.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
pub(crate) fn inode(file: &Metadata) -> Option<(u64, u64)> {
    Some(super::stat::inode(file))
}

/// Returns `None`. Outside Unix, a lock belongs to one handle of a file, and closing another handle of the file does
/// not release the lock.
#[cfg(not(unix))]
pub(crate) fn inode(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// The number of hard links of the file.
#[cfg(unix)]
pub(crate) fn links(file: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(file)
}

/// Outside Unix, the standard library does not report the number of hard links.
#[cfg(not(unix))]
pub(crate) fn links(_: &Metadata) -> u64 {
    1
}

/// Creates a file. On Unix, only the user who owns the file can read or write it. SQLite gives the files that it
/// creates beside the database the same mode as the database.
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
