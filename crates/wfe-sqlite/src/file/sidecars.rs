//! Opens the files beside a database, and refuses files that are unsafe to use.
//!
//! Any user who may write to the folder can create something else under the names of these files: a link to another
//! user's file, a pipe without a reader, or a file that the user has locked. Therefore no symbolic link is followed,
//! and a file is used only if it is a regular file, has only one hard link, and belongs to the owner of the database. A
//! new file is given to that owner, even if a process of another user creates the file. Otherwise an administrator who
//! opens the database once would create files that the service cannot use.
//!
//! SQLite opens its own three files by their names. It does not follow symbolic links, but it uses any other file at
//! these paths: a hard link to another file, a pipe, or a journal that another program has written. Therefore these
//! files are checked before SQLite opens them.

use std::{
    error::Error,
    fmt,
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use wfe_core::Result;

use crate::{
    error::unusable,
    file::{
        identity,
        sidecar_names::{self, OF_SQLITE},
    },
};

/// How long a file that belongs to another user is checked again before it is refused. An administrator's process may
/// just have created the file, and needs some ten microseconds to give it to the owner of the database.
const HANDOVER: Duration = Duration::from_millis(100);
/// The wait between two checks of such a file.
const PAUSE: Duration = Duration::from_millis(1);

/// The files beside one database.
#[derive(Debug, Clone)]
pub(crate) struct Sidecars {
    /// The path of the database, with symbolic links resolved. The sidecars are beside the file at this path.
    database: PathBuf,
    owner: User,
    /// Whether the files are opened for reading only.
    is_read_only: bool,
}

impl Sidecars {
    /// The sidecars of the database at this path. The caller has already resolved the symbolic links in the path.
    pub(crate) fn of(database: &Path) -> Result<Self> {
        let found = fs::metadata(database).map_err(|error| {
            unusable(database, format!("it cannot be checked ({error})"), Some(Box::new(error)))
        })?;
        Ok(Self { database: database.to_owned(), owner: User::of(&found), is_read_only: false })
    }

    /// The same files, to be opened for reading only.
    pub(crate) fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }

    /// The path of the sidecar with this suffix.
    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        sidecar_names::sidecar_path(&self.database, suffix)
    }

    /// Opens an existing file.
    ///
    /// # Errors
    /// If the file must not be used, returns an error for which [`is_refusal`] is `true`. Otherwise returns the errors
    /// of the operating system.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        self.check(&fs::symlink_metadata(path)?)?;
        match open_unfollowed(path, !self.is_read_only) {
            // The opened file is checked as well: it may have replaced the checked file meanwhile.
            Ok(file) => self.check(&file.metadata()?).map(|()| file),
            Err(error) => self.check(&fs::symlink_metadata(path)?).and(Err(error)),
        }
    }

    /// Creates a file that does not exist yet. Only the owner of the database can read the new file.
    ///
    /// # Errors
    /// Returns the errors of the operating system.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        // The creation fails if anything is at the path, even a symbolic link.
        let file = identity::create(path)?;
        match self.owner.give(&file) {
            Ok(()) => Ok(file),
            Err(error) => {
                // An error of the removal is ignored: the caller gets the first error.
                let _ = remove(&file, path);
                Err(error)
            }
        }
    }

    /// Opens a file, or creates it if it is missing.
    ///
    /// # Errors
    /// Returns the same errors as [`open`](Self::open).
    pub(crate) fn open_or_create(&self, path: &Path) -> io::Result<File> {
        let end = Instant::now() + HANDOVER;
        loop {
            match self.open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if is_refusal(&error) && Instant::now() < end => {
                    thread::sleep(PAUSE);
                    continue;
                }
                result => return result,
            }
            match self.create(path) {
                // Another process has created the file first.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result,
            }
        }
    }

    /// Refuses the database if one of SQLite's own files beside it must not be used. This function is called before
    /// each connection is opened.
    pub(crate) fn check_files_of_sqlite(&self) -> Result<()> {
        for suffix in OF_SQLITE {
            let path = self.path(suffix);
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found,
            };
            found.and_then(|found| self.check(&found)).map_err(|error| {
                let reason = format!("this file of SQLite beside the database must not be used ({error})");
                unusable(&path, reason, Some(Box::new(error)))
            })?;
        }
        Ok(())
    }

    /// Refuses a file unless it is a regular file, has only one hard link, and belongs to the owner of the database.
    fn check(&self, found: &Metadata) -> io::Result<()> {
        let reason = if found.is_symlink() {
            "it is a symbolic link, and WFE follows none beside a database; remove the link".to_owned()
        } else if !found.is_file() {
            "it is not a regular file; remove it".to_owned()
        } else if identity::links(found) > 1 {
            "it has more than one hard link; remove all but one".to_owned()
        } else if let Some(reason) = self.owner.differs(User::of(found)) {
            reason
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::PermissionDenied, Refusal(reason)))
    }
}

/// Whether this error means that the file must not be used, although the operating system would allow its use.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<Refusal>)
}

/// Why a file must not be used.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refusal {}

/// Whether the path still leads to this open file directly, and not through a symbolic link.
pub(crate) fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(!found.is_symlink() && identity::inode(&found) == identity::inode(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes this open file from the path. Returns `false` if the file is no longer at the path. If another process has
/// put a different file at the path, that file stays.
pub(crate) fn remove(file: &File, path: &Path) -> io::Result<bool> {
    if !is_same(file, path)? {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

/// Opens a file. Fails if there is a symbolic link at the path. If there is a pipe at the path, the call opens the pipe
/// and does not block, so the caller must check the kind of the opened file.
fn open_unfollowed(path: &Path, writes: bool) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use nix::fcntl::OFlag;
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    OpenOptions::new().read(true).write(writes).custom_flags(flags).open(path)
}

/// The owner of a file: user and group.
#[derive(Debug, Clone, Copy)]
struct User {
    user: u32,
    group: u32,
}

impl User {
    fn of(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { user: found.uid(), group: found.gid() }
    }

    /// Why a file that belongs to the user `other` must not be used beside a database that belongs to `self`. `None` if
    /// both are the same user.
    fn differs(self, other: Self) -> Option<String> {
        (self.user != other.user).then(|| {
            format!(
                "it belongs to user {}, but the database belongs to user {}; remove it, or change its owner to that of the database",
                other.user, self.user
            )
        })
    }

    /// Makes this user the owner of a new file that another user's process has created. The operating system allows
    /// root to do this.
    fn give(self, file: &File) -> io::Result<()> {
        let maker = Self::of(&file.metadata()?);
        if maker.user == self.user {
            return Ok(());
        }
        std::os::unix::fs::fchown(file, Some(self.user), Some(self.group)).map_err(|error| {
            let reason = format!(
                "the database belongs to user {}, and user {} cannot create files for that owner ({error}); run \
                 the program as the owner of the database, or as root",
                self.user, maker.user
            );
            io::Error::new(error.kind(), reason)
        })
    }
}

/// Whether a process has the database at this path open, according to the lock of the change signal. The result is also
/// `true` while the last process closes the database.
pub(crate) fn is_open_elsewhere(database: &Path) -> io::Result<bool> {
    let path = sidecar_names::sidecar_path(database, sidecar_names::CHANGE_SIGNAL);
    // A file that must not be used is refused later, when this process opens the lock files.
    let change_signal = match fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() => open_unfollowed(&path, false),
        Ok(_) => return Ok(false),
        Err(error) => Err(error),
    };
    let change_signal = match change_signal {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        // The file belongs to another user.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        change_signal => change_signal?,
    };
    match change_signal.try_lock() {
        // The lock is released when the file is closed, at the end of this function.
        Ok(()) => Ok(false),
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// Creates a folder with a database. Returns the folder, and the sidecars of this database.
    fn folder_with_database() -> (tempfile::TempDir, Sidecars) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        fs::write(&database, "").unwrap();
        let sidecars = Sidecars::of(&database).unwrap();
        (folder, sidecars)
    }

    /// Creates each kind of file that must not be used, one kind after the other, and calls `check` for each of them.
    fn each_trap(folder: &Path, trap: &Path, mut check: impl FnMut(&str)) {
        let victim = folder.join("victim");
        fs::write(&victim, "untouched").unwrap();
        let pipe = || nix::unistd::mkfifo(trap, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let traps: [(&str, &dyn Fn()); 5] = [
            ("a link", &|| symlink(&victim, trap).unwrap()),
            ("a link to nothing", &|| symlink(folder.join("nowhere"), trap).unwrap()),
            ("a hard link", &|| fs::hard_link(&victim, trap).unwrap()),
            ("a pipe", &pipe),
            ("a device", &|| symlink("/dev/null", trap).unwrap()),
        ];
        for (name, put) in traps {
            put();
            check(name);
            assert!(fs::symlink_metadata(trap).is_ok(), "{name} is left where it is");
            fs::remove_file(trap).unwrap();
            assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched", "{name}");
            assert!(!folder.join("nowhere").exists());
        }
    }

    #[test]
    fn anything_but_a_regular_file_with_one_name_is_neither_opened_nor_replaced() {
        let (folder, sidecars) = folder_with_database();
        let trap = sidecars.path("-change_signal");
        each_trap(folder.path(), &trap, |name| {
            assert!(is_refusal(&sidecars.open(&trap).unwrap_err()), "{name}");
            assert!(is_refusal(&sidecars.open_or_create(&trap).unwrap_err()), "{name}");
            assert_eq!(sidecars.create(&trap).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{name}");
        });
        sidecars.open_or_create(&trap).unwrap();
    }

    #[test]
    fn a_file_is_not_the_same_through_a_link_and_only_the_same_is_removed() {
        let (folder, sidecars) = folder_with_database();
        let path = sidecars.path("-change_signal");
        let file = sidecars.create(&path).unwrap();
        assert!(is_same(&file, &path).unwrap());
        fs::rename(&path, folder.path().join("moved")).unwrap();
        assert!(!is_same(&file, &path).unwrap());
        symlink(folder.path().join("moved"), &path).unwrap();
        assert!(!is_same(&file, &path).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        assert!(!remove(&file, &path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
        assert!(remove(&file, &folder.path().join("moved")).unwrap());
    }

    #[test]
    fn each_of_sqlites_own_files_is_checked() {
        let (folder, sidecars) = folder_with_database();
        sidecars.check_files_of_sqlite().unwrap();
        for suffix in OF_SQLITE {
            let path = sidecars.path(suffix);
            each_trap(folder.path(), &path, |name| match sidecars.check_files_of_sqlite() {
                Err(wfe_core::WfeError::Unusable { path: named, .. }) => assert_eq!(named, path, "{name}"),
                other => panic!("{name}: {other:?}"),
            });
            fs::write(&path, "").unwrap();
            sidecars.check_files_of_sqlite().unwrap();
        }
    }

    #[test]
    fn a_file_of_another_user_is_not_used() {
        let (_folder, mut sidecars) = folder_with_database();
        let path = sidecars.path("-change_signal");
        sidecars.create(&path).unwrap();
        sidecars.owner.user += 1;
        let error = sidecars.open(&path).unwrap_err();
        let owner = fs::metadata(&path).unwrap().uid();
        assert!(is_refusal(&error) && error.to_string().contains(&format!("user {owner}")), "{error}");
    }
}
