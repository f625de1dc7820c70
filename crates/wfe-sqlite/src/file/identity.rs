//! Reads the identity of a file and the number of its hard links, and creates files.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

/// The device and the inode of a file.
pub(crate) fn inode(file: &Metadata) -> (u64, u64) {
    super::stat::inode(file)
}

/// The number of hard links of the file.
pub(crate) fn links(file: &Metadata) -> u64 {
    file.nlink()
}

/// Creates a file. Only the user who owns the file can read or write it. SQLite gives the files that it creates beside
/// the database the same mode as the database.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}
