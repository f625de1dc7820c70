//! [`Management`]: the store as operators use it. Each method calls the function of the same name. There is one file of
//! functions for each subject.
//!
//! The reads are bounded: each looks at [`MAX_ROWS`](wfe_core::traits::MAX_ROWS) rows at most. They wait for a permit like
//! calls of the program.

mod act;
mod audit;
mod backup;
mod check;
mod compact;
mod counts;
mod delete;
mod events;
mod failures;
mod filter;
mod findings;
mod history;
mod list;
mod outlines;
mod purge;
mod removal;
mod scan;
mod statistics;
mod waits;

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe_core::{
    Result,
    traits::{
        Acted, Action, Audit, AuditFilter, AuditRecord, BackupReport, CheckDepth, CheckpointMode,
        CheckpointReport, Checkup, CompactReport, Count, Cursor, EndedCount, ErrorRecord, EventFilter,
        FailureGroup, Finding, Finished, InstanceSummary, ListCursor, Management, OpenCount, OpenWait, Page,
        Progress, PurgeFilter, PurgeReport, Query, StepCount, StoreStatistics, StoredEvent, StoredOutline,
        TaskCount, TimeRange, WaitFilter, Window,
    },
};

use crate::SqlitePersistenceProvider;

#[async_trait]
impl Management for SqlitePersistenceProvider {
    async fn list(
        &self,
        query: &Query,
        as_at: DateTime<Utc>,
        after: Option<ListCursor>,
        limit: usize,
    ) -> Result<Window<InstanceSummary>> {
        self.named(list::list(self, query, as_at, after, limit).await)
    }

    async fn count(&self, query: &Query, as_at: DateTime<Utc>, cap: u64) -> Result<Count> {
        self.named(counts::count(self, query, as_at, cap).await)
    }

    async fn summary(&self, id: &str, as_at: DateTime<Utc>) -> Result<InstanceSummary> {
        self.named(list::summary(self, id, as_at).await)
    }

    async fn open_counts(&self, as_at: DateTime<Utc>) -> Result<Vec<OpenCount>> {
        self.named(counts::open_counts(self, as_at).await)
    }

    async fn ended_counts(&self, range: TimeRange, step: Duration) -> Result<Vec<EndedCount>> {
        self.named(counts::ended_counts(self, range, step).await)
    }

    async fn failure_groups(&self, query: &Query, as_at: DateTime<Utc>) -> Result<Window<FailureGroup>> {
        self.named(failures::failure_groups(self, query, as_at).await)
    }

    async fn errors(
        &self,
        id: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ErrorRecord>> {
        self.named(failures::errors(self, id, after, limit).await)
    }

    async fn history(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<Finished>> {
        self.named(history::history(self, id, after, limit).await)
    }

    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<StoredEvent>> {
        self.named(events::events(self, filter, after, limit).await)
    }

    async fn waits(
        &self,
        filter: Option<&WaitFilter>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<OpenWait>> {
        self.named(waits::waits(self, filter, after, limit).await)
    }

    async fn task_counts(&self) -> Result<Vec<TaskCount>> {
        self.named(waits::task_counts(self).await)
    }

    async fn step_counts(&self, definition: &str, version: u32) -> Result<Window<StepCount>> {
        self.named(counts::step_counts(self, definition, version).await)
    }

    async fn outlines(&self, definition: Option<&str>) -> Result<Vec<StoredOutline>> {
        self.named(outlines::outlines(self, definition).await)
    }

    async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<AuditRecord>> {
        self.named(audit::audit(self, filter, after, limit).await)
    }

    async fn act(&self, action: Action<'_>, audit: &Audit) -> Result<Acted> {
        self.named(act::act(self, action, audit).await)
    }

    async fn delete(&self, id: &str) -> Result<PurgeReport> {
        self.named(delete::delete(self, id).await)
    }

    async fn purge(&self, filter: &PurgeFilter, limit: usize) -> Result<PurgeReport> {
        self.named(purge::purge(self, filter, limit).await)
    }

    async fn purge_events(&self, before: DateTime<Utc>, limit: usize) -> Result<PurgeReport> {
        self.named(purge::purge_events(self, before, limit).await)
    }

    async fn backup(&self, target: &Path, progress: &dyn Progress) -> Result<BackupReport> {
        self.named(backup::backup(self, target, progress).await)
    }

    async fn check(&self, depth: CheckDepth, progress: &dyn Progress) -> Result<Checkup> {
        self.named(check::check(self, depth, progress).await)
    }

    async fn compact(&self, progress: &dyn Progress) -> Result<CompactReport> {
        self.named(compact::compact(self, progress).await)
    }

    async fn checkpoint(&self, mode: CheckpointMode) -> Result<CheckpointReport> {
        self.named(compact::checkpoint(self, mode).await)
    }

    async fn statistics(&self) -> Result<StoreStatistics> {
        self.named(statistics::statistics(self).await)
    }

    async fn findings(&self) -> Result<Vec<Finding>> {
        self.named(findings::findings(self).await)
    }
}
