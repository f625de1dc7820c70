use std::path::Path;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Ending, Finished, StepFailure};
use crate::{Result, models::WorkflowStatus};

/// A half-open range of times: `from <= t < until`. `None` leaves that side open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The first time inside.
    pub from: Option<DateTime<Utc>>,
    /// The first time after.
    pub until: Option<DateTime<Utc>>,
}

/// Selects instances. The default selects all; every field that is set must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstanceFilter {
    /// With one of these statuses; empty: with any.
    pub status: Vec<WorkflowStatus>,
    /// Of this definition, whatever its version.
    pub definition_id: Option<String>,
    /// Of this version.
    pub version: Option<u32>,
    /// With exactly this reference.
    pub reference: Option<String>,
    /// Started in this range.
    pub created: TimeRange,
    /// Ended in this range.
    pub completed: TimeRange,
}

/// The position of a page's end: pass it to get the next page. Rows that are added or removed in between
/// neither repeat nor hide others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor(pub u64);

/// A page of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None`: this was the last page.
    pub next: Option<Cursor>,
}

/// An instance without its data and pointers.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its definition.
    pub definition_id: String,
    /// The definition's version.
    pub version: u32,
    /// The caller's key.
    pub reference: Option<String>,
    /// Its status.
    pub status: WorkflowStatus,
    /// How it ended; `None`: it has not.
    pub ending: Option<Ending>,
    /// When it was started.
    pub create_time: DateTime<Utc>,
    /// When it ended; `None`: it has not.
    pub complete_time: Option<DateTime<Utc>>,
    /// When it is due, in milliseconds since the Unix epoch; `None`: not scheduled.
    pub next_execution: Option<i64>,
}

/// How many instances have a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedStatus {
    /// The status.
    pub status: WorkflowStatus,
    /// How many.
    pub count: u64,
}

/// A stored failure.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorRecord {
    /// Its place among all failures of the store.
    pub cursor: Cursor,
    /// The failure. One stored by `persist_errors` has attempt 0, and neither step, code nor causes.
    pub failure: StepFailure,
}

/// What a purge or deletion removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PurgeReport {
    /// Instances, with their pointers, history, subscriptions, errors and commands.
    pub instances: u64,
    /// Events.
    pub events: u64,
    /// Whether more remains than one batch may remove: call again.
    pub more: bool,
}

/// What an integrity check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkup {
    /// One line for each fault; empty: the store is sound.
    pub faults: Vec<String>,
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactReport {
    /// Bytes given back to the file system.
    pub freed_bytes: u64,
}

/// How large the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStatistics {
    /// Instances.
    pub instances: u64,
    /// Live pointers.
    pub pointers: u64,
    /// History rows.
    pub history: u64,
    /// Events, processed or not.
    pub events: u64,
    /// Open subscriptions.
    pub open_waits: u64,
    /// Scheduled commands.
    pub commands: u64,
    /// Stored failures.
    pub errors: u64,
    /// Bytes of the store on disk, its log included.
    pub bytes: u64,
    /// Bytes in it that are free for reuse.
    pub free_bytes: u64,
}

/// A store's management interface, for operators. All of it may run while an engine works on the store.
#[async_trait]
pub trait Management: Send + Sync {
    /// A page of instances that match, oldest first.
    async fn list(
        &self,
        filter: &InstanceFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<InstanceSummary>>;

    /// How many instances match, by status.
    async fn count(&self, filter: &InstanceFilter) -> Result<Vec<CountedStatus>>;

    /// A page of the stored failures of one instance (`None`: of all), oldest first.
    async fn errors(
        &self,
        id: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ErrorRecord>>;

    /// A page of an instance's whole history, in order of completion.
    async fn history(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<Finished>>;

    /// Removes an instance with all that belongs to it, in one transaction.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](crate::WfeError::WorkflowNotFound): no instance has this id.
    async fn delete(&self, id: &str) -> Result<PurgeReport>;

    /// Removes up to `limit` instances that ended before `before` with one of these statuses (which must be
    /// final), each with all that belongs to it, in one transaction.
    ///
    /// # Errors
    /// [`Invalid`](crate::WfeError::Invalid): a status that is not final.
    async fn purge(
        &self,
        status: &[WorkflowStatus],
        before: DateTime<Utc>,
        limit: usize,
    ) -> Result<PurgeReport>;

    /// Removes up to `limit` processed events dated before `before`.
    async fn purge_events(&self, before: DateTime<Utc>, limit: usize) -> Result<PurgeReport>;

    /// Writes a consistent copy of the store to `target`, which must not exist. Use it for every store that is
    /// in use: a copy of its files may be inconsistent, and copying can release the store's locks.
    ///
    /// # Errors
    /// [`Unusable`](crate::WfeError::Unusable): the target exists, or cannot be written.
    async fn backup(&self, target: &Path) -> Result<()>;

    /// Reads all of the store and reports what is damaged.
    async fn check(&self) -> Result<Checkup>;

    /// Returns free space to the file system, in steps short enough not to delay the engine.
    async fn compact(&self) -> Result<CompactReport>;

    /// How large the store is.
    async fn statistics(&self) -> Result<StoreStatistics>;
}
