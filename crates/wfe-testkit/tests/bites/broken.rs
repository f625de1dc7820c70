//! A store that keeps every rule but one.

use std::{collections::HashSet, future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    models::{Event, EventSubscription, ExecutionError, ScheduledCommand, WorkflowInstance},
    traits::{
        EventRepository, PersistenceProvider, ScheduledCommandRepository, StepStore, SubscriptionRepository,
        WorkflowRepository,
    },
};

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
    FinishesEveryEvent,
    DeliversTwice,
    ClaimsBeyondTheLimit,
}

pub struct Broken {
    pub inner: Arc<dyn PersistenceProvider>,
    pub fault: Fault,
}

impl Broken {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
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
impl WorkflowRepository for Broken {
    async fn create_new_workflow(&self, workflow: &WorkflowInstance) -> Result<String> {
        self.inner.create_new_workflow(workflow).await
    }

    async fn persist_workflow(&self, workflow: &WorkflowInstance) -> Result<()> {
        if self.is(Fault::KeepsRemovedPointers) {
            let mut kept = workflow.clone();
            let old = self.inner.get_workflow_instance(&workflow.id).await?.execution_pointers;
            kept.execution_pointers.extend(
                old.into_iter().filter(|old| workflow.execution_pointers.iter().all(|p| p.id != old.id)),
            );
            return self.inner.persist_workflow(&kept).await;
        }
        match self.inner.persist_workflow(workflow).await {
            Err(WfeError::WorkflowNotFound(_)) if self.is(Fault::CreatesWhatItShouldReplace) => {
                self.inner.create_new_workflow(workflow).await.map(drop)
            }
            other => other,
        }
    }

    async fn persist_workflow_with_subscriptions(
        &self,
        workflow: &WorkflowInstance,
        subscriptions: &[EventSubscription],
    ) -> Result<()> {
        self.inner.persist_workflow_with_subscriptions(workflow, subscriptions).await
    }

    async fn get_runnable_instances(&self, as_at: DateTime<Utc>) -> Result<Vec<String>> {
        let early = if self.is(Fault::IsDueEarly) { TimeDelta::milliseconds(1) } else { TimeDelta::zero() };
        self.inner.get_runnable_instances(as_at + early).await
    }

    async fn get_workflow_instance(&self, workflow_id: &str) -> Result<WorkflowInstance> {
        Ok(self.spoil(self.inner.get_workflow_instance(workflow_id).await?))
    }

    async fn get_workflow_instance_by_name(&self, name: &str) -> Result<WorkflowInstance> {
        Ok(self.spoil(self.inner.get_workflow_instance_by_name(name).await?))
    }

    async fn get_workflow_instances(&self, workflow_ids: &[String]) -> Result<Vec<WorkflowInstance>> {
        let read = self.inner.get_workflow_instances(workflow_ids).await?;
        Ok(read.into_iter().map(|one| self.spoil(one)).collect())
    }

    async fn next_definition_sequence(&self, definition_id: &str) -> Result<u64> {
        self.inner.next_definition_sequence(definition_id).await
    }
}

#[async_trait]
impl EventRepository for Broken {
    async fn create_event(&self, event: &Event) -> Result<String> {
        self.inner.create_event(event).await
    }

    async fn get_event(&self, event_id: &str) -> Result<Event> {
        let mut read = self.inner.get_event(event_id).await?;
        if self.is(Fault::RoundsTimes) {
            read.event_time = read.event_time.trunc_subsecs(6);
        }
        Ok(read)
    }

    async fn get_runnable_events(&self, as_at: DateTime<Utc>) -> Result<Vec<String>> {
        self.inner.get_runnable_events(as_at).await
    }

    async fn get_events(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<String>> {
        self.inner.get_events(event_name, event_key, as_of).await
    }

    async fn mark_event_processed(&self, event_id: &str) -> Result<()> {
        self.inner.mark_event_processed(event_id).await
    }

    async fn mark_event_unprocessed(&self, event_id: &str) -> Result<()> {
        self.inner.mark_event_unprocessed(event_id).await
    }
}

#[async_trait]
impl SubscriptionRepository for Broken {
    async fn create_event_subscription(&self, subscription: &EventSubscription) -> Result<String> {
        let unprocessed = async || self.inner.get_runnable_events(DateTime::<Utc>::MAX_UTC).await;
        let before: HashSet<_> = unprocessed().await?.into_iter().collect();
        let id = self.inner.create_event_subscription(subscription).await?;
        if self.is(Fault::IgnoresEarlyEvents) {
            for event in unprocessed().await?.into_iter().filter(|event| !before.contains(event)) {
                self.inner.mark_event_processed(&event).await?;
            }
        }
        Ok(id)
    }

    async fn get_subscriptions(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<EventSubscription>> {
        self.inner.get_subscriptions(event_name, event_key, as_of).await
    }

    async fn get_subscription(&self, subscription_id: &str) -> Result<EventSubscription> {
        self.inner.get_subscription(subscription_id).await
    }

    async fn terminate_subscription(&self, subscription_id: &str) -> Result<()> {
        self.inner.terminate_subscription(subscription_id).await
    }

    async fn get_first_open_subscription(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        self.inner.get_first_open_subscription(event_name, event_key, as_of).await
    }

    async fn set_subscription_token(
        &self,
        subscription_id: &str,
        token: &str,
        worker_id: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool> {
        let set = self.inner.set_subscription_token(subscription_id, token, worker_id, expiry).await?;
        Ok(set || self.is(Fault::AgreesToEveryToken))
    }

    async fn clear_subscription_token(&self, subscription_id: &str, token: &str) -> Result<()> {
        self.inner.clear_subscription_token(subscription_id, token).await
    }
}

#[async_trait]
impl ScheduledCommandRepository for Broken {
    fn supports_scheduled_commands(&self) -> bool {
        self.inner.supports_scheduled_commands()
    }

    async fn schedule_command(&self, command: &ScheduledCommand) -> Result<()> {
        let mut command = command.clone();
        if self.is(Fault::DelaysWakeUps) {
            command.execute_time += 1;
        }
        self.inner.schedule_command(&command).await
    }

    async fn process_commands(
        &self,
        as_of: DateTime<Utc>,
        handler: &(
             dyn Fn(ScheduledCommand) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync
         ),
    ) -> Result<()> {
        if !self.is(Fault::RunsCommandsOnceWhateverComesOfIt) {
            return self.inner.process_commands(as_of, handler).await;
        }
        let failed = Arc::new(std::sync::Mutex::new(None));
        let swallow = |command| -> wfe_core::traits::CommandFuture {
            let (run, failed) = (handler(command), Arc::clone(&failed));
            Box::pin(async move {
                if let Err(error) = run.await {
                    failed.lock().unwrap().get_or_insert(error);
                }
                Ok(())
            })
        };
        self.inner.process_commands(as_of, &swallow).await?;
        let first = failed.lock().unwrap().take();
        first.map_or(Ok(()), Err)
    }
}

#[async_trait]
impl PersistenceProvider for Broken {
    async fn persist_errors(&self, errors: &[ExecutionError]) -> Result<()> {
        self.inner.persist_errors(errors).await
    }

    async fn ensure_store_exists(&self) -> Result<()> {
        self.inner.ensure_store_exists().await
    }

    fn step_store(&self) -> Option<&dyn StepStore> {
        let has_one = self.inner.step_store().is_some() && !self.is(Fault::HidesItsStepStore);
        has_one.then_some(self)
    }
}
