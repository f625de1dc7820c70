//! Reads the WAL index (`-shm`), which shows which parts of the log and the database must exist.
//!
//! The header of the WAL index contains the number of valid frames of the log, and the number of pages of the database
//! (<https://www.sqlite.org/walformat.html#the_wal_index_header>). SQLite writes the log before it updates the header,
//! and updates the header before it truncates the log (in a `TRUNCATE` checkpoint). The header is followed by the
//! number of frames that a checkpoint has copied into the database. SQLite updates this number after it has written the
//! copied pages. So two rules hold while the WAL index does not change:
//!
//! * The header of the log contains the same salts as the header of the WAL index, and the log contains its last valid
//!   frame completely.
//! * Each page of the database is in the database file, or in a valid frame of the log that no checkpoint has copied
//!   yet.
//!
//! The WAL index is read from its file, which SQLite maps into memory. On OpenBSD, a read of the file does not see data
//! that was written through a memory mapping, so WFE does not use the WAL index on that system.

use std::{collections::BTreeSet, fs::File, io, os::unix::fs::FileExt};

use crate::file::log;

const VERSION: u32 = 3_007_000;
/// The offset of the number of commits, and of the checksum of the log's frames up to the last commit.
const CHANGES: usize = 8;
const CHECKSUM: usize = 24;
/// The length of the header, which is stored twice. `BACKFILLED` is the offset of the number of copied frames. `PAGES`
/// is the offset of the page numbers.
const HEADER: usize = 48;
const BACKFILLED: usize = 2 * HEADER;
const PAGES: usize = 136;
/// The length of a block of the WAL index. One half of a block contains the page numbers of `FRAMES` frames, and the
/// other half contains a hash table.
const BLOCK: usize = 32_768;
const FRAMES: usize = 4_096;
/// The offset of the salts in the header of the log.
const SALTS: u64 = 16;

/// The part of the WAL index before the page numbers, as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalIndex([u8; BACKFILLED + 4]);

/// The identity of a log, and the number of its frames that were copied into the database. While the checkpoint stays
/// the same, SQLite has no reason to make the database file longer, or to cut off pages that were copied into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    salts: [u8; 8],
    frames: u32,
}

/// Identifies the last commit in the WAL index. A database in memory always has the default value.
///
/// Each commit that writes raises `changes` by 1 (modulo 2^32). If a process was killed while it wrote the header, the next
/// connection builds the index anew, and `changes` begins at 0 again. So the checksum of all frames of the log up to the
/// last commit is compared too. SQLite compares the whole header, which checkpoints change as well, to learn whether the
/// pages in its cache are up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastCommit {
    pub(crate) changes: u32,
    pub(crate) checksum: [u8; 8],
}

impl WalIndex {
    /// Reads the WAL index. `None` means that SQLite is writing the index at this moment, or that a read on this system
    /// does not see data that was written through a memory mapping.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is too short (`UnexpectedEof`).
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        if cfg!(target_os = "openbsd") {
            return Ok(None);
        }
        let mut bytes = [0; BACKFILLED + 4];
        file.read_exact_at(&mut bytes, 0)?;
        let index = Self(bytes);
        let is_same_twice = bytes[..HEADER] == bytes[HEADER..BACKFILLED];
        Ok((is_same_twice && index.number(0) == VERSION && bytes[12] == 1).then_some(index))
    }

    pub(super) fn last_commit(&self) -> LastCommit {
        let mut checksum = [0; 8];
        checksum.copy_from_slice(&self.0[CHECKSUM..CHECKSUM + 8]);
        LastCommit { changes: self.number(CHANGES), checksum }
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        let mut salts = [0; 8];
        salts.copy_from_slice(&self.0[32..40]);
        Checkpoint { salts, frames: self.number(BACKFILLED) }
    }

    /// The number of valid frames of the log that no checkpoint has copied into the database yet.
    pub(super) fn pending(&self) -> u64 {
        self.frames().saturating_sub(self.number(BACKFILLED)).into()
    }

    /// The number at this offset, in the byte order of this machine.
    fn number(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }

    /// The size of a page in bytes. The largest page size does not fit into the field, and is stored as 1.
    fn page_size(&self) -> u64 {
        match u16::from_ne_bytes([self.0[14], self.0[15]]) {
            1 => 65_536,
            size => size.into(),
        }
    }

    /// The number of valid frames of the log.
    fn frames(&self) -> u32 {
        self.number(16)
    }

    /// The number of pages of the database, including pages that are only in the log. `None` means that no commit was
    /// made since a process opened the database and found an empty log. In that case, the length of the file gives the
    /// number of pages.
    fn pages(&self) -> Option<u32> {
        Some(self.number(20)).filter(|pages| *pages > 0)
    }

    /// Whether a log of this length in bytes lacks a part of its valid frames.
    ///
    /// # Errors
    /// Fails if the log cannot be read.
    pub(super) fn is_log_truncated(&self, log: &File, length: u64) -> io::Result<bool> {
        let frames = u64::from(self.frames());
        if frames == 0 {
            return Ok(false);
        }
        if length < log::HEADER as u64 + frames * (log::FRAME as u64 + self.page_size()) {
            return Ok(true);
        }
        // A log that was emptied and has grown again begins with a hole.
        let mut salts = [0; 8];
        match log.read_exact_at(&mut salts, SALTS) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            read => read.map(|()| salts != self.0[32..40]),
        }
    }

    /// Whether a database file of this length lacks a page that is not in the log either. `before` is the length of the
    /// file when it was last found complete, if known. Both lengths are in bytes.
    ///
    /// # Errors
    /// Fails if the `-shm` cannot be read.
    pub(super) fn is_database_truncated(
        &self,
        shm: &File,
        length: u64,
        before: Option<u64>,
    ) -> io::Result<bool> {
        let Some(pages) = self.pages() else {
            // SQLite had no reason to make the file shorter.
            return Ok(before.is_some_and(|before| length < before));
        };
        let there = length / self.page_size().max(1);
        if there >= u64::from(pages) {
            return Ok(false);
        }
        Ok(log::missing(there, pages, self.page_size(), &self.held(shm)?).is_some())
    }

    /// The pages in those valid frames of the log that no checkpoint has copied into the database yet.
    fn held(&self, shm: &File) -> io::Result<BTreeSet<u32>> {
        let mut pages = Vec::new();
        let mut block = 0;
        while pages.len() < self.frames() as usize {
            let skipped = if block == 0 { PAGES } else { 0 };
            let here = (FRAMES - skipped / 4).min(self.frames() as usize - pages.len());
            let mut bytes = vec![0; 4 * here];
            shm.read_exact_at(&mut bytes, (block * BLOCK + skipped) as u64)?;
            pages.extend(bytes.as_chunks::<4>().0.iter().map(|page| u32::from_ne_bytes(*page)));
            block += 1;
        }
        Ok(pages.into_iter().skip(self.number(BACKFILLED) as usize).collect())
    }
}
