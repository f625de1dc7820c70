//! A minimal third-party store, which implements the plain traits only: it compiles, it is object-safe, and it
//! has neither of the two further traits.

#![expect(clippy::disallowed_methods, reason = "the constructors that are tested read the system clock, too")]

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe_core::{
    Result, WfeError,
    models::{Event, EventSubscription, ExecutionError, ScheduledCommand, WorkflowInstance},
    traits::{
        EventRepository, PersistenceProvider, ScheduledCommandRepository, SubscriptionRepository,
        WorkflowRepository,
    },
};

/// A store that stores nothing, and refuses every write.
struct Empty;

#[async_trait]
impl WorkflowRepository for Empty {
    async fn create_new_workflow(&self, _: &WorkflowInstance) -> Result<String> {
        Err(WfeError::Persistence("stores nothing".into()))
    }
    async fn persist_workflow(&self, workflow: &WorkflowInstance) -> Result<()> {
        Err(WfeError::WorkflowNotFound(workflow.id.clone()))
    }
    async fn persist_workflow_with_subscriptions(
        &self,
        workflow: &WorkflowInstance,
        _: &[EventSubscription],
    ) -> Result<()> {
        self.persist_workflow(workflow).await
    }
    async fn get_runnable_instances(&self, _: DateTime<Utc>) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    async fn get_workflow_instance(&self, id: &str) -> Result<WorkflowInstance> {
        Err(WfeError::WorkflowNotFound(id.into()))
    }
    async fn get_workflow_instance_by_name(&self, name: &str) -> Result<WorkflowInstance> {
        Err(WfeError::WorkflowNotFound(name.into()))
    }
    async fn get_workflow_instances(&self, _: &[String]) -> Result<Vec<WorkflowInstance>> {
        Ok(Vec::new())
    }
    async fn next_definition_sequence(&self, _: &str) -> Result<u64> {
        Ok(1)
    }
}

#[async_trait]
impl EventRepository for Empty {
    async fn create_event(&self, _: &Event) -> Result<String> {
        Err(WfeError::Persistence("stores nothing".into()))
    }
    async fn get_event(&self, id: &str) -> Result<Event> {
        Err(WfeError::EventNotFound(id.into()))
    }
    async fn get_runnable_events(&self, _: DateTime<Utc>) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    async fn get_events(&self, _: &str, _: &str, _: DateTime<Utc>) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    async fn mark_event_processed(&self, id: &str) -> Result<()> {
        Err(WfeError::EventNotFound(id.into()))
    }
    async fn mark_event_unprocessed(&self, id: &str) -> Result<()> {
        Err(WfeError::EventNotFound(id.into()))
    }
}

#[async_trait]
impl SubscriptionRepository for Empty {
    async fn create_event_subscription(&self, _: &EventSubscription) -> Result<String> {
        Err(WfeError::Persistence("stores nothing".into()))
    }
    async fn get_subscriptions(&self, _: &str, _: &str, _: DateTime<Utc>) -> Result<Vec<EventSubscription>> {
        Ok(Vec::new())
    }
    async fn get_subscription(&self, id: &str) -> Result<EventSubscription> {
        Err(WfeError::SubscriptionNotFound(id.into()))
    }
    async fn terminate_subscription(&self, id: &str) -> Result<()> {
        Err(WfeError::SubscriptionNotFound(id.into()))
    }
    async fn get_first_open_subscription(
        &self,
        _: &str,
        _: &str,
        _: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        Ok(None)
    }
    async fn set_subscription_token(&self, id: &str, _: &str, _: &str, _: DateTime<Utc>) -> Result<bool> {
        Err(WfeError::SubscriptionNotFound(id.into()))
    }
    async fn clear_subscription_token(&self, id: &str, _: &str) -> Result<()> {
        Err(WfeError::SubscriptionNotFound(id.into()))
    }
}

#[async_trait]
impl ScheduledCommandRepository for Empty {
    fn supports_scheduled_commands(&self) -> bool {
        false
    }
    async fn schedule_command(&self, _: &ScheduledCommand) -> Result<()> {
        Err(WfeError::Persistence("keeps no commands".into()))
    }
    async fn process_commands(
        &self,
        _: DateTime<Utc>,
        _: &(dyn Fn(ScheduledCommand) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync),
    ) -> Result<()> {
        Err(WfeError::Persistence("keeps no commands".into()))
    }
}

#[async_trait]
impl PersistenceProvider for Empty {
    async fn persist_errors(&self, _: &[ExecutionError]) -> Result<()> {
        Ok(())
    }
    async fn ensure_store_exists(&self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_minimal_store_is_object_safe_and_offers_no_more_than_it_has() {
    let store: Arc<dyn PersistenceProvider> = Arc::new(Empty);
    store.ensure_store_exists().await.unwrap();
    assert!(store.clone().step_store().is_none());
    assert!(store.clone().management().is_none());
    let handler = |_: ScheduledCommand| -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(async { Ok(()) })
    };
    assert!(store.process_commands(Utc::now(), &handler).await.is_err());
}
