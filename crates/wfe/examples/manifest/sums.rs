//! The format of `sha256sum`, and the atomic replacement of a file.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::FileTypeExt},
    path::Path,
};

use tempfile::{Builder, NamedTempFile};

use super::name::Name;

/// Formats one line of the manifest. If the name has a backslash, line feed or carriage return, it is escaped, and
/// the line begins with a backslash (GNU coreutils manual, "md5sum invocation").
pub fn line(name: &Name, hash: &str) -> Vec<u8> {
    let mut line = format!("{hash}  ").into_bytes();
    // `sha256sum -c` would take a file named `-` for standard input.
    if name.as_bytes() == b"-" {
        line.extend_from_slice(b"./");
    }
    for &byte in name.as_bytes() {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            other => line.push(other),
        }
    }
    if name.as_bytes().iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r')) {
        line.insert(0, b'\\');
    }
    line.push(b'\n');
    line
}

/// The suffix of the temporary files next to OUT. A random part follows it.
const TEMPORARY: &str = ".manifest-partial";

/// Whether `other` is a temporary file of OUT. A file with such a name may be removed.
pub fn is_temporary(out: &Path, other: &Path) -> bool {
    let (out, other) = (out.as_os_str().as_bytes(), other.as_os_str().as_bytes());
    let random = other.strip_prefix(out).and_then(|rest| rest.strip_prefix(TEMPORARY.as_bytes()));
    random.is_some_and(|random| match random.strip_prefix(b"-") {
        Some(random) => !random.is_empty() && random.iter().all(u8::is_ascii_alphanumeric),
        None => random.is_empty(),
    })
}

/// Creates an empty temporary file next to OUT and locks it. As long as it is locked, no other process of this program
/// removes it.
fn temporary(out: &Path) -> io::Result<NamedTempFile> {
    let folder = folder(out);
    remove_leftovers(out, folder);
    let mut prefix = out.file_name().unwrap_or_default().to_owned();
    prefix.push(TEMPORARY);
    prefix.push("-");
    loop {
        // `create_new` gives the file the permissions of any other new file. Those of `tempfile` would be stricter.
        let file = Builder::new().prefix(&prefix).make_in(folder, |path| File::create_new(path))?;
        file.as_file().lock()?;
        // Another process may have removed the file before this process locked it.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes the temporary files that killed processes have left: those that no process has locked. A leftover that cannot
/// be removed does no harm.
fn remove_leftovers(out: &Path, folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if is_temporary(out, &path)
            && entry.file_type().is_ok_and(|found| found.is_file())
            && let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            fs::remove_file(path).ok();
        }
    }
}

/// The folder of OUT, which is a resolved path and therefore has a parent.
fn folder(out: &Path) -> &Path {
    out.parent().unwrap_or(out)
}

/// Checks early whether [`replace`] would fail. Leaves no file behind.
pub fn check_writable(out: &Path) -> io::Result<()> {
    if fs::metadata(out).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    temporary(out).map(drop)
}

/// Replaces the contents of `out`: writes a temporary file, syncs it, and renames it to `out`. After a crash, `out` has
/// either its old contents or the new contents. After a failure, the temporary file is removed.
pub fn replace(out: &Path, text: &[u8]) -> io::Result<()> {
    let replace = || {
        let file = temporary(out)?;
        file.as_file().write_all(text)?;
        file.as_file().sync_all()?;
        file.persist(out)?;
        // The rename is durable once the folder is synced.
        File::open(folder(out))?.sync_all()
    };
    replace().map_err(|error: io::Error| {
        io::Error::new(error.kind(), format!("cannot write {}: {error}", out.display()))
    })
}

/// Opens a file to append to it. The second value says whether the file was created.
pub fn open_to_append(path: &Path) -> io::Result<(File, bool)> {
    if fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
        return Err(io::Error::other("it is a pipe, and opening it would wait for a reader"));
    }
    match File::options().create_new(true).append(true).open(path) {
        // If the path is a symbolic link whose target does not exist, this creates the target.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((File::options().create(true).append(true).open(path)?, false))
        }
        made => Ok((made?, true)),
    }
}
