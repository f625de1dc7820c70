use std::sync::Arc;

use async_trait::async_trait;

use super::{
    EventRepository, Management, ScheduledCommandRepository, StepStore, SubscriptionRepository,
    WorkflowRepository,
};
use crate::{Result, models::ExecutionError};

/// A store of workflows: what the engine needs at least.
#[async_trait]
pub trait PersistenceProvider:
    WorkflowRepository + EventRepository + SubscriptionRepository + ScheduledCommandRepository
{
    /// Stores these failures, all or none. An empty slice is allowed.
    ///
    /// # Errors
    /// [`Unstorable`](crate::WfeError::Unstorable): a time cannot be stored exactly; none was stored.
    async fn persist_errors(&self, errors: &[ExecutionError]) -> Result<()>;

    /// Creates the schema, or upgrades it in place; idempotent.
    ///
    /// # Errors
    /// [`SchemaTooNew`](crate::WfeError::SchemaTooNew): a newer version wrote the store; it is left untouched.
    async fn ensure_store_exists(&self) -> Result<()>;

    /// The store as a [`StepStore`]. `None`, the default: it is none, and its host must be the only process
    /// that uses it.
    fn step_store(self: Arc<Self>) -> Option<Arc<dyn StepStore>> {
        None
    }

    /// The store's management interface, for operators. `None`, the default: it has none.
    fn management(self: Arc<Self>) -> Option<Arc<dyn Management>> {
        None
    }
}
