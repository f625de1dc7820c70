use std::{ops::ControlFlow, time::Duration};

use serde::{Deserialize, Serialize};

/// Follows a long call, and can end it.
///
/// Every closure of this shape is one; so is `()`, which never ends the call:
///
/// ```
/// # use std::ops::ControlFlow;
/// # use wfe_core::traits::Progress;
/// fn follows(progress: &dyn Progress) {}
/// follows(&());
/// follows(&|done: u64, total: Option<u64>| {
///     eprintln!("{done} of {total:?}");
///     ControlFlow::Continue(())
/// });
/// ```
pub trait Progress: Send + Sync {
    /// Called from time to time with how much is done, and how much there is in all, if that is known. The call that
    /// explains the unit is the one that is followed. [`Break`](ControlFlow::Break) ends the followed call with
    /// [`Cancelled`](crate::WfeError::Cancelled).
    fn advanced(&self, done: u64, total: Option<u64>) -> ControlFlow<()>;
}

impl Progress for () {
    fn advanced(&self, _: u64, _: Option<u64>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: Fn(u64, Option<u64>) -> ControlFlow<()> + Send + Sync> Progress for F {
    fn advanced(&self, done: u64, total: Option<u64>) -> ControlFlow<()> {
        self(done, total)
    }
}

/// What a purge or deletion removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PurgeReport {
    /// The number of removed instances. Their pointers, history, subscriptions, errors and commands were
    /// removed too.
    pub instances: u64,
    /// The number of removed events.
    pub events: u64,
    /// The number of all removed rows.
    pub rows: u64,
    /// Whether more remains to be removed, because the call reached its limit. If so, call again.
    pub more: bool,
}

/// How thoroughly a store is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckDepth {
    /// Checks the structure of the store, without comparing its indexes with its tables.
    Quick,
    /// Checks everything, and that the rows of the store fit together.
    #[default]
    Full,
}

/// The result of an integrity check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checkup {
    /// One line for each fault. The list is empty if the store is sound.
    pub faults: Vec<String>,
}

/// The result of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackupReport {
    /// The size of the copy in bytes.
    pub bytes: u64,
    /// The number of instances in the copy.
    pub instances: u64,
}

/// The result of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CompactReport {
    /// The number of bytes that were returned to the file system.
    pub freed_bytes: u64,
}

/// How far a checkpoint goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointMode {
    /// Moves as much of the log into the database as is possible without waiting for anybody.
    #[default]
    Passive,
    /// Waits for readers and writers, moves the whole log, and shortens the log to nothing.
    Truncate,
}

/// The result of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckpointReport {
    /// The number of pages in the log when the checkpoint ended.
    pub log_pages: u64,
    /// How many of them are in the database now.
    pub moved_pages: u64,
    /// Whether a reader or a writer kept the checkpoint from moving the whole log.
    pub was_hindered: bool,
}

/// How large the store is. The numbers of rows are exact for instances that are open, and estimates for all other rows of a
/// large store: they are taken from the numbers that the store gives to rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoreStatistics {
    /// Where the store is: the path of a file, or `:memory:`.
    pub location: String,
    /// The version of the store's schema.
    pub schema_version: u32,
    /// The number of instances that have not ended.
    pub open_instances: u64,
    /// The number of instances, ended or not; an upper bound.
    pub instances: u64,
    /// The number of execution pointers, live ones and those of the history; an upper bound.
    pub pointers: u64,
    /// The number of events, processed or not; an upper bound.
    pub events: u64,
    /// The number of events that are not processed.
    pub unprocessed_events: u64,
    /// The number of subscriptions, open or not; an upper bound.
    pub subscriptions: u64,
    /// The number of scheduled commands; an upper bound.
    pub commands: u64,
    /// The number of stored failures; an upper bound.
    pub errors: u64,
    /// The size of the database in bytes, without its log.
    pub bytes: u64,
    /// The number of bytes in the database that are free for reuse.
    pub free_bytes: u64,
    /// The size of the log in bytes.
    pub log_bytes: u64,
    /// The number of pages in the log that are not in the database yet, if the store can tell.
    pub log_pages: Option<u64>,
    /// For how long the oldest reader of this process has kept its snapshot. `None` means that there is none.
    pub oldest_reader: Option<Duration>,
    /// The number of bytes that are free in the file system of the store, if the store can tell.
    pub disk_free_bytes: Option<u64>,
}
