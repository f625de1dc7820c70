use std::sync::Arc;

use async_trait::async_trait;

use super::{
    EventRepository, Management, ScheduledCommandRepository, StepStore, SubscriptionRepository,
    WorkflowRepository,
};
use crate::{Result, models::ExecutionError};

/// A store of workflows.
#[async_trait]
pub trait PersistenceProvider:
    WorkflowRepository + EventRepository + SubscriptionRepository + ScheduledCommandRepository
{
    /// Stores these failures, all or none; an empty slice is fine.
    ///
    /// # Errors
    /// [`Unstorable`](crate::WfeError::Unstorable): a time cannot be stored exactly; none was stored.
    async fn persist_errors(&self, errors: &[ExecutionError]) -> Result<()>;

    /// Creates the schema, or upgrades it in place; idempotent.
    ///
    /// # Errors
    /// [`SchemaTooNew`](crate::WfeError::SchemaTooNew): a newer version wrote the store; it is left untouched.
    async fn ensure_store_exists(&self) -> Result<()>;

    /// The engine's own way to write; `None`: this store has none, and the host runs as the only process on it.
    fn step_store(self: Arc<Self>) -> Option<Arc<dyn StepStore>> {
        None
    }

    /// What operators need; `None`: this store has none.
    fn management(self: Arc<Self>) -> Option<Arc<dyn Management>> {
        None
    }
}
