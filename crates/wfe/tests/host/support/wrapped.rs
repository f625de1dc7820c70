use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe::{
    Result,
    models::{Event, EventSubscription, ExecutionError, ScheduledCommand, WorkflowInstance},
    traits::{
        CommandFuture, EventRepository, PersistenceProvider, ScheduledCommandRepository, StepStore,
        SubscriptionRepository, WorkflowRepository,
    },
};

/// A provider with another step store in the place of its own; `None`: with none, as a minimal store of somebody
/// else's.
pub struct Wrapped {
    pub inner: Arc<dyn PersistenceProvider>,
    pub steps: Option<Box<dyn StepStore>>,
}

#[async_trait]
impl WorkflowRepository for Wrapped {
    async fn create_new_workflow(&self, workflow: &WorkflowInstance) -> Result<String> {
        self.inner.create_new_workflow(workflow).await
    }

    async fn persist_workflow(&self, workflow: &WorkflowInstance) -> Result<()> {
        self.inner.persist_workflow(workflow).await
    }

    async fn persist_workflow_with_subscriptions(
        &self,
        workflow: &WorkflowInstance,
        subscriptions: &[EventSubscription],
    ) -> Result<()> {
        self.inner.persist_workflow_with_subscriptions(workflow, subscriptions).await
    }

    async fn get_runnable_instances(&self, as_at: DateTime<Utc>) -> Result<Vec<String>> {
        self.inner.get_runnable_instances(as_at).await
    }

    async fn get_workflow_instance(&self, workflow_id: &str) -> Result<WorkflowInstance> {
        self.inner.get_workflow_instance(workflow_id).await
    }

    async fn get_workflow_instance_by_name(&self, name: &str) -> Result<WorkflowInstance> {
        self.inner.get_workflow_instance_by_name(name).await
    }

    async fn get_workflow_instances(&self, workflow_ids: &[String]) -> Result<Vec<WorkflowInstance>> {
        self.inner.get_workflow_instances(workflow_ids).await
    }

    async fn next_definition_sequence(&self, definition_id: &str) -> Result<u64> {
        self.inner.next_definition_sequence(definition_id).await
    }
}

#[async_trait]
impl EventRepository for Wrapped {
    async fn create_event(&self, event: &Event) -> Result<String> {
        self.inner.create_event(event).await
    }

    async fn get_event(&self, id: &str) -> Result<Event> {
        self.inner.get_event(id).await
    }

    async fn get_runnable_events(&self, as_at: DateTime<Utc>) -> Result<Vec<String>> {
        self.inner.get_runnable_events(as_at).await
    }

    async fn get_events(&self, name: &str, key: &str, as_of: DateTime<Utc>) -> Result<Vec<String>> {
        self.inner.get_events(name, key, as_of).await
    }

    async fn mark_event_processed(&self, id: &str) -> Result<()> {
        self.inner.mark_event_processed(id).await
    }

    async fn mark_event_unprocessed(&self, id: &str) -> Result<()> {
        self.inner.mark_event_unprocessed(id).await
    }
}

#[async_trait]
impl SubscriptionRepository for Wrapped {
    async fn create_event_subscription(&self, subscription: &EventSubscription) -> Result<String> {
        self.inner.create_event_subscription(subscription).await
    }

    async fn get_subscriptions(
        &self,
        name: &str,
        key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<EventSubscription>> {
        self.inner.get_subscriptions(name, key, as_of).await
    }

    async fn get_subscription(&self, id: &str) -> Result<EventSubscription> {
        self.inner.get_subscription(id).await
    }

    async fn terminate_subscription(&self, id: &str) -> Result<()> {
        self.inner.terminate_subscription(id).await
    }

    async fn get_first_open_subscription(
        &self,
        name: &str,
        key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        self.inner.get_first_open_subscription(name, key, as_of).await
    }

    async fn set_subscription_token(
        &self,
        id: &str,
        token: &str,
        worker_id: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool> {
        self.inner.set_subscription_token(id, token, worker_id, expiry).await
    }

    async fn clear_subscription_token(&self, id: &str, token: &str) -> Result<()> {
        self.inner.clear_subscription_token(id, token).await
    }
}

#[async_trait]
impl ScheduledCommandRepository for Wrapped {
    fn supports_scheduled_commands(&self) -> bool {
        self.inner.supports_scheduled_commands()
    }

    async fn schedule_command(&self, command: &ScheduledCommand) -> Result<()> {
        self.inner.schedule_command(command).await
    }

    async fn process_commands(
        &self,
        as_of: DateTime<Utc>,
        handler: &(dyn Fn(ScheduledCommand) -> CommandFuture + Send + Sync),
    ) -> Result<()> {
        self.inner.process_commands(as_of, handler).await
    }
}

#[async_trait]
impl PersistenceProvider for Wrapped {
    async fn persist_errors(&self, errors: &[ExecutionError]) -> Result<()> {
        self.inner.persist_errors(errors).await
    }

    async fn ensure_store_exists(&self) -> Result<()> {
        self.inner.ensure_store_exists().await
    }

    fn step_store(&self) -> Option<&dyn StepStore> {
        self.steps.as_deref()
    }
}
