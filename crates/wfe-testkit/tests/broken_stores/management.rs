//! Stores whose management interface breaks one rule.

use std::{ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use wfe_core::{
    Result, WfeError,
    models::ExecutionError,
    traits::{
        AUDIT, Acted, Action, Audit, AuditFilter, AuditRecord, BackupReport, CheckDepth, CheckpointMode,
        CheckpointReport, Checkup, CompactReport, Count, Cursor, EndedCount, ErrorRecord, EventFilter,
        FailureGroup, Finished, InstanceState, InstanceSummary, ListCursor, Management, OpenCount, OpenWait,
        Order, Page, PersistenceProvider, Progress, PurgeFilter, PurgeReport, Query, StepCount,
        StoreStatistics, StoredEvent, StoredOutline, TaskCount, TimeRange, WaitFilter, Window,
    },
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{
    Layer, Layered,
    conformance::{InMemory, run_only},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    LosesARowAtEachCursor,
    RepeatsItsCursor,
    IgnoresStates,
    ListsTheEngine,
    ListsByStartOnly,
    IgnoresLimits,
    AnswersWhateverIsAsked,
    ForgetsCauses,
    FindsWhateverIsAsked,
    CountsExactlyWhateverTheCap,
    ForgetsWhatIsDue,
    CountsInLongerIntervals,
    TakesAnyInterval,
    ListsSmallGroupsFirst,
    OverlooksFailedPointers,
    ListsAllFailuresOldestFirst,
    LosesHistoryAtEachCursor,
    ListsProcessedEvents,
    ListsEventsOfTheEngine,
    ListsAllWaits,
    CountsOneTaskTooFew,
    RecordsNothing,
    RecordsWhatChangesNothing,
    RecordsWhatFails,
    ForgetsActors,
    NeverAcknowledges,
    ReleasesWhatIsFree,
    DeletesNothing,
    DeletesWhatIsOpen,
    LeavesFailures,
    PurgesWhatIsExcepted,
    EndsAPurgeEarly,
    PurgesYoungEvents,
    CountsNoInstances,
    IsNotCancelled,
    TellsNoProgress,
}

/// Each way to break the management interface, and the case that must find it.
const FAULTS: [(Fault, &str); 39] = [
    (Fault::LosesARowAtEachCursor, "listings: pages lose and repeat nothing while instances start and end"),
    (Fault::RepeatsItsCursor, "listings: pages lose and repeat nothing while instances start and end"),
    (Fault::LosesARowAtEachCursor, "listings: a query selects what matches all of its fields"),
    (Fault::RepeatsItsCursor, "listings: a query selects what matches all of its fields"),
    (Fault::IgnoresStates, "listings: every instance is in exactly one state"),
    (Fault::ListsTheEngine, "listings: the instances of the engine are listed on demand only"),
    (Fault::ListsByStartOnly, "listings: instances are listed by their end"),
    (Fault::ListsByStartOnly, "listings: instances are listed by their due time"),
    (Fault::IgnoresLimits, "listings: a page is as long as asked for and no longer than allowed"),
    (Fault::AnswersWhateverIsAsked, "listings: a query that no store can answer is refused"),
    (Fault::ForgetsCauses, "listings: a summary tells what the instance waits for and what it failed at"),
    (Fault::FindsWhateverIsAsked, "listings: an unknown instance has no summary"),
    (Fault::CountsExactlyWhateverTheCap, "listings: a query selects what matches all of its fields"),
    (Fault::ForgetsWhatIsDue, "reports: open instances are counted by definition version and state"),
    (
        Fault::CountsInLongerIntervals,
        "reports: ended instances are counted by interval definition and ending",
    ),
    (Fault::TakesAnyInterval, "reports: intervals that are too many or too short are refused"),
    (Fault::ListsSmallGroupsFirst, "reports: failures are grouped by definition step and code"),
    (Fault::OverlooksFailedPointers, "reports: live pointers are counted by step"),
    (
        Fault::ListsAllFailuresOldestFirst,
        "reports: failures of an instance come oldest first and those of all newest first",
    ),
    (Fault::LosesHistoryAtEachCursor, "reports: a history comes in the order of completion in pages"),
    (Fault::ListsProcessedEvents, "reports: events are listed newest first without those of the engine"),
    (Fault::ListsEventsOfTheEngine, "acting: a record is an event of the engine that no instance receives"),
    (Fault::ListsAllWaits, "reports: open subscriptions are listed oldest first with their instances"),
    (Fault::CountsOneTaskTooFew, "reports: external tasks are counted by name"),
    (Fault::RecordsNothing, "acting: each action is stored with its record"),
    (Fault::RecordsWhatChangesNothing, "acting: an action that changes nothing leaves no record"),
    (Fault::RecordsWhatFails, "acting: an action that fails leaves no record and changes nothing"),
    (Fault::ForgetsActors, "acting: records are listed newest first by instance actor action and time"),
    (Fault::NeverAcknowledges, "acting: a failure is acknowledged until the instance fails again"),
    (Fault::ReleasesWhatIsFree, "acting: a claim can be taken away from its worker"),
    (Fault::DeletesNothing, "removing: a deleted instance is nowhere any more"),
    (Fault::DeletesWhatIsOpen, "removing: only an instance that has ended is deleted"),
    (Fault::LeavesFailures, "removing: nothing of a removed instance is left"),
    (Fault::PurgesWhatIsExcepted, "removing: a purge takes what ended before its time in one of its ways"),
    (Fault::EndsAPurgeEarly, "removing: a purge in batches of one row comes to the same end"),
    (Fault::PurgesYoungEvents, "removing: events are purged once they are processed"),
    (Fault::CountsNoInstances, "removing: a store in order has no faults and counts its instances"),
    (Fault::IsNotCancelled, "removing: a backup is a store of its own unless it was cancelled"),
    (Fault::TellsNoProgress, "removing: a backup is a store of its own unless it was cancelled"),
];

/// A store whose management interface has this fault.
struct Mismanaged {
    below: Arc<dyn PersistenceProvider>,
    fault: Fault,
}

impl Layer for Mismanaged {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    fn management(&self) -> Option<Arc<dyn Management>> {
        let (store, fault) = (self.below.clone(), self.fault);
        let below = store.clone().management()?;
        Some(Arc::new(Manager { below, store, fault }))
    }
}

struct Manager {
    below: Arc<dyn Management>,
    store: Arc<dyn PersistenceProvider>,
    fault: Fault,
}

impl Manager {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn altered(&self, query: &Query) -> Query {
        let mut query = query.clone();
        match self.fault {
            Fault::IgnoresStates => query.states.clear(),
            Fault::ListsTheEngine => query.include_own = true,
            Fault::AnswersWhateverIsAsked => query.version = None,
            Fault::ListsByStartOnly if matches!(query.order, Order::LastEnded | Order::FirstDue) => {
                query.order = Order::Newest;
            }
            _ => {}
        }
        query
    }

    /// What the work below tells of its progress.
    fn passed<'a>(&self, progress: &'a dyn Progress) -> Box<dyn Progress + 'a> {
        match self.fault {
            Fault::TellsNoProgress => Box::new(()),
            Fault::IsNotCancelled => Box::new(|done, total| {
                let _ = progress.advanced(done, total);
                ControlFlow::Continue(())
            }),
            _ => Box::new(|done, total| progress.advanced(done, total)),
        }
    }
}

#[async_trait]
impl Management for Manager {
    async fn list(
        &self,
        query: &Query,
        as_at: DateTime<Utc>,
        after: Option<ListCursor>,
        limit: usize,
    ) -> Result<Window<InstanceSummary>> {
        let limit = if self.is(Fault::IgnoresLimits) { limit.max(2) } else { limit };
        let mut window = self.below.list(&self.altered(query), as_at, after, limit).await?;
        match self.fault {
            Fault::LosesARowAtEachCursor if after.is_some() && !window.rows.is_empty() => {
                window.rows.remove(0);
            }
            Fault::RepeatsItsCursor if after.is_some() => window.next = window.next.and(after),
            Fault::ForgetsCauses => window.rows.iter_mut().for_each(|row| row.cause = None),
            _ => {}
        }
        Ok(window)
    }

    async fn count(&self, query: &Query, as_at: DateTime<Utc>, cap: u64) -> Result<Count> {
        let mut count = self.below.count(&self.altered(query), as_at, cap).await?;
        count.is_exact |= self.is(Fault::CountsExactlyWhateverTheCap);
        Ok(count)
    }

    async fn summary(&self, id: &str, as_at: DateTime<Utc>) -> Result<InstanceSummary> {
        match self.below.summary(id, as_at).await {
            Err(WfeError::WorkflowNotFound(_)) if self.is(Fault::FindsWhateverIsAsked) => {
                Ok(InstanceSummary::new(id, "any", 1, InstanceState::Completed, as_at))
            }
            Ok(mut summary) => {
                summary.is_acknowledged &= !self.is(Fault::NeverAcknowledges);
                Ok(summary)
            }
            other => other,
        }
    }

    async fn open_counts(&self, as_at: DateTime<Utc>) -> Result<Vec<OpenCount>> {
        let mut counts = self.below.open_counts(as_at).await?;
        if self.is(Fault::ForgetsWhatIsDue) {
            for count in &mut counts {
                count.oldest_due = None;
            }
        }
        Ok(counts)
    }

    async fn ended_counts(&self, range: TimeRange, step: Duration) -> Result<Vec<EndedCount>> {
        let step = if self.is(Fault::CountsInLongerIntervals) { step * 2 } else { step };
        match self.below.ended_counts(range, step).await {
            Err(WfeError::Invalid(_)) if self.is(Fault::TakesAnyInterval) => Ok(Vec::new()),
            other => other,
        }
    }

    async fn failure_groups(&self, query: &Query, as_at: DateTime<Utc>) -> Result<Window<FailureGroup>> {
        let mut groups = self.below.failure_groups(&self.altered(query), as_at).await?;
        if self.is(Fault::ListsSmallGroupsFirst) {
            groups.rows.reverse();
        }
        Ok(groups)
    }

    async fn errors(
        &self,
        id: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ErrorRecord>> {
        let mut page = self.below.errors(id, after, limit).await?;
        if self.is(Fault::ListsAllFailuresOldestFirst) && id.is_none() {
            page.rows.reverse();
        }
        Ok(page)
    }

    async fn history(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<Finished>> {
        let mut page = self.below.history(id, after, limit).await?;
        if self.is(Fault::LosesHistoryAtEachCursor) && after.is_some() && !page.rows.is_empty() {
            page.rows.remove(0);
        }
        Ok(page)
    }

    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<StoredEvent>> {
        let mut filter = filter.clone();
        match self.fault {
            Fault::ListsProcessedEvents => filter.unprocessed = false,
            Fault::ListsEventsOfTheEngine if filter.name.is_none() => filter.name = Some(AUDIT.to_owned()),
            _ => {}
        }
        self.below.events(&filter, after, limit).await
    }

    async fn waits(
        &self,
        filter: Option<&WaitFilter>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<OpenWait>> {
        let filter = filter.filter(|_| !self.is(Fault::ListsAllWaits));
        self.below.waits(filter, after, limit).await
    }

    async fn task_counts(&self) -> Result<Vec<TaskCount>> {
        let mut counts = self.below.task_counts().await?;
        if self.is(Fault::CountsOneTaskTooFew) {
            for count in &mut counts {
                count.open -= 1;
            }
        }
        Ok(counts)
    }

    async fn step_counts(&self, definition: &str, version: u32) -> Result<Window<StepCount>> {
        let mut counts = self.below.step_counts(definition, version).await?;
        if self.is(Fault::OverlooksFailedPointers) {
            counts.rows.iter_mut().for_each(|row| row.failed = 0);
        }
        Ok(counts)
    }

    async fn outlines(&self, definition: Option<&str>) -> Result<Vec<StoredOutline>> {
        self.below.outlines(definition).await
    }

    async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<AuditRecord>> {
        let mut filter = filter.clone();
        if self.is(Fault::ForgetsActors) {
            filter.actor = None;
        }
        self.below.audit(&filter, after, limit).await
    }

    async fn act(&self, action: Action<'_>, audit: &Audit) -> Result<Acted> {
        if self.is(Fault::RecordsNothing) && matches!(action, Action::Note) {
            return Ok(Acted::Noted);
        }
        let before = self.below.audit(&AuditFilter::default(), None, 1).await?.rows;
        let acted = self.below.act(action, audit).await;
        let unrecorded = self.below.audit(&AuditFilter::default(), None, 1).await?.rows == before;
        let records = if acted.is_ok() { Fault::RecordsWhatChangesNothing } else { Fault::RecordsWhatFails };
        if unrecorded && self.is(records) {
            self.below.act(Action::Note, audit).await?;
        }
        match acted {
            Ok(Acted::Released(_)) if self.is(Fault::ReleasesWhatIsFree) => Ok(Acted::Released(true)),
            acted => acted,
        }
    }

    async fn delete(&self, id: &str) -> Result<PurgeReport> {
        if self.is(Fault::DeletesNothing) {
            return Ok(PurgeReport { instances: 1, ..PurgeReport::default() });
        }
        let report = match self.below.delete(id).await {
            Err(WfeError::Invalid(_)) if self.is(Fault::DeletesWhatIsOpen) => Ok(PurgeReport::default()),
            other => other,
        }?;
        if self.is(Fault::LeavesFailures) {
            self.store.persist_errors(&[ExecutionError::new(id, "p", "left")]).await?;
        }
        Ok(report)
    }

    async fn purge(&self, filter: &PurgeFilter, limit: usize) -> Result<PurgeReport> {
        let mut filter = filter.clone();
        if self.is(Fault::PurgesWhatIsExcepted) {
            filter.except.clear();
        }
        let mut report = self.below.purge(&filter, limit).await?;
        report.more &= !self.is(Fault::EndsAPurgeEarly);
        Ok(report)
    }

    async fn purge_events(&self, before: DateTime<Utc>, limit: usize) -> Result<PurgeReport> {
        let before = if self.is(Fault::PurgesYoungEvents) { before + TimeDelta::hours(1) } else { before };
        self.below.purge_events(before, limit).await
    }

    async fn backup(&self, target: &Path, progress: &dyn Progress) -> Result<BackupReport> {
        self.below.backup(target, &*self.passed(progress)).await
    }

    async fn check(&self, depth: CheckDepth, progress: &dyn Progress) -> Result<Checkup> {
        self.below.check(depth, progress).await
    }

    async fn compact(&self, progress: &dyn Progress) -> Result<CompactReport> {
        self.below.compact(progress).await
    }

    async fn checkpoint(&self, mode: CheckpointMode) -> Result<CheckpointReport> {
        self.below.checkpoint(mode).await
    }

    async fn statistics(&self) -> Result<StoreStatistics> {
        let mut statistics = self.below.statistics().await?;
        if self.is(Fault::CountsNoInstances) {
            statistics.open_instances = 0;
        }
        Ok(statistics)
    }
}

fn mismanaged(fault: Fault) -> InMemory {
    InMemory::new(move |clock| async move {
        let below = SqlitePersistenceProvider::builder(":memory:").clock(clock).open().await?;
        Ok(Layered(Mismanaged { below: Arc::new(below), fault }))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_rule_of_management_is_found_by_its_case() {
    for (fault, case) in FAULTS {
        let report = run_only(mismanaged(fault), |name| name == case).await;
        assert_eq!(report.failed().collect::<Vec<_>>(), [case], "{fault:?}: {report}");
        let sound = run_only(mismanaged(Fault::None), |name| name == case).await;
        assert!(sound.cases.len() == 1 && sound.to_string().starts_with("1 passed"), "{case}: {sound}");
    }
}
