//! The format of `sha256sum`, and a file that is there either whole or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use crate::name::Name;

/// One line of the manifest. A backslash, line feed or carriage return in the name is escaped, and the line then
/// begins with a backslash (GNU coreutils manual, "md5sum invocation").
pub fn line(name: &Name, hash: &str) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.as_bytes().len());
    // Alone, `-` would be standard input to `sha256sum -c`.
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

/// The file beside OUT that becomes OUT. Whatever has this name is ours to replace.
pub fn temporary(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".manifest-partial");
    name.into()
}

/// Fails now, and leaves nothing behind, where [`replace`] would fail later.
pub fn check_writable(out: &Path) -> io::Result<()> {
    match fs::metadata(out) {
        Ok(found) if !found.is_file() => Err(io::Error::other("it is not a regular file")),
        _ => check_appendable(&temporary(out)),
    }
}

/// Fails now, and leaves nothing behind, where opening the file to append would fail later.
pub fn check_appendable(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
        return Err(io::Error::other("it is a pipe, and opening it would wait for a reader"));
    }
    let fresh = fs::symlink_metadata(path).is_err();
    File::options().create(true).append(true).open(path)?;
    if fresh { fs::remove_file(path) } else { Ok(()) }
}

/// Puts the lines at `out` by temporary file, fsync and rename: a crash leaves the old file or the new one.
pub fn replace(out: &Path, lines: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let partial = temporary(out);
    write_and_rename(&partial, out, lines).map_err(|error| {
        // It may keep a full disk full. Not there, or not to be removed: the first error says more.
        fs::remove_file(&partial).ok();
        io::Error::new(error.kind(), format!("cannot write {}: {error}", out.display()))
    })
}

fn write_and_rename(partial: &Path, out: &Path, lines: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(partial)?);
    for line in lines {
        file.write_all(&line)?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(partial, out)?;
    // The rename itself is durable once the folder is.
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
