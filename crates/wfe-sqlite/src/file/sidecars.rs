//! How the files beside a database are opened.
//!
//! Whoever may write to the folder chooses what lies there under their names: a link to another user's file, a pipe
//! that nobody reads, a lock of his own. So none of them is followed through a symbolic link, and none is used unless
//! it is a regular file with one name that belongs to the owner of the database. What is made here belongs to that
//! owner, too, whoever makes it: an administrator's look must not lock the service out.
//!
//! SQLite opens its own three by their names. It follows no symbolic link either, but takes whatever else lies there:
//! a second name of another file, a pipe, a journal that somebody else has written. They are looked at before.

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

/// How long a file that belongs to somebody else is looked at again: an administrator's process is about to give it to
/// the database's owner, which takes it some ten microseconds.
const HANDOVER: Duration = Duration::from_millis(100);
/// The pause between two of these looks.
const PAUSE: Duration = Duration::from_millis(1);

/// The files beside one database.
#[derive(Debug, Clone)]
pub(crate) struct Sidecars {
    /// Links followed: they lie beside the real file.
    database: PathBuf,
    owner: User,
}

impl Sidecars {
    /// Those of the database at this path, links already followed.
    pub(crate) fn of(database: &Path) -> Result<Self> {
        let found = fs::metadata(database).map_err(|error| {
            unusable(database, format!("it cannot be looked at ({error})"), Some(Box::new(error)))
        })?;
        Ok(Self { database: database.to_owned(), owner: User::of(&found) })
    }

    /// The path that ends with this.
    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        sidecar_names::sidecar_path(&self.database, suffix)
    }

    /// Opens a file that is there.
    ///
    /// # Errors
    /// The operating system's; and one of which [`is_refusal`] is true: it is not to be used.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        self.check(&fs::symlink_metadata(path)?)?;
        match open_unfollowed(path) {
            // Whatever took its place meanwhile is looked at, too.
            Ok(file) => self.check(&file.metadata()?).map(|()| file),
            Err(error) => self.check(&fs::symlink_metadata(path)?).and(Err(error)),
        }
    }

    /// Makes a file that is not there, for the owner of the database alone.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        // It fails if there is anything at the path, a link too.
        let file = identity::create(path)?;
        match self.owner.give(&file) {
            Ok(()) => Ok(file),
            Err(error) => {
                // The first error is what matters.
                let _ = remove(&file, path);
                Err(error)
            }
        }
    }

    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
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
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result,
            }
        }
    }

    /// Refuses the database if one of SQLite's own files beside it must not be used. Before each connection.
    pub(crate) fn check_files_of_sqlite(&self) -> Result<()> {
        for suffix in OF_SQLITE {
            let path = self.path(suffix);
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found,
            };
            found.and_then(|found| self.check(&found)).map_err(|error| {
                let reason = format!("this file of SQLite's beside the database must not be used ({error})");
                unusable(&path, reason, Some(Box::new(error)))
            })?;
        }
        Ok(())
    }

    /// Refuses what is not a regular file with one name that belongs to the owner of the database.
    fn check(&self, found: &Metadata) -> io::Result<()> {
        let reason = if found.is_symlink() {
            "it is a symbolic link, and none is followed there; remove it".to_owned()
        } else if !found.is_file() {
            "it is not a regular file; remove it".to_owned()
        } else if identity::links(found) > 1 {
            "it has more than one hard link; remove the others, or this one".to_owned()
        } else if let Some(reason) = self.owner.differs(User::of(found)) {
            reason
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::PermissionDenied, Refusal(reason)))
    }
}

/// Whether this error says that what was found must not be used, whatever the operating system allows.
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

/// Whether the path still leads to this open file, itself and not through a link. Elsewhere than on Unix an open file
/// cannot be removed.
pub(crate) fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(!found.is_symlink() && identity::inode(&found) == identity::inode(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes this open file, if it is still what lies at the path; whether it was. What somebody else has put there stays.
pub(crate) fn remove(file: &File, path: &Path) -> io::Result<bool> {
    if !is_same(file, path)? {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

/// Opens a file, but not through a symbolic link. A pipe is opened at once, too: look at what was opened.
#[cfg(unix)]
pub(crate) fn open_unfollowed(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use nix::fcntl::OFlag;
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
pub(crate) fn open_unfollowed(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Whom a file belongs to: a user, and a group.
#[cfg(unix)]
#[derive(Debug, Clone, Copy)]
struct User {
    user: u32,
    group: u32,
}

#[cfg(unix)]
impl User {
    fn of(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { user: found.uid(), group: found.gid() }
    }

    /// Why a file of another user's is not to be used beside one of this user's; `None`: it is the same user.
    fn differs(self, other: Self) -> Option<String> {
        (self.user != other.user).then(|| {
            format!(
                "it belongs to user {}, and the database to user {}; remove it, or give it to the database's owner",
                other.user, self.user
            )
        })
    }

    /// Gives this user a file that was made just now, if whoever made it is another one: root can.
    fn give(self, file: &File) -> io::Result<()> {
        let maker = Self::of(&file.metadata()?);
        if maker.user == self.user {
            return Ok(());
        }
        std::os::unix::fs::fchown(file, Some(self.user), Some(self.group)).map_err(|error| {
            let reason = format!(
                "the database belongs to user {}, for whom user {} can make no file beside it ({error}); run the program \
                 as that user, or as root",
                self.user, maker.user
            );
            io::Error::new(error.kind(), reason)
        })
    }
}

/// Elsewhere the standard library does not tell.
#[cfg(not(unix))]
#[derive(Debug, Clone, Copy)]
struct User;

#[cfg(not(unix))]
impl User {
    fn of(_: &Metadata) -> Self {
        Self
    }

    fn differs(self, _: Self) -> Option<String> {
        None
    }

    #[expect(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
    fn give(self, _: &File) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
/// Whether somebody has the database at this path open, as far as his lock tells; also while the last one is leaving.
pub(crate) fn is_open_elsewhere(database: &Path) -> io::Result<bool> {
    let path = sidecar_names::sidecar_path(database, sidecar_names::CHANGE_SIGNAL);
    // Whatever must not be used is refused by whoever joins.
    let change_signal = match fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() => open_unfollowed(&path),
        Ok(_) => return Ok(false),
        Err(error) => Err(error),
    };
    let change_signal = match change_signal {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        // Another user's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        change_signal => change_signal?,
    };
    match change_signal.try_lock() {
        // Given back when it is closed, at once.
        Ok(()) => Ok(false),
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// A folder with a database, and its sidecars.
    fn folder_with_database() -> (tempfile::TempDir, Sidecars) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        fs::write(&database, "").unwrap();
        let sidecars = Sidecars::of(&database).unwrap();
        (folder, sidecars)
    }

    /// Puts each thing there that must not be used, one after the other.
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
    fn what_is_no_regular_file_with_one_name_is_neither_opened_nor_replaced() {
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
    fn each_of_sqlites_own_files_is_looked_at() {
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
    fn another_users_file_is_not_used() {
        let (_folder, mut sidecars) = folder_with_database();
        let path = sidecars.path("-change_signal");
        sidecars.create(&path).unwrap();
        sidecars.owner.user += 1;
        let error = sidecars.open(&path).unwrap_err();
        let owner = fs::metadata(&path).unwrap().uid();
        assert!(is_refusal(&error) && error.to_string().contains(&format!("user {owner}")), "{error}");
    }
}
