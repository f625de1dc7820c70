use std::sync::Arc;

use async_trait::async_trait;

use super::{
    EventRepository, Management, ScheduledCommandRepository, StepStore, SubscriptionRepository,
    WorkflowRepository,
};
use crate::{Result, models::ExecutionError};

/// A store of workflows: the minimum that the engine needs.
#[async_trait]
pub trait PersistenceProvider:
    WorkflowRepository + EventRepository + SubscriptionRepository + ScheduledCommandRepository
{
    /// Stores either all of these failures or none of them. An empty slice is allowed.
    ///
    /// # Errors
    /// [`Unstorable`](crate::WfeError::Unstorable): a time cannot be stored exactly; no failure was stored.
    async fn persist_errors(&self, errors: &[ExecutionError]) -> Result<()>;

    /// Creates the schema, or upgrades it in place; idempotent.
    ///
    /// # Errors
    /// [`SchemaTooNew`](crate::WfeError::SchemaTooNew): a newer version wrote the store; the store is left
    /// unchanged.
    async fn ensure_store_exists(&self) -> Result<()>;

    /// The store as a [`StepStore`]. `None`, the default, means that the store does not implement
    /// [`StepStore`]. In that case, the host's process must be the only process that uses the store.
    fn step_store(self: Arc<Self>) -> Option<Arc<dyn StepStore>> {
        None
    }

    /// The store's management interface, for operators. `None`, the default, means that the store has no
    /// management interface.
    fn management(self: Arc<Self>) -> Option<Arc<dyn Management>> {
        None
    }
}
