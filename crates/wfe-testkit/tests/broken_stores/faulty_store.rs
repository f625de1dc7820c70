//! A store that keeps every rule but one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::{Map, Value};
use wfe_core::{
    Result, RetryRefusal, WfeError,
    executor::CHILD_ENDED,
    models::{Event, EventSubscription, ScheduledCommand, WorkflowInstance},
    traits::{
        Claimed, CommandFuture, Committed, Control, Cursor, Deaths, Delivery, ErrorRecord, Expected, Fence,
        Host, HostCard, Intervention, Isolation, Known, Loaded, Owner, Page, Pending, PersistenceProvider,
        Published, Reopened, Requested, Started, StepCommit, StepStore, Swept,
    },
};
use wfe_testkit::Layer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    HidesItsStepStore,
    DelaysWakeUps,
    RunsCommandsOnceWhateverComesOfIt,
    IgnoresEarlyEvents,
    AgreesToEveryToken,
    SortsPointers,
    KeepsRemovedPointers,
    CreatesWhatItShouldReplace,
    RoundsTimes,
    TakesNullForNothing,
    IsDueEarly,
    IgnoresFences,
    IgnoresRequests,
    AsksNobody,
    /// Takes answers to waits that are about to be taken away.
    KeepsWaitsAnswerable,
    /// Takes work away from workers that have claimed it.
    ClosesClaimedWaits,
    ResumesInstead,
    AcceptsWhateverIsRequested,
    FinishesEveryEvent,
    DeliversTwice,
    GoesByDatesAlone,
    LeavesDatesToPublishers,
    ClaimsBeyondTheLimit,
    /// Acquires instances that the caller cannot run.
    AcquiresAnyDefinition,
    IgnoresHeartbeats,
    KeepsItsFirstCard,
    ForgetsAttributesOfStarts,
    /// Those that a commit leaves alone.
    DropsAttributesOfCommits,
    AsksNoHost,
    NeverTakesFromTheFrozen,
    ListsOnePageOfWork,
    GivesHeldWorkAway,
    TakesLateAnswers,
    TakesOtherAnswers,
    OffersNoWork,
    RepeatsFailures,
    SeesNothingAhead,
    GivesNoPositions,
    PassesOverWhateverHasTheId,
    FinishesWhatIsNeeded,
    StopsAtTheFirstPageOfEvents,
    TellsOldNews,
    SeesNoRequestsForBusyInstances,
    OverlooksWhatIsPending,
    TakesAllForEnded,
    TrustsItsCopies,
    CountsInMemory,
    KnowsOnlyItsOwnOwners,
    LosesFinishedPointers,
    LosesNewPointers,
    LosesData,
    LosesItems,
    LosesOutcomesOfTheUndone,
    LosesWaits,
    KeepsWaitsOpen,
    ConsumesNothing,
    LosesWhatACommitPublishes,
    LosesEvents,
    MeetsNoWaits,
    ForgetsWhatWasConsumed,
    StoresForAnyReceiver,
    CreatesNoChildren,
    LosesDueTimes,
    LosesFailures,
    LosesEndings,
    LosesCauses,
    DropsRequests,
    NeverGivesBack,
    StartsAnew,
    ReplacesWhatHasChanged,
    ReplacesInTwoSteps,
    ListsOnePageOfNames,
    LosesAnswers,
    CountsNoDeaths,
    CountsEveryClaim,
    NotesNoIsolation,
    RetriesWhateverHasChanged,
    KeepsEndsOfChildren,
    ReopensEveryChild,
    ForgetsRestarts,
    RestartsTwice,
    TakesKnownForExisting,
    RestartsWhateverHasEnded,
    FindsNothing,
}

pub struct Broken {
    pub below: Arc<dyn PersistenceProvider>,
    pub fault: Fault,
    memory: Mutex<Memory>,
}

/// What a provider keeps to itself.
#[derive(Default)]
struct Memory {
    copies: HashMap<String, WorkflowInstance>,
    drawn: HashMap<String, u64>,
    owners: HashSet<u64>,
    described: HashSet<u64>,
}

impl Broken {
    pub fn new(below: Arc<dyn PersistenceProvider>, fault: Fault) -> Self {
        Self { below, fault, memory: Mutex::default() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn steps(&self) -> Arc<dyn StepStore> {
        self.below.clone().step_store().expect("it is asked only where there is one")
    }

    /// What is lost of a commit.
    fn lose(&self, step: &mut StepCommit) {
        match self.fault {
            Fault::AsksNobody => step.requested.clear(),
            Fault::KeepsWaitsAnswerable => step.unanswerable.clear(),
            Fault::ClosesClaimedWaits => step.unanswerable.append(&mut step.unanswerable_unless_claimed),
            Fault::LosesFinishedPointers => step.finished.clear(),
            Fault::LosesNewPointers => step.upserted.retain(|pointer| !pointer.active),
            Fault::LosesData => step.data = None,
            Fault::LosesItems => step.items.clear(),
            Fault::LosesOutcomesOfTheUndone => {
                // What a saga remembers of a step is an item with its outcome.
                let values = step.items.iter_mut().flat_map(|items| &mut items.values);
                values.filter_map(Value::as_object_mut).for_each(|entry| drop(entry.remove("outcome")));
            }
            Fault::LosesWaits => step.subscribed.clear(),
            Fault::KeepsWaitsOpen => step.unsubscribed.clear(),
            Fault::ConsumesNothing => step.consumed.clear(),
            Fault::LosesWhatACommitPublishes => step.published.clear(),
            Fault::CreatesNoChildren => step.created.clear(),
            Fault::LosesDueTimes => step.next_execution = step.next_execution.map(|_| None),
            Fault::LosesFailures => step.failures.clear(),
            Fault::LosesEndings => step.ending = None,
            Fault::LosesCauses => step.cause = None,
            Fault::NeverGivesBack => step.release = false,
            _ => {}
        }
    }

    fn spoil(&self, mut read: WorkflowInstance) -> WorkflowInstance {
        if self.is(Fault::SortsPointers) {
            read.execution_pointers.sort_by(|a, b| a.id.cmp(&b.id));
        }
        if self.is(Fault::TakesNullForNothing) {
            for pointer in &mut read.execution_pointers {
                pointer.outcome = pointer.outcome.take().filter(|outcome| *outcome != Value::Null);
            }
        }
        read
    }
}

#[async_trait]
impl Layer for Broken {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    fn has_step_store(&self) -> bool {
        self.below.clone().step_store().is_some() && !self.is(Fault::HidesItsStepStore)
    }

    async fn persist_workflow(&self, workflow: &WorkflowInstance) -> Result<()> {
        if self.is(Fault::KeepsRemovedPointers) {
            let mut kept = workflow.clone();
            let old = self.below.get_workflow_instance(&workflow.id).await?.execution_pointers;
            kept.execution_pointers.extend(
                old.into_iter().filter(|old| workflow.execution_pointers.iter().all(|p| p.id != old.id)),
            );
            return self.below.persist_workflow(&kept).await;
        }
        match self.below.persist_workflow(workflow).await {
            Err(WfeError::WorkflowNotFound(_)) if self.is(Fault::CreatesWhatItShouldReplace) => {
                self.below.create_new_workflow(workflow).await.map(drop)
            }
            other => {
                self.memory.lock().unwrap().copies.remove(&workflow.id);
                other
            }
        }
    }

    async fn get_runnable_instances(&self, as_at: DateTime<Utc>) -> Result<Vec<String>> {
        let early = if self.is(Fault::IsDueEarly) { TimeDelta::milliseconds(1) } else { TimeDelta::zero() };
        self.below.get_runnable_instances(as_at + early).await
    }

    async fn get_workflow_instance(&self, workflow_id: &str) -> Result<WorkflowInstance> {
        let copy = self.memory.lock().unwrap().copies.get(workflow_id).cloned();
        if let Some(copy) = copy.filter(|_| self.is(Fault::TrustsItsCopies)) {
            return Ok(copy);
        }
        let read = self.spoil(self.below.get_workflow_instance(workflow_id).await?);
        self.memory.lock().unwrap().copies.insert(workflow_id.to_owned(), read.clone());
        Ok(read)
    }

    async fn get_workflow_instance_by_name(&self, name: &str) -> Result<WorkflowInstance> {
        Ok(self.spoil(self.below.get_workflow_instance_by_name(name).await?))
    }

    async fn get_workflow_instances(&self, workflow_ids: &[String]) -> Result<Vec<WorkflowInstance>> {
        let read = self.below.get_workflow_instances(workflow_ids).await?;
        Ok(read.into_iter().map(|one| self.spoil(one)).collect())
    }

    async fn next_definition_sequence(&self, definition_id: &str) -> Result<u64> {
        if self.is(Fault::CountsInMemory) {
            let mut memory = self.memory.lock().unwrap();
            let drawn = memory.drawn.entry(definition_id.to_owned()).or_default();
            *drawn += 1;
            return Ok(*drawn);
        }
        self.below.next_definition_sequence(definition_id).await
    }

    async fn get_event(&self, event_id: &str) -> Result<Event> {
        let mut read = self.below.get_event(event_id).await?;
        if self.is(Fault::RoundsTimes) {
            read.event_time = read.event_time.trunc_subsecs(6);
        }
        Ok(read)
    }

    async fn create_event_subscription(&self, subscription: &EventSubscription) -> Result<String> {
        let unprocessed = async || self.below.get_runnable_events(DateTime::<Utc>::MAX_UTC).await;
        let before: HashSet<_> = unprocessed().await?.into_iter().collect();
        let id = self.below.create_event_subscription(subscription).await?;
        if self.is(Fault::IgnoresEarlyEvents) {
            for event in unprocessed().await?.into_iter().filter(|event| !before.contains(event)) {
                self.below.mark_event_processed(&event).await?;
            }
        }
        Ok(id)
    }

    async fn set_subscription_token(
        &self,
        subscription_id: &str,
        token: &str,
        worker_id: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool> {
        let set = self.below.set_subscription_token(subscription_id, token, worker_id, expiry).await?;
        Ok(set || self.is(Fault::AgreesToEveryToken))
    }

    async fn schedule_command(&self, command: &ScheduledCommand) -> Result<()> {
        let mut command = command.clone();
        if self.is(Fault::DelaysWakeUps) {
            command.execute_time += 1;
        }
        self.below.schedule_command(&command).await
    }

    async fn process_commands(
        &self,
        as_of: DateTime<Utc>,
        handler: &(dyn Fn(ScheduledCommand) -> CommandFuture + Send + Sync),
    ) -> Result<()> {
        if !self.is(Fault::RunsCommandsOnceWhateverComesOfIt) {
            return self.below.process_commands(as_of, handler).await;
        }
        let failed = Arc::new(Mutex::new(None));
        let swallow = |command| -> CommandFuture {
            let (run, failed) = (handler(command), Arc::clone(&failed));
            Box::pin(async move {
                if let Err(error) = run.await {
                    failed.lock().unwrap().get_or_insert(error);
                }
                Ok(())
            })
        };
        self.below.process_commands(as_of, &swallow).await?;
        let first = failed.lock().unwrap().take();
        first.map_or(Ok(()), Err)
    }

    async fn register(&self) -> Result<Owner> {
        let owner = self.steps().register().await?;
        self.memory.lock().unwrap().owners.insert(owner.id());
        Ok(owner)
    }

    async fn request(&self, id: &str, control: Control) -> Result<Requested> {
        if self.is(Fault::DropsRequests) {
            return Ok(Requested::Accepted);
        }
        match self.steps().request(id, control).await {
            Err(WfeError::NoEffect { .. }) if self.is(Fault::AcceptsWhateverIsRequested) => {
                Ok(Requested::Accepted)
            }
            requested => requested,
        }
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        if self.is(Fault::StartsAnew) {
            let anew = WorkflowInstance { reference: None, ..instance.clone() };
            return self.steps().start(owner, &anew).await;
        }
        let is_known = |owner: &&Owner| self.memory.lock().unwrap().owners.contains(&owner.id());
        let owner = owner.filter(|owner| !self.is(Fault::KnowsOnlyItsOwnOwners) || is_known(owner));
        self.steps().start(owner, instance).await
    }

    async fn replace(&self, old: &Expected, new: &WorkflowInstance) -> Result<Option<String>> {
        if self.is(Fault::ReplacesWhatHasChanged) {
            let now = self.steps().load(&old.id).await?.expected();
            return self.steps().replace(&now, new).await;
        }
        if self.is(Fault::ReplacesInTwoSteps) {
            // The request to the old instance stays, whatever becomes of the new one.
            self.steps().request(&old.id, Control::Terminate).await?;
            let now = self.steps().load(&old.id).await?.expected();
            return self.steps().replace(&now, new).await;
        }
        self.steps().replace(old, new).await
    }

    async fn named(&self, prefix: &str, after: Option<Cursor>, limit: usize) -> Result<Page<String>> {
        let mut page = self.steps().named(prefix, after, limit).await?;
        if self.is(Fault::ListsOnePageOfNames) {
            page.next = None;
        }
        Ok(page)
    }

    async fn start_if(
        &self,
        owner: Option<&Owner>,
        instance: &WorkflowInstance,
        known: Known,
    ) -> Result<Started> {
        match known {
            Known::RestartIfFailed if self.is(Fault::RestartsWhateverHasEnded) => {
                let started = self.steps().start_if(owner, instance, known).await?;
                if started.is_new {
                    return Ok(started);
                }
                self.steps().restart(owner, &started.id, instance).await.or(Ok(started))
            }
            _ if self.is(Fault::TakesKnownForExisting) => self.start(owner, instance).await,
            _ => self.steps().start_if(owner, instance, known).await,
        }
    }

    async fn restart(&self, owner: Option<&Owner>, of: &str, instance: &WorkflowInstance) -> Result<Started> {
        let anew = WorkflowInstance { reference: None, ..instance.clone() };
        if self.is(Fault::ForgetsRestarts) {
            return self.steps().start(owner, &anew).await;
        }
        match self.steps().restart(owner, of, instance).await {
            Err(WfeError::CannotRetry { reason: RetryRefusal::Restarted { .. }, .. })
                if self.is(Fault::RestartsTwice) =>
            {
                self.steps().start(owner, &anew).await
            }
            other => other,
        }
    }

    async fn find(&self, definition: &str, reference: &str) -> Result<Option<String>> {
        if self.is(Fault::FindsNothing) { Ok(None) } else { self.steps().find(definition, reference).await }
    }

    async fn reopen(&self, revision: u64, at: DateTime<Utc>, step: &StepCommit) -> Result<Reopened> {
        let ends = self.below.get_events(CHILD_ENDED, &step.instance_id, DateTime::<Utc>::MAX_UTC).await?;
        let end = match ends.first() {
            Some(end) => Some(self.below.get_event(end).await?),
            None => None,
        };
        match self.steps().reopen(revision, at, step).await? {
            Reopened::Refused(RetryRefusal::Changed) if self.is(Fault::RetriesWhateverHasChanged) => {
                let revision = self.steps().load(&step.instance_id).await?.revision;
                self.steps().reopen(revision, at, step).await
            }
            Reopened::Refused(RetryRefusal::Child { .. }) if self.is(Fault::ReopensEveryChild) => {
                Ok(Reopened::Done)
            }
            reopened => {
                if let Some(end) = end.filter(|_| self.is(Fault::KeepsEndsOfChildren)) {
                    self.below.create_event(&end).await?;
                }
                Ok(reopened)
            }
        }
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let mut step = step.clone();
        self.lose(&mut step);
        if self.is(Fault::DropsAttributesOfCommits) {
            step.attributes.get_or_insert_default();
        }
        if self.is(Fault::PassesOverWhateverHasTheId) {
            for event in std::mem::take(&mut step.published) {
                if self.below.get_event(&event.id).await.is_err() {
                    step.published.push(event);
                }
            }
            for child in std::mem::take(&mut step.created) {
                if self.below.get_workflow_instance(&child.id).await.is_err() {
                    step.created.push(child);
                }
            }
        }
        match (self.fault, self.steps().commit_step(fence, &step).await?) {
            (Fault::IgnoresFences, Committed::Lost) => {
                let stored = self.steps().load(&step.instance_id).await?.fence;
                self.steps().commit_step(stored, &step).await
            }
            (Fault::IgnoresRequests, Committed::Control(request)) => {
                let applied = StepCommit { applied: Some(request.number), ..step };
                self.steps().commit_step(fence, &applied).await
            }
            (_, committed) => Ok(committed),
        }
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        let limit = if self.is(Fault::ClaimsBeyondTheLimit) { limit + 1 } else { limit };
        if self.is(Fault::NeverTakesFromTheFrozen) {
            // As if each owner gave signs of life by being there.
            let owners: Vec<_> = self.memory.lock().unwrap().owners.iter().copied().collect();
            for id in owners {
                self.steps().heartbeat(&Owner::new(id, ())).await?;
            }
        }
        let mut claimed = self.steps().claim(owner, definitions, as_at, limit).await?;
        for claimed in &mut claimed {
            match self.fault {
                Fault::CountsNoDeaths => claimed.deaths = Deaths::default(),
                // A new instance of an owner has the first fence.
                Fault::CountsEveryClaim => claimed.deaths.in_a_row += u32::from(claimed.fence > Fence(1)),
                _ => {}
            }
        }
        Ok(claimed)
    }

    async fn isolate(&self, id: &str, fence: Fence, isolation: Isolation) -> Result<bool> {
        if self.is(Fault::NotesNoIsolation) {
            Ok(true)
        } else {
            self.steps().isolate(id, fence, isolation).await
        }
    }

    async fn heartbeat(&self, owner: &Owner) -> Result<()> {
        if self.is(Fault::IgnoresHeartbeats) { Ok(()) } else { self.steps().heartbeat(owner).await }
    }

    async fn start_with(
        &self,
        owner: Option<&Owner>,
        instance: &WorkflowInstance,
        known: Known,
        attributes: &Map<String, Value>,
    ) -> Result<Started> {
        if self.is(Fault::ForgetsAttributesOfStarts) {
            return self.start_if(owner, instance, known).await;
        }
        self.steps().start_with(owner, instance, known, attributes).await
    }

    async fn describe(&self, owner: &Owner, card: &HostCard) -> Result<()> {
        let is_first = self.memory.lock().unwrap().described.insert(owner.id());
        if self.is(Fault::KeepsItsFirstCard) && !is_first {
            return Ok(());
        }
        self.steps().describe(owner, card).await
    }

    async fn hosts(&self, fresh: Duration) -> Result<Vec<Host>> {
        self.steps().hosts(if self.is(Fault::AsksNoHost) { Duration::ZERO } else { fresh }).await
    }

    async fn intervene(&self, id: &str, intervention: &Intervention) -> Result<Requested> {
        if self.is(Fault::ResumesInstead) {
            return self.steps().request(id, Control::Resume).await;
        }
        self.steps().intervene(id, intervention).await
    }

    async fn finish_events(&self, after: Option<&str>, limit: usize) -> Result<Swept> {
        let swept = self.steps().finish_events(after, limit).await?;
        if self.is(Fault::FinishesWhatIsNeeded) {
            for event in self.below.get_runnable_events(DateTime::<Utc>::MAX_UTC).await? {
                self.below.mark_event_processed(&event).await?;
            }
        }
        Ok(if self.is(Fault::StopsAtTheFirstPageOfEvents) { Swept { next: None, ..swept } } else { swept })
    }

    async fn failures(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<ErrorRecord>> {
        let page = self.steps().failures(id, after, limit).await?;
        if self.is(Fault::RepeatsFailures) {
            let next = page.next.map(|Cursor(next)| Cursor(next - 1));
            return Ok(Page { next, ..page });
        }
        Ok(page)
    }

    async fn acquire(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>> {
        match self.steps().acquire(owner, definitions, id, as_at).await {
            Err(WfeError::DefinitionNotFound { id: definition, version })
                if self.is(Fault::AcquiresAnyDefinition) =>
            {
                self.steps().acquire(owner, &[(definition, version)], id, as_at).await
            }
            acquired => acquired,
        }
    }

    async fn upcoming_event(&self, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let next = self.steps().upcoming_event(after).await?;
        Ok(next.filter(|_| !self.is(Fault::SeesNothingAhead)))
    }

    async fn position_due_events(&self) -> Result<bool> {
        if self.is(Fault::GivesNoPositions) { Ok(false) } else { self.steps().position_due_events().await }
    }

    async fn open_waits(
        &self,
        name: &str,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<EventSubscription>> {
        if self.is(Fault::OffersNoWork) {
            return Err(WfeError::Unsupported("work"));
        }
        let page = self.steps().open_waits(name, after, limit).await?;
        Ok(if self.is(Fault::ListsOnePageOfWork) { Page { next: None, ..page } } else { page })
    }

    async fn claim_wait(
        &self,
        name: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        let claimed = self.steps().claim_wait(name, token, worker, expiry).await?;
        if claimed.is_none() && self.is(Fault::GivesHeldWorkAway) {
            return Ok(self.steps().open_waits(name, None, 1).await?.rows.pop());
        }
        Ok(claimed)
    }

    async fn answer_wait(&self, wait_id: &str, token: Option<&str>, event: &Event) -> Result<bool> {
        if self.is(Fault::LosesAnswers) {
            return Ok(true);
        }
        match self.steps().answer_wait(wait_id, token, event).await {
            Err(WfeError::SubscriptionNotFound(_)) if self.is(Fault::TakesLateAnswers) => {
                self.steps().answer_wait(wait_id, None, event).await
            }
            Err(WfeError::SubscriptionNotFound(_)) if self.is(Fault::TakesOtherAnswers) => {
                self.below.create_event(event).await.map(|_| true)
            }
            other => other,
        }
    }

    async fn create_event_now(&self, event: &Event) -> Result<String> {
        if self.is(Fault::LosesEvents) {
            return Ok(event.id.clone());
        }
        if self.is(Fault::LeavesDatesToPublishers) {
            return self.below.create_event(event).await;
        }
        self.below.create_event_now(event).await
    }

    async fn publish(&self, event: &Event, is_dated: bool, receiver: Option<&str>) -> Result<Published> {
        if self.is(Fault::LosesEvents) {
            return Ok(Published::new(&event.id));
        }
        let receiver = receiver.filter(|_| !self.is(Fault::StoresForAnyReceiver));
        let is_dated = is_dated || self.is(Fault::LeavesDatesToPublishers);
        let mut published = self.steps().publish(event, is_dated, receiver).await?;
        match self.fault {
            Fault::MeetsNoWaits => published.waits = 0,
            Fault::ForgetsWhatWasConsumed => published.is_consumed = false,
            _ => {}
        }
        Ok(published)
    }

    async fn requested(&self, owner: &Owner) -> Result<Vec<String>> {
        let asked = self.steps().requested(owner).await?;
        Ok(if self.is(Fault::SeesNoRequestsForBusyInstances) { Vec::new() } else { asked })
    }

    async fn ended(&self, ids: &[String]) -> Result<Vec<String>> {
        if self.is(Fault::TakesAllForEnded) { Ok(ids.to_vec()) } else { self.steps().ended(ids).await }
    }

    fn news(&self) -> BoxStream<'static, ()> {
        let news = self.steps().news();
        if self.is(Fault::TellsOldNews) { stream::iter([()]).chain(news).boxed() } else { news }
    }

    async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
        // As one whose list of ids ends at a NUL.
        let overlooked = |id: &String| self.is(Fault::OverlooksWhatIsPending) && id.contains('\0');
        let mut pending = self.load(id).await?.into_pending(waits);
        pending.deliveries.retain(|delivery| waits.is_none() || !overlooked(&delivery.subscription_id));
        Ok(pending)
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        let mut loaded = self.steps().load(id).await?;
        if self.is(Fault::DeliversTwice) {
            // As a store that keeps no position does: every wait gets the first event of its stream.
            for wait in &loaded.waits {
                let events = self
                    .below
                    .get_events(&wait.event_name, &wait.event_key, DateTime::<Utc>::MAX_UTC)
                    .await?;
                let Some(first) = events.first() else { continue };
                let event = self.below.get_event(first).await?;
                loaded.deliveries.retain(|delivery| delivery.subscription_id != wait.id);
                loaded.deliveries.push(Delivery { subscription_id: wait.id.clone(), event });
            }
        }
        if self.is(Fault::GoesByDatesAlone) {
            loaded.deliveries.retain(|delivery| {
                let wait = loaded.waits.iter().find(|wait| wait.id == delivery.subscription_id);
                wait.is_some_and(|wait| delivery.event.event_time >= wait.subscribe_as_of)
            });
        }
        Ok(loaded)
    }

    async fn finish_event(&self, event_id: &str) -> Result<bool> {
        if self.is(Fault::FinishesEveryEvent) {
            self.below.mark_event_processed(event_id).await?;
            return Ok(true);
        }
        self.steps().finish_event(event_id).await
    }
}
