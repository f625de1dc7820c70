//! Opens the store, or says which one could be meant. Nothing here makes a database, or upgrades one.

use std::{
    ffi::OsStr,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use wfe::sqlite::{SqliteOptions, SqliteStore};

use crate::failure::{Failure, Result};

/// The id that WFE writes into the header of its databases, and where it stands.
const APPLICATION_ID: [u8; 4] = *b"WFE1";
const HEADER: usize = 100;
const ID_AT: std::ops::Range<usize> = 68..72;
/// So many files of a folder are looked at when the store was not named.
const LOOKED_AT: usize = 10_000;

/// What a command may do to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only look.
    Read,
    /// Act on it.
    Write,
    /// Upgrade its schema.
    Upgrade,
}

/// Opens the store.
pub(crate) async fn open(db: Option<&Path>, access: Access) -> Result<SqliteStore> {
    let options = options(db.ok_or_else(not_named)?);
    let options = match access {
        Access::Read => options.read_only(),
        Access::Write => options.create(false).upgrade(false),
        Access::Upgrade => options.create(false),
    };
    Ok(options.open().await?)
}

fn options(db: &Path) -> SqliteOptions {
    match db.to_str().filter(|text| text.starts_with("sqlite:") || *text == ":memory:") {
        Some(url) => SqliteStore::builder(url),
        None => SqliteStore::file(db),
    }
}

fn not_named() -> Failure {
    let found = databases(Path::new("."));
    let mut text = "name the store, with --db FILE or in WFE_DB".to_owned();
    if found.is_empty() {
        text.push_str("; this folder has none");
    } else {
        text.push_str("; this folder has:");
        for path in found {
            text.push_str("\n  --db ");
            text.push_str(&path.to_string_lossy());
        }
    }
    Failure::usage(text)
}

/// The databases of WFE in this folder, by their names.
fn databases(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .take(LOOKED_AT)
        .filter_map(|entry| Some(PathBuf::from(entry.ok()?.file_name())))
        .filter(|path| !is_beside(path.as_os_str()) && is_database(&folder.join(path)))
        .collect();
    found.sort();
    found
}

fn is_beside(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.ends_with("-wal") || name.ends_with("-shm") || name.ends_with("-journal")
}

/// Whether the file has the header of a database of WFE. Only the header is read.
fn is_database(path: &Path) -> bool {
    if !fs::metadata(path).is_ok_and(|file| file.is_file()) {
        return false;
    }
    let mut header = [0; HEADER];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut header)).is_ok()
        && header.get(ID_AT) == Some(&APPLICATION_ID)
}
