//! Identifies the file at a path.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Device and inode. While a process has a file open, no other file gets the same pair of numbers.
pub(super) type Inode = (u64, u64);

pub(super) fn inode(found: &Metadata) -> Inode {
    (found.dev(), found.ino())
}

pub(super) struct Found {
    pub(super) inode: Inode,
    /// The length of the file in bytes.
    pub(super) length: u64,
}

/// The file at a path. A symbolic link at the path is followed.
pub(super) fn followed(path: &Path) -> io::Result<Found> {
    #[cfg(target_os = "linux")]
    if let Some(found) = timeless::stat(path, timeless::FOLLOWED) {
        return found;
    }
    fs::metadata(path).map(|found| Found { inode: inode(&found), length: found.len() })
}

/// The file at a path. A symbolic link at the path is not followed.
pub(super) fn unfollowed(path: &Path) -> io::Result<Found> {
    #[cfg(target_os = "linux")]
    if let Some(found) = timeless::stat(path, timeless::UNFOLLOWED) {
        return found;
    }
    fs::symlink_metadata(path).map(|found| Found { inode: inode(&found), length: found.len() })
}

/// Reads the identity and the length of a file, but not its timestamps. Since Linux 6.13, if a process has read the
/// timestamps of a file, the next write to this file gives its inode a new timestamp
/// (<https://docs.kernel.org/filesystems/multigrain-ts.html>). Each fsync of the log would then also write the inode of
/// the log, and a commit took a tenth longer because of this.
#[cfg(target_os = "linux")]
mod timeless {
    use std::{io, path::Path};

    use rustix::{
        fs::{AtFlags, CWD, StatxFlags, makedev, statx},
        io::Errno,
    };

    use super::Found;

    pub(super) const FOLLOWED: AtFlags = AtFlags::empty();
    pub(super) const UNFOLLOWED: AtFlags = AtFlags::SYMLINK_NOFOLLOW;

    /// Returns `None` if the operating system lacks the system call `statx`.
    pub(super) fn stat(path: &Path, flags: AtFlags) -> Option<io::Result<Found>> {
        let asked = StatxFlags::INO | StatxFlags::SIZE;
        match statx(CWD, path, flags, asked) {
            Ok(found) => {
                let device = makedev(found.stx_dev_major, found.stx_dev_minor);
                Some(Ok(Found { inode: (device, found.stx_ino), length: found.stx_size }))
            }
            Err(Errno::NOSYS) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}
