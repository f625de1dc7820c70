//! Which file it is, under how many names, and how one is made.

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

/// Elsewhere locks belong to a handle, and closing another one does them no harm.
#[cfg(not(unix))]
pub(crate) fn inode(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Under how many names the file can be found.
#[cfg(unix)]
pub(crate) fn links(file: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(file)
}

/// Elsewhere the standard library does not tell.
#[cfg(not(unix))]
pub(crate) fn links(_: &Metadata) -> u64 {
    1
}

/// A new file, readable by its owner only; what SQLite makes beside it gets the same mode.
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
