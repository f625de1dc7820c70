use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe::{
    Result,
    models::{Event, EventSubscription, ExecutionError, ScheduledCommand, WorkflowInstance},
    traits::{
        CommandFuture, EventRepository, PersistenceProvider, ScheduledCommandRepository,
        SubscriptionRepository, WorkflowRepository,
    },
};
use wfe_sqlite::SqlitePersistenceProvider;

/// A provider whose step store is hidden: what a minimal store of somebody else's looks like.
pub struct Hidden(pub SqlitePersistenceProvider);

#[async_trait]
impl WorkflowRepository for Hidden {
    async fn create_new_workflow(&self, workflow: &WorkflowInstance) -> Result<String> {
        self.0.create_new_workflow(workflow).await
    }

    async fn persist_workflow(&self, workflow: &WorkflowInstance) -> Result<()> {
        self.0.persist_workflow(workflow).await
    }

    async fn persist_workflow_with_subscriptions(
        &self,
        workflow: &WorkflowInstance,
        subscriptions: &[EventSubscription],
    ) -> Result<()> {
        self.0.persist_workflow_with_subscriptions(workflow, subscriptions).await
    }

    async fn get_runnable_instances(&self, as_at: DateTime<Utc>) -> Result<Vec<String>> {
        self.0.get_runnable_instances(as_at).await
    }

    async fn get_workflow_instance(&self, workflow_id: &str) -> Result<WorkflowInstance> {
        self.0.get_workflow_instance(workflow_id).await
    }

    async fn get_workflow_instance_by_name(&self, name: &str) -> Result<WorkflowInstance> {
        self.0.get_workflow_instance_by_name(name).await
    }

    async fn get_workflow_instances(&self, workflow_ids: &[String]) -> Result<Vec<WorkflowInstance>> {
        self.0.get_workflow_instances(workflow_ids).await
    }

    async fn next_definition_sequence(&self, definition_id: &str) -> Result<u64> {
        self.0.next_definition_sequence(definition_id).await
    }
}

#[async_trait]
impl EventRepository for Hidden {
    async fn create_event(&self, event: &Event) -> Result<String> {
        self.0.create_event(event).await
    }

    async fn get_event(&self, id: &str) -> Result<Event> {
        self.0.get_event(id).await
    }

    async fn get_runnable_events(&self, as_at: DateTime<Utc>) -> Result<Vec<String>> {
        self.0.get_runnable_events(as_at).await
    }

    async fn get_events(&self, name: &str, key: &str, as_of: DateTime<Utc>) -> Result<Vec<String>> {
        self.0.get_events(name, key, as_of).await
    }

    async fn mark_event_processed(&self, id: &str) -> Result<()> {
        self.0.mark_event_processed(id).await
    }

    async fn mark_event_unprocessed(&self, id: &str) -> Result<()> {
        self.0.mark_event_unprocessed(id).await
    }
}

#[async_trait]
impl SubscriptionRepository for Hidden {
    async fn create_event_subscription(&self, subscription: &EventSubscription) -> Result<String> {
        self.0.create_event_subscription(subscription).await
    }

    async fn get_subscriptions(
        &self,
        name: &str,
        key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<EventSubscription>> {
        self.0.get_subscriptions(name, key, as_of).await
    }

    async fn get_subscription(&self, id: &str) -> Result<EventSubscription> {
        self.0.get_subscription(id).await
    }

    async fn terminate_subscription(&self, id: &str) -> Result<()> {
        self.0.terminate_subscription(id).await
    }

    async fn get_first_open_subscription(
        &self,
        name: &str,
        key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        self.0.get_first_open_subscription(name, key, as_of).await
    }

    async fn set_subscription_token(
        &self,
        id: &str,
        token: &str,
        worker_id: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool> {
        self.0.set_subscription_token(id, token, worker_id, expiry).await
    }

    async fn clear_subscription_token(&self, id: &str, token: &str) -> Result<()> {
        self.0.clear_subscription_token(id, token).await
    }
}

#[async_trait]
impl ScheduledCommandRepository for Hidden {
    fn supports_scheduled_commands(&self) -> bool {
        self.0.supports_scheduled_commands()
    }

    async fn schedule_command(&self, command: &ScheduledCommand) -> Result<()> {
        self.0.schedule_command(command).await
    }

    async fn process_commands(
        &self,
        as_of: DateTime<Utc>,
        handler: &(dyn Fn(ScheduledCommand) -> CommandFuture + Send + Sync),
    ) -> Result<()> {
        self.0.process_commands(as_of, handler).await
    }
}

#[async_trait]
impl PersistenceProvider for Hidden {
    async fn persist_errors(&self, errors: &[ExecutionError]) -> Result<()> {
        self.0.persist_errors(errors).await
    }

    async fn ensure_store_exists(&self) -> Result<()> {
        self.0.ensure_store_exists().await
    }
}
