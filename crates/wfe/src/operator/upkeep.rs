//! Purges, backups, checks and other upkeep of the store.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
#[cfg(doc)]
use wfe_core::WfeError;
use wfe_core::{
    Result,
    traits::{
        Acted, Action, BackupReport, CheckDepth, CheckpointMode, CheckpointReport, Checkup, CompactReport,
        Progress, PurgeFilter, PurgeReport,
    },
};

use super::{
    ActionKind, Operator,
    rights::{Of, Permit, unexpected},
};

impl Permit<'_> {
    /// Stores a record of what became of an action that is not one transaction.
    async fn note(self, detail: Value) -> Result<()> {
        match self.detail(detail).act(Action::Note).await? {
            Acted::Noted => Ok(()),
            other => unexpected(&other),
        }
    }
}

impl Operator {
    /// Removes all instances that the filter selects, with everything that belongs to them, in batches that hold the store
    /// for a few milliseconds each. `progress` gets how many instances are removed. Two records are stored: one before
    /// the first batch, and one with what was removed.
    ///
    /// If `progress` ends the call, the report has what was removed by then, and [`more`](PurgeReport::more) is set.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * The errors of [`PurgeFilter::check`] and of the store. What was removed by then stays removed.
    pub async fn purge(&self, filter: &PurgeFilter, progress: &dyn Progress) -> Result<PurgeReport> {
        let permit = self.permit(ActionKind::Purge, Of::Store).await?;
        filter.check()?;
        let detail = json!({ "filter": filter });
        let mut total = PurgeReport::default();
        self.begin(&permit, &detail).await?;
        loop {
            let batch = self.seen(self.management.purge(filter, 0).await)?;
            add(&mut total, batch);
            if !batch.more || progress.advanced(total.instances, None).is_break() {
                break;
            }
        }
        permit.note(ended(detail, &total)).await?;
        Ok(total)
    }

    /// Removes all processed events whose time is earlier than `before`, in batches. Outlines that an instance needs stay,
    /// and so do records of actions that are younger than a year. Otherwise, this is [`purge`](Self::purge); `progress` is
    /// called with how many events are removed.
    ///
    /// # Errors
    /// [`Forbidden`](WfeError::Forbidden), and the errors of the store.
    pub async fn purge_events(&self, before: DateTime<Utc>, progress: &dyn Progress) -> Result<PurgeReport> {
        let permit = self.permit(ActionKind::PurgeEvents, Of::Store).await?;
        let detail = json!({ "before": before });
        let mut total = PurgeReport::default();
        self.begin(&permit, &detail).await?;
        loop {
            let batch = self.seen(self.management.purge_events(before, BATCH).await)?;
            add(&mut total, batch);
            if !batch.more || progress.advanced(total.events, None).is_break() {
                break;
            }
        }
        permit.note(ended(detail, &total)).await?;
        Ok(total)
    }

    async fn begin(&self, permit: &Permit<'_>, detail: &Value) -> Result<()> {
        let mut audit = permit.audit.clone();
        audit.detail = detail.clone();
        audit.detail["phase"] = json!("begin");
        match self.seen(self.management.act(Action::Note, &audit).await)? {
            Acted::Noted => Ok(()),
            other => unexpected(&other),
        }
    }

    /// Writes a checked copy of the store to the file `target`, which must not exist. Progress is reported in pages.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * [`Unusable`](WfeError::Unusable): the target exists or cannot be written, or the copy is not sound.
    /// * [`Cancelled`](WfeError::Cancelled): `progress` has ended the call.
    pub async fn backup(&self, target: &Path, progress: &dyn Progress) -> Result<BackupReport> {
        let permit = self.permit(ActionKind::Backup, Of::Store).await?;
        // An error about the target is not the loss of the store.
        let report = self.management.backup(target, progress).await?;
        permit.note(json!({ "target": target.to_string_lossy(), "report": report })).await?;
        Ok(report)
    }

    /// Reads the store and reports all damage. Every role may ask. Progress is reported in steps of the check.
    ///
    /// # Errors
    /// [`Cancelled`](WfeError::Cancelled): `progress` has ended the call.
    pub async fn check(&self, depth: CheckDepth, progress: &dyn Progress) -> Result<Checkup> {
        self.seen(self.management.check(depth, progress).await)
    }

    /// Returns free space to the file system, in short steps. Progress is reported in pages.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * [`Cancelled`](WfeError::Cancelled): `progress` has ended the call. What was returned by then stays returned.
    pub async fn compact(&self, progress: &dyn Progress) -> Result<CompactReport> {
        let permit = self.permit(ActionKind::Compact, Of::Store).await?;
        let report = self.seen(self.management.compact(progress).await)?;
        permit.note(json!({ "report": report })).await?;
        Ok(report)
    }

    /// Moves the log of the store into the database.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * [`Busy`](WfeError::Busy): with [`CheckpointMode::Truncate`], a reader or a writer did not end in time.
    pub async fn checkpoint(&self, mode: CheckpointMode) -> Result<CheckpointReport> {
        let permit = self.permit(ActionKind::Checkpoint, Of::Store).await?;
        // The record comes first: after a truncating checkpoint, it would be in the log.
        permit.note(json!({ "mode": mode })).await?;
        self.seen(self.management.checkpoint(mode).await)
    }
}

/// How many events are removed in one transaction.
const BATCH: usize = 500;

fn add(total: &mut PurgeReport, batch: PurgeReport) {
    total.instances += batch.instances;
    total.events += batch.events;
    total.rows += batch.rows;
    total.more = batch.more;
}

fn ended(mut detail: Value, report: &PurgeReport) -> Value {
    detail["phase"] = json!("end");
    detail["report"] = json!(report);
    detail
}
