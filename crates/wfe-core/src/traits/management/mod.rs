//! What an operator asks a store, and does to it.

mod action;
mod audit;
mod finding;
mod host_card;
mod listing;
mod query;
mod upkeep;
mod words;

use std::{collections::BTreeMap, path::Path, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream, stream::BoxStream};
use serde::{Deserialize, Serialize, Serializer};

pub use action::{Acted, Action};
pub use audit::{AUDIT, Audit, AuditFilter, AuditRecord, DEFINITION, Face};
pub use finding::{Finding, Weight};
pub use host_card::{Host, HostCard, RunningBody};
pub use listing::{
    Cause, Count, EndedCount, EventFilter, FailureGroup, InstanceSummary, OpenCount, OpenWait, StepCount,
    StoredEvent, StoredOutline, TaskCount, WaitSummary, Window,
};
pub use query::{
    InstanceState, ListCursor, MAX_QUERY_ATTRIBUTES, MAX_SEARCH_BYTES, Order, PurgeFilter, Query, TextMatch,
    TimeRange, WaitFilter,
};
pub use upkeep::{
    BackupReport, CheckDepth, CheckpointMode, CheckpointReport, Checkup, CompactReport, Progress,
    PurgeReport, StoreStatistics,
};

use super::{Finished, OWN_NAMES, StepFailure};
use crate::Result;
#[cfg(doc)]
use crate::WfeError::{
    AlreadyExists, Busy, Cancelled, Invalid, SubscriptionNotFound, Unsupported, Unusable, WorkflowNotFound,
};

/// The position at which a page ends. Pass this cursor to get the next page. Rows that are added or removed
/// between two calls do not cause other rows to be repeated or skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor(pub u64);

/// A page of a listing. Its JSON: `{"rows": [ … ], "next": 17}`; `next` is left out on the last page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor for the next page, or `None` if this was the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// A stored failure. Its JSON is that of the [`StepFailure`], with the id of the instance and the cursor:
///
/// ```json
/// {
///   "instance": "0193…", "step": "pay", "attempt": 3, "code": "error", "message": "the bank is closed",
///   "time": "2026-01-05T08:00:00Z", "pointer": "pay", "cursor": 17
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorRecord {
    /// The position of the failure among all failures of the store.
    pub cursor: Cursor,
    /// The failure. A failure that `persist_errors` stored has attempt 0, and has neither step, code nor
    /// causes.
    pub failure: StepFailure,
}

impl Serialize for ErrorRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'r> {
            instance: &'r str,
            #[serde(flatten)]
            failure: &'r StepFailure,
            cursor: Cursor,
        }
        let Self { cursor, failure } = self;
        Shown { instance: &failure.error.workflow_id, failure, cursor: *cursor }.serialize(serializer)
    }
}

/// The highest number of rows of one page. A higher `limit` counts as this one.
pub const MAX_PAGE: usize = 500;
/// The number of rows that a store looks at in one call at most, so that no question of an operator delays the engine, or
/// keeps the log of the store from being checkpointed.
pub const MAX_ROWS: u64 = 20_000;

/// A store's management interface, for operators. All methods may be called while an engine works on the
/// store, and none needs the definitions of the instances.
///
/// The reads write nothing and read one snapshot each. A read looks at [`MAX_ROWS`] rows at most, so its cost does not grow
/// with the number of stored instances. A row that does not decode is logged and left out of a listing; reading it by
/// its id reports the error.
///
/// An instance that is being removed, because a [`delete`](Self::delete) or a [`purge`](Self::purge) has begun, is in no
/// listing and no count.
///
/// # Errors
/// Every method can return the errors of the store: [`Busy`], [`Unusable`] and others. A cursor of another query, or of
/// another store, gives another part of the listing, not an error.
#[async_trait]
pub trait Management: Send + Sync {
    /// A page of the instances that the query selects, in its order. `as_at` decides which instances are due.
    ///
    /// # Errors
    /// [`Invalid`]: see [`Query::check`].
    async fn list(
        &self,
        query: &Query,
        as_at: DateTime<Utc>,
        after: Option<ListCursor>,
        limit: usize,
    ) -> Result<Window<InstanceSummary>>;

    /// The number of instances that the query selects, counted up to `cap`.
    ///
    /// # Errors
    /// [`Invalid`]: see [`Query::check`].
    async fn count(&self, query: &Query, as_at: DateTime<Utc>, cap: u64) -> Result<Count>;

    /// The summary of one instance. It is also given for the engine's own instances.
    ///
    /// # Errors
    /// [`WorkflowNotFound`]: no instance has this id.
    async fn summary(&self, id: &str, as_at: DateTime<Utc>) -> Result<InstanceSummary>;

    /// The numbers of all instances that have not ended, by definition, version and state. The counts are exact. The
    /// instances of the engine are left out. The cost grows with the number of open instances, but the read is as cheap
    /// as an index allows.
    async fn open_counts(&self, as_at: DateTime<Utc>) -> Result<Vec<OpenCount>>;

    /// The numbers of instances that ended in each interval of length `step`, the first of which begins at `range.from`,
    /// by definition and ending. Intervals in which no instance ended are left out. The instances of the engine are left
    /// out.
    ///
    /// # Errors
    /// [`Invalid`]: the range has no beginning or no end, or `step` is shorter than a second, or the range has more than
    /// 1 000 intervals.
    async fn ended_counts(&self, range: super::TimeRange, step: Duration) -> Result<Vec<EndedCount>>;

    /// The failures that have suspended or ended the instances that the query selects, grouped by definition, step and
    /// code, the largest groups first. The store looks at [`MAX_ROWS`] instances; [`Window::is_whole`] says whether these
    /// were all. [`Window::next`] is always `None`.
    ///
    /// # Errors
    /// [`Invalid`]: see [`Query::check`].
    async fn failure_groups(&self, query: &Query, as_at: DateTime<Utc>) -> Result<Window<FailureGroup>>;

    /// A page of the stored failures of the instance `id`, oldest first. If `id` is `None`, the page has the
    /// failures of all instances, newest first.
    async fn errors(
        &self,
        id: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ErrorRecord>>;

    /// A page of an instance's whole history, in order of completion. The cursor of a row is its completion
    /// [number](Finished::number).
    ///
    /// # Errors
    /// [`WorkflowNotFound`]: no instance has this id.
    async fn history(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<Finished>>;

    /// A page of the stored events that the filter selects, newest first. Events of the engine are listed only if the
    /// filter names them.
    ///
    /// # Errors
    /// [`Invalid`]: the filter has a key but no name.
    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<StoredEvent>>;

    /// A page of the open subscriptions that the filter selects, oldest first. [`WaitFilter::Timer`] and
    /// [`WaitFilter::Nobody`] select none. `None` selects all open subscriptions.
    async fn waits(
        &self,
        filter: Option<&WaitFilter>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<OpenWait>>;

    /// How many activities and user tasks wait for an answer, claimed or not, and how many waits for children are open, by
    /// the name of their event.
    ///
    /// The default implementation reads up to [`MAX_ROWS`] open subscriptions and counts these. A store that has an index
    /// of open external tasks counts all of them.
    async fn task_counts(&self) -> Result<Vec<TaskCount>> {
        let (mut counts, mut after, mut rest) = (BTreeMap::<_, u64>::new(), None, MAX_ROWS);
        while rest > 0 {
            let page = self.waits(None, after, MAX_PAGE).await?;
            rest = rest.saturating_sub(MAX_PAGE as u64);
            for OpenWait { subscription, is_answerable, .. } in page.rows {
                if is_answerable && subscription.event_name.starts_with(OWN_NAMES) {
                    *counts.entry(subscription.event_name).or_default() += 1;
                }
            }
            let Some(next) = page.next else { break };
            after = Some(next);
        }
        Ok(counts.into_iter().map(|(event_name, open)| TaskCount { event_name, open }).collect())
    }

    /// How many live execution pointers of the open instances of this version stand at each step. The store looks at
    /// [`MAX_ROWS`] instances; [`Window::is_whole`] says whether these were all. [`Window::next`] is always `None`.
    async fn step_counts(&self, definition: &str, version: u32) -> Result<Window<StepCount>>;

    /// The outlines that hosts have stored, of this definition or of all, newest first, at most [`MAX_PAGE`]. A version
    /// whose definition was changed has several outlines.
    async fn outlines(&self, definition: Option<&str>) -> Result<Vec<StoredOutline>>;

    /// A page of the recorded actions that the filter selects, newest first.
    async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<AuditRecord>>;

    /// Does what an operator has asked for, and stores the record of it, in one transaction.
    ///
    /// The record is stored if the action has changed something, and only then; [`Acted`] says so for each action.
    ///
    /// # Errors
    /// The errors of the call of [`StepStore`](super::StepStore) that the action stands for. Neither the action nor the
    /// record is stored then.
    async fn act(&self, action: Action<'_>, audit: &Audit) -> Result<Acted>;

    /// Removes an instance that has ended, and everything that belongs to it: its pointers, history, subscriptions,
    /// failures and commands. Events stay.
    ///
    /// A large instance is removed in several transactions, so that none holds the store for long. The first one marks
    /// the instance as being removed: from then on no call finds it, and its id, its name and its reference are free. After a
    /// crash, or if the future is dropped, in between, the next [`purge`](Self::purge) removes the rest. If a new instance takes
    /// the id before that, what is left of failures and subscriptions belongs to the new one.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`]: no instance has this id.
    /// * [`Invalid`]: the instance has not ended, or is the parent of an instance that has not ended. Terminate that one first.
    async fn delete(&self, id: &str) -> Result<PurgeReport>;

    /// Removes instances that the filter selects, with everything that belongs to them, and what earlier calls have
    /// left. Instances of the engine are removed too. The call is one transaction of up to `limit` rows, which holds the
    /// store for a few milliseconds: repeat it while [`more`](PurgeReport::more) is set. A `limit` of 0 leaves the number
    /// of rows to the store. An instance that is the parent of an open child stays.
    ///
    /// # Errors
    /// The errors of [`PurgeFilter::check`].
    async fn purge(&self, filter: &PurgeFilter, limit: usize) -> Result<PurgeReport>;

    /// Removes up to `limit` processed events whose time is earlier than `before`, except the outlines of definitions
    /// that an instance needs, and records of actions that are younger than a year.
    async fn purge_events(&self, before: DateTime<Utc>, limit: usize) -> Result<PurgeReport>;

    /// Writes a consistent copy of the store to the file `target`, which must not exist yet, and opens the copy to check
    /// it. The copy appears under its name only when it is complete and sound. Progress is reported in pages. Use this method
    /// for every store that is in use: a plain copy of the store's files may be inconsistent, and copying the
    /// files can release the store's locks.
    ///
    /// After a crash or a dropped future, `target` does not exist, or is a complete copy; a file beside it, whose name begins
    /// with the name of the target, may be left after a crash.
    ///
    /// # Errors
    /// * [`Unusable`]: the target exists or cannot be written, or the copy is not sound.
    /// * [`Full`](crate::WfeError::Full): there is no space for the copy.
    /// * [`Cancelled`]: `progress` has ended the call.
    async fn backup(&self, target: &Path, progress: &dyn Progress) -> Result<BackupReport>;

    /// Reads the store and reports all damage. Progress is reported in steps of the check.
    ///
    /// # Errors
    /// [`Cancelled`]: `progress` has ended the call.
    async fn check(&self, depth: CheckDepth, progress: &dyn Progress) -> Result<Checkup>;

    /// Returns free space to the file system, in short steps, so that the engine is not delayed. Progress is reported in
    /// pages.
    ///
    /// # Errors
    /// * [`Cancelled`]: `progress` has ended the call. What was returned by then stays returned.
    /// * [`Invalid`]: the store cannot return space while it is in use; the message says what to do instead.
    async fn compact(&self, progress: &dyn Progress) -> Result<CompactReport>;

    /// Moves the log into the database.
    ///
    /// # Errors
    /// [`Busy`]: with [`CheckpointMode::Truncate`], a reader or a writer of another process did not end in time.
    async fn checkpoint(&self, mode: CheckpointMode) -> Result<CheckpointReport>;

    /// How large the store is.
    async fn statistics(&self) -> Result<StoreStatistics>;

    /// A stream that yields an item after this process or another one may have stored something. The default yields an item
    /// each second.
    ///
    /// The store is looked at only while the stream is polled, and the stream keeps nothing of the store after it is
    /// dropped. One item may stand for several changes, and an item may come although nothing was stored. The stream may end
    /// when the store is closed.
    fn changes(&self) -> BoxStream<'static, ()> {
        let rest = || tokio::time::sleep(Duration::from_secs(1));
        stream::unfold((), move |()| async move {
            rest().await;
            Some(((), ()))
        })
        .boxed()
    }

    /// What only the store can find to be wrong, such as with its files: their mode, their file system, who holds up the
    /// log. The default implementation finds nothing.
    async fn findings(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }
}
