//! Reads the first page of a database before SQLite touches the file. This page identifies the program that the
//! database belongs to, and the version of the schema.
//!
//! After a power cut during a transaction with a rollback journal, it is uncertain which of the written pages have
//! reached the disk: the first page may be missing while other pages are present. The journal beside the file contains
//! the earlier page, and SQLite rolls the transaction back from it. If the file has no first page that identifies a
//! database, the check uses the first page that the rollback will restore.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use wfe_core::{Result, WfeError};

use crate::{
    error::unusable,
    file::{sidecar_names::JOURNAL, sidecars::Sidecars},
    schema,
};

/// How many bytes of the first page are read. The first 100 bytes identify the program that the database belongs to.
/// The next 8 bytes show whether the schema table is empty.
const LENGTH: usize = 108;
/// The first bytes of a journal (<https://www.sqlite.org/fileformat2.html#the_rollback_journal>).
const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// The first page as it will be after SQLite has rolled back an interrupted transaction.
#[derive(Debug, PartialEq, Eq)]
enum Restored {
    /// The file was empty before the transaction.
    Empty,
    /// The beginning of the first page, as it was before the transaction.
    Page(Vec<u8>),
}

/// Refuses a file that is not a database, that belongs to another program, or that a newer version of WFE has written.
/// This check runs before SQLite opens the file: SQLite could create files beside the database, or write into the
/// database when it closes it.
pub(crate) fn check(path: &Path, file: &mut File, sidecars: &Sidecars) -> Result<()> {
    let mut page = Vec::with_capacity(LENGTH);
    let not_read = |error| not_read(path, error);
    file.take(LENGTH as u64).read_to_end(&mut page).map_err(not_read)?;
    match identified(path, &page) {
        Ok(true) => return Ok(()),
        Err(error) => return Err(error),
        Ok(false) => {}
    }
    match restored(sidecars).map_err(|error| not_read_of(sidecars, error))? {
        // Accept the file only if nothing would be lost. Missing pages of the interrupted transaction read as zeros.
        Some(Restored::Empty) if page.len() < LENGTH || page.iter().all(|byte| *byte == 0) => Ok(()),
        Some(Restored::Page(page)) if identified(path, &page)? => Ok(()),
        _ => Err(unusable(path, "it is not a database; choose another file", None)),
    }
}

/// Whether the file is a store, or an empty database that may become a store. `false` means that the file is not a
/// database.
fn identified(path: &Path, page: &[u8]) -> Result<bool> {
    if page.is_empty() {
        return Ok(true);
    }
    // A leaf page without entries.
    let lists_nothing = page.get(100) == Some(&13) && page.get(103..105) == Some(&[0, 0]);
    let integer = |at| number(page, at).map(|number| i64::from(number.cast_signed()));
    match (page.starts_with(b"SQLite format 3\0"), integer(60), integer(68)) {
        // An empty database that a tool has created. The schema is checked again once SQLite has opened the file.
        (true, Some(0), Some(0)) if lists_nothing => Ok(true),
        (true, Some(version), Some(application)) => {
            schema::check_identity(application, version, &path.display().to_string()).map(|()| true)
        }
        _ => Ok(false),
    }
}

/// Reads a number from the bytes of an SQLite file, which are big-endian. `None` means that the bytes end before the
/// number.
pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The first page, as SQLite will restore it from the journal beside the database. `None` if there is no journal,
/// SQLite would not use the journal, or the journal does not contain the first page.
fn restored(sidecars: &Sidecars) -> io::Result<Option<Restored>> {
    let mut journal = match sidecars.open(&sidecars.path(JOURNAL)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        journal => journal?,
    };
    let mut header = Vec::with_capacity(28);
    journal.by_ref().take(28).read_to_end(&mut header)?;
    if !header.starts_with(&MAGIC) {
        return Ok(None);
    }
    let [Some(records), Some(nonce), Some(pages), Some(sector), Some(size)] =
        [8, 12, 16, 20, 24].map(|at| number(&header, at))
    else {
        return Ok(None);
    };
    let is_size = |size: u32, least: u32| size.is_power_of_two() && (least..=65_536).contains(&size);
    if !is_size(sector, 32) || !is_size(size, 512) {
        return Ok(None);
    }
    if pages == 0 {
        return Ok(Some(Restored::Empty));
    }
    // A record consists of the page's number, the page and a checksum. If all bits of the number of records are set,
    // the length of the file decides how many records there are.
    let mut record = vec![0; size as usize + 8];
    let mut at = u64::from(sector);
    for _ in 0..records {
        journal.seek(SeekFrom::Start(at))?;
        // Only the first page is needed. Of each other page, only the number is read.
        match journal.read_exact(&mut record[..4]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        if number(&record, 0) == Some(1) {
            return match journal.read_exact(&mut record[4..]) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(error),
                Ok(()) => {
                    let (page, sum) = record[4..].split_at(size as usize);
                    Ok((number(sum, 0) == Some(checksum(page, nonce)))
                        .then(|| Restored::Page(page[..LENGTH].to_vec())))
                }
            };
        }
        at += record.len() as u64;
    }
    Ok(None)
}

/// The checksum that SQLite stores in the journal for each page: the nonce plus every 200th byte, counted from the end
/// of the page.
fn checksum(page: &[u8], nonce: u32) -> u32 {
    let bytes = (1..).map_while(|step| page.len().checked_sub(step * 200)).filter(|at| *at > 0);
    bytes.fold(nonce, |sum, at| sum.wrapping_add(u32::from(page[at])))
}

fn not_read(path: &Path, error: io::Error) -> WfeError {
    unusable(path, format!("it cannot be read ({error})"), Some(Box::new(error)))
}

fn not_read_of(sidecars: &Sidecars, error: io::Error) -> WfeError {
    not_read(&sidecars.path(JOURNAL), error)
}
