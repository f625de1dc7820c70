//! Locks ranges of bytes in a file, as SQLite does.
//!
//! In WAL mode, each SQLite connection has a read lock on the SHARED bytes of the database, and a read lock on the DMS
//! byte of its `-shm`. A closing connection that gets a write lock on the SHARED bytes acts as the last connection: it
//! removes the log. SQLite's locks are POSIX locks. A POSIX lock belongs to a process. If the process closes *any* of
//! its descriptors of a file, all its POSIX locks on this file are released. An *open file description lock* (OFD lock,
//! Linux) belongs to one open file description, and closing other descriptors of the file does not release it. To other
//! processes, an OFD lock looks like one more reader.

use std::{fs::File, io};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};

/// A range of bytes: the offset of the first byte, and the length.
type Bytes = (libc::off_t, libc::off_t);

/// SQLite's `SHARED_FIRST` and `SHARED_SIZE`: the SHARED bytes of a database.
pub(super) const SHARED: Bytes = (0x4000_0002, 510);
/// SQLite's `UNIX_SHM_DMS`: the DMS byte of a `-shm`.
pub(super) const DMS: Bytes = (128, 1);

/// The owner of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The lock belongs to the open file description.
    Description,
    /// The lock belongs to the process. It is taken again before each check, because the program may have released it
    /// by closing another descriptor of the file.
    Posix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Read,
    Write,
    None,
}

impl Kind {
    /// OFD locks if this system may support them, otherwise POSIX locks.
    pub(super) fn best() -> Self {
        #[cfg(test)]
        if POSIX_ONLY.load(std::sync::atomic::Ordering::Relaxed) {
            return Self::Posix;
        }
        if cfg!(all(any(target_os = "linux", target_os = "android"), target_pointer_width = "64")) {
            Self::Description
        } else {
            Self::Posix
        }
    }

    /// Takes or releases a lock, without waiting.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::unnecessary_cast,
        reason = "the constants fit; their types differ between systems"
    )]
    pub(super) fn set(self, file: &File, (start, length): Bytes, lock: Lock) -> io::Result<()> {
        let kind = match lock {
            Lock::Read => libc::F_RDLCK,
            Lock::Write => libc::F_WRLCK,
            Lock::None => libc::F_UNLCK,
        };
        let lock = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: start,
            l_len: length,
            l_pid: 0,
            #[cfg(target_os = "freebsd")]
            l_sysid: 0,
        };
        let done = match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Self::Description => fcntl(file, FcntlArg::F_OFD_SETLK(&lock)),
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            Self::Description => Err(Errno::ENOSYS),
            Self::Posix => fcntl(file, FcntlArg::F_SETLK(&lock)),
        };
        done.map(drop).map_err(io::Error::from)
    }
}

/// Whether the error means that another process has locked the bytes.
pub(super) fn is_taken(error: &io::Error) -> bool {
    matches!(errno(error), Errno::EAGAIN | Errno::EACCES)
}

/// Whether the error means that the kernel or the file system does not support open file description (OFD) locks.
pub(super) fn is_unknown(error: &io::Error) -> bool {
    matches!(errno(error), Errno::EINVAL | Errno::ENOLCK | Errno::ENOSYS | Errno::EOPNOTSUPP)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

/// Set in a process that a test starts. The process then behaves as it would on a system that has no open file
/// description (OFD) locks.
#[cfg(test)]
pub(super) static POSIX_ONLY: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
