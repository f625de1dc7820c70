//! Locks on bytes of a file, as SQLite uses them.
//!
//! In WAL mode, each connection of SQLite has a read lock on the SHARED bytes of the database, and one on the byte DMS of
//! its `-shm`. A connection that closes, and gets a write lock on the SHARED bytes, acts as the last one: it removes the
//! log. SQLite's locks are POSIX locks. They belong to the process, and `close` of *any* descriptor of the file releases all
//! of them. Locks of an *open file description* (Linux) belong to one descriptor, and only its own `close` releases them.
//! For other processes they look like one more reader.

use std::{fs::File, io};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};

/// A range of bytes: the first one, and how many.
type Bytes = (libc::off_t, libc::off_t);

/// SQLite's `SHARED_FIRST` and `SHARED_SIZE`, of a database.
pub(super) const SHARED: Bytes = (0x4000_0002, 510);
/// SQLite's `UNIX_SHM_DMS`, of a `-shm`.
pub(super) const DMS: Bytes = (128, 1);

/// What a lock belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The lock belongs to the open file description.
    Description,
    /// The lock belongs to the process. It is taken again before each check, since the program may have lost it.
    Posix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Read,
    Write,
    None,
}

impl Kind {
    /// The better kind that this system may offer.
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

/// Whether another process has locked the bytes.
pub(super) fn is_taken(error: &io::Error) -> bool {
    matches!(errno(error), Errno::EAGAIN | Errno::EACCES)
}

/// Whether the kernel is too old, or the file system lacks locks of open file descriptions.
pub(super) fn is_unknown(error: &io::Error) -> bool {
    matches!(errno(error), Errno::EINVAL | Errno::ENOLCK | Errno::ENOSYS | Errno::EOPNOTSUPP)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

/// Set in a process that a test starts: act as on a system without locks of open file descriptions.
#[cfg(test)]
pub(super) static POSIX_ONLY: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
