//! Checks that a write-ahead log belongs to the database beside it.
//!
//! SQLite applies any valid log to the database beside it. It does not check that the log was written for this state of
//! the file. If an older copy replaces the database while the log of the newer database stays beside it, SQLite reads a
//! mixture of both. SQLite often reports the mixture as "malformed", at once or later. Sometimes it reports nothing,
//! and the data is wrong. Two signs show the mixture. Neither sign occurs if the log belongs to the database:
//!
//! * The change counter in the first page is not in the expected range. A transaction that writes the first page raises
//!   the counter. The counter in the database file comes from the last transaction that a checkpoint has copied into
//!   the file. This is either the last transaction before the log began, or a transaction of the log.
//! * A page is missing. Each page of the database is in the log, or was copied into the file before the log began.
//!
//! An older copy with the same length and the same counter cannot be recognised. If the log still contains all commits
//! that were made since the copy, the copy and the log fit together, and the database is accepted.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use wfe_core::{Result, WfeError};

use crate::{
    error::{SqliteError, unusable},
    file::{
        first_page::number,
        sidecar_names::{SHM, WAL},
        sidecars::Sidecars,
    },
};

/// The first four bytes of a log. Their last bit gives the byte order of the log's checksums
/// (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
pub(crate) const HEADER: usize = 32;
/// The length of the header of each frame.
pub(crate) const FRAME: usize = 24;
/// The offset of the write mode in the first page. The mode says whether the database uses a write-ahead log.
const MODE: usize = 18;
/// The offset of the change counter in the first page.
const COUNTER: usize = 24;
/// The offset of the bytes that SQLite uses for its locks. SQLite never writes the page that contains this offset.
const LOCKS: u64 = 0x4000_0000;

/// What a log says about its database, as of the last commit in the log.
#[derive(Debug, PartialEq, Eq)]
struct Log {
    /// Random numbers that change whenever the log starts again from its beginning.
    salts: Vec<u8>,
    /// The checksum of the log up to its last commit.
    sum: (u32, u32),
    /// The size of a page in bytes.
    page: u32,
    /// The numbers of the database pages that the log contains.
    held: BTreeSet<u32>,
    /// The number of pages of the database.
    pages: u32,
    /// The log may contain several copies of the database's first page. These are the change counters in the earliest
    /// and in the latest of these copies.
    counters: Option<(u32, u32)>,
}

/// Refuses a database if the log beside it does not belong to the database. The check changes neither file.
pub(crate) fn check(path: &Path, database: &mut File, sidecars: &Sidecars) -> Result<()> {
    match unfit(database, sidecars) {
        Ok(None) => Ok(()),
        Ok(Some(why)) => {
            let [log, shm] = names(sidecars);
            let reason = format!(
                "the write-ahead log {log} beside it does not belong to it ({why}). Either this file replaced the database that \
                 the log belongs to, or that database was removed. Stop all programs that have the database open. To \
                 continue with this file, move {log} and {shm}, which contain the last commits of the earlier database, \
                 to another folder. To keep those commits, put the earlier database back"
            );
            Err(unusable(path, reason, None))
        }
        Err(error) => {
            let reason = format!("it cannot be read ({error})");
            Err(unusable(&sidecars.path(WAL), reason, Some(Box::new(error))))
        }
    }
}

/// The error for a database that SQLite found to be damaged when it read the database together with the log.
pub(crate) fn damaged(path: &Path, sidecars: &Sidecars, error: SqliteError) -> WfeError {
    let [log, shm] = names(sidecars);
    let reason = format!(
        "SQLite reports damage ({error}) when it reads the database with the write-ahead log {log}. If an older copy has \
         replaced the database, the log does not belong to that copy: stop all programs that have the database open, and \
         either move {log} and {shm}, which contain the last commits, to another folder, or put the earlier database back. \
         If it was not replaced, restore a backup"
    );
    unusable(path, reason, Some(Box::new(error)))
}

fn names(sidecars: &Sidecars) -> [String; 2] {
    [WAL, SHM].map(|suffix| sidecars.path(suffix).display().to_string())
}

/// The parts of a database file that are compared with the log.
struct Database {
    length: u64,
    /// The beginning of the first page, up to the change counter.
    page: Vec<u8>,
}

/// Why the log does not belong to the database. `None` if there is no log, or if nothing shows that the log belongs to
/// another database.
fn unfit(database: &mut File, sidecars: &Sidecars) -> io::Result<Option<String>> {
    match seems_unfit(database, sidecars)? {
        Some((log, why)) if is_unchanged(&log, sidecars)? => Ok(Some(why)),
        _ => Ok(None),
    }
}

fn seems_unfit(database: &mut File, sidecars: &Sidecars) -> io::Result<Option<(Log, String)>> {
    let Some(log) = found(sidecars)? else { return Ok(None) };
    let mut page = Vec::with_capacity(COUNTER + 4);
    database.seek(SeekFrom::Start(0))?;
    database.take(COUNTER as u64 + 4).read_to_end(&mut page)?;
    let why = log.unfit(&Database { length: database.metadata()?.len(), page });
    Ok(why.map(|why| (log, why)))
}

/// Whether the log is still the same as when it was read. The log and the database are read at different times.
/// Meanwhile another process may have written to the log, or may have checkpointed and deleted it. The log can then
/// look as if it did not belong to the database. So this function opens the log by its name again, and compares it with
/// what was read before.
fn is_unchanged(log: &Log, sidecars: &Sidecars) -> io::Result<bool> {
    Ok(found(sidecars)?.as_ref() == Some(log))
}

/// Reads the log beside the database. `None` if there is no log, or no complete commit in the log.
fn found(sidecars: &Sidecars) -> io::Result<Option<Log>> {
    match sidecars.open(&sidecars.path(WAL)) {
        Ok(mut log) => read(&mut log),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Log {
    fn unfit(&self, database: &Database) -> Option<String> {
        if database.length == 0 {
            // SQLite starts a new database, and treats the log as the remains of a removed database.
            return None;
        }
        // SQLite sets the mode to 2 before the first commit in a log.
        if let Some(1) = database.page.get(MODE) {
            return Some("its header does not set WAL mode".to_owned());
        }
        if let (Some((first, last)), Some(counter)) = (self.counters, number(&database.page, COUNTER)) {
            let before = first.wrapping_sub(1);
            // The counters may have wrapped around to zero.
            if counter.wrapping_sub(before) > last.wrapping_sub(before) {
                return Some(format!("its change counter is {counter}, but the log continues from {before}"));
            }
        }
        let page = u64::from(self.page);
        let there = database.length.div_ceil(page);
        let missing = missing(there, self.pages, page, &self.held)?;
        Some(format!(
            "it has {there} pages; the log belongs to a database of {} pages, and does not contain page {missing}",
            self.pages
        ))
    }
}

/// The first missing page of a database that has `pages` pages, of which the file contains the first `there` pages. A
/// page is missing if neither the file nor the log contains it. `page_size` is in bytes.
pub(crate) fn missing(there: u64, pages: u32, page_size: u64, in_log: &BTreeSet<u32>) -> Option<u64> {
    let is_nowhere = |number: &u64| {
        *number != LOCKS / page_size + 1
            && !u32::try_from(*number).is_ok_and(|number| in_log.contains(&number))
    };
    (there + 1..=u64::from(pages)).find(is_nowhere)
}

/// Reads a log as SQLite does, up to the last commit before the first incomplete or invalid frame. `None` if the log
/// has no complete commit.
fn read(log: &mut File) -> io::Result<Option<Log>> {
    let mut header = Vec::with_capacity(HEADER);
    log.seek(SeekFrom::Start(0))?;
    log.take(HEADER as u64).read_to_end(&mut header)?;
    let [Some(magic), Some(version), Some(page)] = [0, 4, 8].map(|at| number(&header, at)) else {
        return Ok(None);
    };
    let is_size = page.is_power_of_two() && (512..=65_536).contains(&page);
    if magic & !1 != MAGIC || version != VERSION || !is_size {
        return Ok(None);
    }
    let mut sum = Sum { big_endian: magic & 1 == 1, value: (0, 0) };
    sum.add(&header[..24]);
    if Some(sum.value) != pair(&header, 24) {
        return Ok(None);
    }
    let mut log = BufReader::with_capacity(1 << 20, log);
    let mut frame = vec![0; FRAME + page as usize];
    let (mut committed, mut counters, mut held, mut since) = (None, None, BTreeSet::new(), Vec::new());
    while whole(&mut log, &mut frame)? {
        let [Some(place), Some(pages)] = [0, 4].map(|at| number(&frame, at)) else { break };
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME..]);
        if place == 0 || frame[8..16] != header[16..24] || Some(sum.value) != pair(&frame, 16) {
            break;
        }
        since.push(place);
        if place == 1
            && let Some(counter) = number(&frame, FRAME + COUNTER)
        {
            counters = Some((counters.map_or(counter, |(first, _)| first), counter));
        }
        if pages > 0 {
            held.extend(since.drain(..));
            committed = Some((pages, counters, sum.value));
        }
    }
    let salts = header[16..24].to_vec();
    Ok(committed.map(|(pages, counters, sum)| Log { salts, sum, page, held, pages, counters }))
}

/// Fills the buffer. `false` means that the file ends before the buffer is full.
fn whole(log: &mut impl Read, frame: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(frame) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn pair(bytes: &[u8], at: usize) -> Option<(u32, u32)> {
    Some((number(bytes, at)?, number(bytes, at + 4)?))
}

/// The running checksum of the header and all frames.
struct Sum {
    big_endian: bool,
    value: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<4>();
        let read = if self.big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let (pairs, _) = words.as_chunks::<2>();
        for [one, other] in pairs {
            self.value.0 = self.value.0.wrapping_add(read(*one)).wrapping_add(self.value.1);
            self.value.1 = self.value.1.wrapping_add(read(*other)).wrapping_add(self.value.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

    async fn insert(connection: &mut SqliteConnection) {
        connection.execute("INSERT INTO t VALUES (1)").await.unwrap();
    }

    #[tokio::test]
    async fn a_log_that_another_process_writes_to_or_deletes_meanwhile_is_not_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (used, path) = (folder.path().join("used.db"), folder.path().join("a.db"));
        let options = SqliteConnectOptions::new().filename(&used).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        connection.execute("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").await.unwrap();
        insert(&mut connection).await;
        let mut bytes = fs::read(&used).unwrap();
        bytes[MODE] = 1;
        fs::write(&path, bytes).unwrap();
        let sidecars = Sidecars::of(&path).unwrap();
        let (from, log) = (folder.path().join("used.db-wal"), sidecars.path(WAL));
        fs::copy(&from, &log).unwrap();
        let mut database = File::open(&path).unwrap();
        let (before, _) = seems_unfit(&mut database, &sidecars).unwrap().unwrap();
        assert!(is_unchanged(&before, &sidecars).unwrap());
        assert!(unfit(&mut database, &sidecars).unwrap().is_some());
        insert(&mut connection).await;
        fs::copy(&from, &log).unwrap();
        assert!(!is_unchanged(&before, &sidecars).unwrap(), "another process has written");
        fs::remove_file(&log).unwrap();
        assert!(!is_unchanged(&before, &sidecars).unwrap(), "another process was the last one to close it");
        connection.close().await.unwrap();
    }
}
