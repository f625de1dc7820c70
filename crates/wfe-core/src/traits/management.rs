use std::path::Path;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Ending, Finished, StepFailure};
use crate::{Result, models::WorkflowStatus};

/// A half-open range of times: `from <= t < until`. If one of the two bounds is `None`, the range has no limit
/// on that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The first time inside the range.
    pub from: Option<DateTime<Utc>>,
    /// The first time after the range.
    pub until: Option<DateTime<Utc>>,
}

/// Selects instances. The default selects all instances. An instance must match every field that is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstanceFilter {
    /// Selects instances with one of these statuses. An empty list selects instances with any status.
    pub status: Vec<WorkflowStatus>,
    /// Selects instances of this definition, whatever its version.
    pub definition_id: Option<String>,
    /// Selects instances of this version of their definition.
    pub version: Option<u32>,
    /// Selects instances with exactly this reference.
    pub reference: Option<String>,
    /// Selects instances that were started in this range.
    pub created: TimeRange,
    /// Selects instances that ended in this range.
    pub completed: TimeRange,
}

/// The position at which a page ends. Pass this cursor to get the next page. Rows that are added or removed
/// between two calls do not cause other rows to be repeated or skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cursor(pub u64);

/// A page of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor for the next page, or `None` if this was the last page.
    pub next: Option<Cursor>,
}

/// An instance without its data and pointers.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSummary {
    /// The id of the instance.
    pub id: String,
    /// The name of the instance.
    pub name: String,
    /// The id of the instance's definition.
    pub definition_id: String,
    /// The version of the instance's definition.
    pub version: u32,
    /// The key with which the caller made the start idempotent, if there was one.
    pub reference: Option<String>,
    /// The status of the instance.
    pub status: WorkflowStatus,
    /// How the instance ended, or `None` if it has not ended.
    pub ending: Option<Ending>,
    /// When the instance was started.
    pub create_time: DateTime<Utc>,
    /// When the instance ended, or `None` if it has not ended.
    pub complete_time: Option<DateTime<Utc>>,
    /// When the instance is due, in milliseconds since the Unix epoch. `None` means that it is not scheduled.
    pub next_execution: Option<i64>,
}

/// How many instances have a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedStatus {
    /// The status.
    pub status: WorkflowStatus,
    /// How many instances have this status.
    pub count: u64,
}

/// A stored failure.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorRecord {
    /// The position of the failure among all failures of the store.
    pub cursor: Cursor,
    /// The failure. A failure that `persist_errors` stored has attempt 0, and has neither step, code nor
    /// causes.
    pub failure: StepFailure,
}

/// What a purge or deletion removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PurgeReport {
    /// The number of removed instances. Their pointers, history, subscriptions, errors and commands were
    /// removed too.
    pub instances: u64,
    /// The number of removed events.
    pub events: u64,
    /// Whether more remains to be removed, because the call reached its limit. If so, call again.
    pub more: bool,
}

/// The result of an integrity check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkup {
    /// One line for each fault. The list is empty if the store is sound.
    pub faults: Vec<String>,
}

/// The result of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactReport {
    /// The number of bytes that were returned to the file system.
    pub freed_bytes: u64,
}

/// How large the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStatistics {
    /// The number of instances.
    pub instances: u64,
    /// The number of live pointers.
    pub pointers: u64,
    /// The number of history rows.
    pub history: u64,
    /// The number of events, processed or not.
    pub events: u64,
    /// The number of open subscriptions.
    pub open_waits: u64,
    /// The number of scheduled commands.
    pub commands: u64,
    /// The number of stored failures.
    pub errors: u64,
    /// The size of the store on disk in bytes, including its log.
    pub bytes: u64,
    /// The number of bytes in the store that are free for reuse.
    pub free_bytes: u64,
}

/// A store's management interface, for operators. All methods may be called while an engine works on the
/// store.
#[async_trait]
pub trait Management: Send + Sync {
    /// A page of the instances that match the filter, oldest first.
    async fn list(
        &self,
        filter: &InstanceFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<InstanceSummary>>;

    /// The number of instances that match the filter, counted separately for each status.
    async fn count(&self, filter: &InstanceFilter) -> Result<Vec<CountedStatus>>;

    /// A page of the stored failures of the instance `id`, oldest first. If `id` is `None`, the page has the
    /// failures of all instances.
    async fn errors(
        &self,
        id: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ErrorRecord>>;

    /// A page of an instance's whole history, in order of completion.
    async fn history(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<Finished>>;

    /// Removes an instance and everything that belongs to it, in one transaction.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](crate::WfeError::WorkflowNotFound): no instance has this id.
    async fn delete(&self, id: &str) -> Result<PurgeReport>;

    /// Removes, in one transaction, up to `limit` instances that have one of these statuses and ended earlier
    /// than `before`. Everything that belongs to these instances is removed too. The statuses must be final.
    ///
    /// # Errors
    /// [`Invalid`](crate::WfeError::Invalid): one of the statuses is not final.
    async fn purge(
        &self,
        status: &[WorkflowStatus],
        before: DateTime<Utc>,
        limit: usize,
    ) -> Result<PurgeReport>;

    /// Removes up to `limit` processed events whose timestamp is earlier than `before`.
    async fn purge_events(&self, before: DateTime<Utc>, limit: usize) -> Result<PurgeReport>;

    /// Writes a consistent copy of the store to the file `target`, which must not exist yet. Use this method
    /// for every store that is in use: a plain copy of the store's files may be inconsistent, and copying the
    /// files can release the store's locks.
    ///
    /// # Errors
    /// [`Unusable`](crate::WfeError::Unusable): the target exists, or cannot be written.
    async fn backup(&self, target: &Path) -> Result<()>;

    /// Reads the whole store and reports all damage.
    async fn check(&self) -> Result<Checkup>;

    /// Returns free space to the file system, in short steps, so that the engine is not delayed.
    async fn compact(&self) -> Result<CompactReport>;

    /// How large the store is.
    async fn statistics(&self) -> Result<StoreStatistics>;
}
