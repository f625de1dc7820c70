//! The format of `sha256sum`, and the atomic replacement of a file.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use crate::name::Name;

/// Formats one line of the manifest. If the name has a backslash, line feed or carriage return, it is escaped, and
/// the line begins with a backslash (GNU coreutils manual, "md5sum invocation").
pub fn line(name: &Name, hash: &str) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.as_bytes().len());
    // `sha256sum -c` would take a file named `-` for standard input.
    if name.as_bytes() == b"-" {
        escaped.extend_from_slice(b"./");
    }
    for &byte in name.as_bytes() {
        match byte {
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            other => escaped.push(other),
        }
    }
    let special = name.as_bytes().iter().any(|b| matches!(b, b'\\' | b'\n' | b'\r'));
    let mut line = Vec::with_capacity(escaped.len() + 68);
    line.extend_from_slice(if special { b"\\" } else { b"" });
    line.extend_from_slice(hash.as_bytes());
    line.extend_from_slice(b"  ");
    line.extend_from_slice(&escaped);
    line.push(b'\n');
    line
}

/// The suffix of the temporary file next to OUT. If several processes write at once, a number follows the suffix.
const TEMPORARY: &str = ".manifest-partial";

/// Whether `other` is a temporary file of OUT. A file with such a name may be overwritten.
pub fn is_temporary(out: &Path, other: &Path) -> bool {
    let (out, other) = (out.as_os_str().as_bytes(), other.as_os_str().as_bytes());
    let number = other.strip_prefix(out).and_then(|rest| rest.strip_prefix(TEMPORARY.as_bytes()));
    number.is_some_and(|number| match number.strip_prefix(b"-") {
        Some(digits) => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        None => number.is_empty(),
    })
}

/// Creates an empty temporary file next to OUT and locks it. As long as it is locked, no other process of this program
/// writes, renames or removes it. The temporary file of a killed process is reused.
fn temporary(out: &Path) -> io::Result<(PathBuf, File)> {
    let mut taken = 0;
    loop {
        let mut path = out.as_os_str().to_owned();
        path.push(TEMPORARY);
        if taken > 0 {
            path.push(format!("-{taken}"));
        }
        let path = PathBuf::from(path);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other(format!(
                "{} is in the way: it is not a regular file",
                path.display()
            )));
        }
        let file = File::options().create(true).write(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) if is_at(&path, &file)? => {
                file.set_len(0)?;
                return Ok((path, file));
            }
            // The file was renamed to OUT or removed before this process locked it.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => taken += 1,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether the path leads to this open file.
fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Checks early whether [`replace`] would fail. Leaves no file behind.
pub fn check_writable(out: &Path) -> io::Result<()> {
    if fs::metadata(out).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let (path, _locked) = temporary(out)?;
    fs::remove_file(path)
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

/// Replaces the contents of `out` with these lines: writes a temporary file, syncs it, and renames it to `out`. After a
/// crash, `out` has either its old contents or the new contents.
pub fn replace(out: &Path, lines: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let cannot_write =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot write {}: {error}", out.display()));
    let (partial, file) = temporary(out).map_err(cannot_write)?;
    write_and_rename(&partial, &file, out, lines).map_err(|error| {
        // The temporary file may keep a full disk full. If removing the file fails too, the first error is more
        // informative.
        if is_at(&partial, &file).unwrap_or(false) {
            fs::remove_file(&partial).ok();
        }
        cannot_write(error)
    })
}

fn write_and_rename(
    partial: &Path,
    file: &File,
    out: &Path,
    lines: impl Iterator<Item = Vec<u8>>,
) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    for line in lines {
        writer.write_all(&line)?;
    }
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(partial, out)?;
    // The rename is durable once the folder is synced.
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
