use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result,
    models::{EventSubscription, WorkflowInstance},
};

/// Instances and their execution pointers.
#[async_trait]
pub trait WorkflowRepository: Send + Sync {
    /// Stores a new instance and its pointers in one transaction, and returns its id.
    ///
    /// If the id is empty, the store creates one (a time-ordered UUID). If the name is empty, the id serves as
    /// the name. References need not be unique here; an idempotent start is
    /// [`StepStore::start`](super::StepStore::start).
    ///
    /// # Errors
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): the id or the name is taken, or two pointers share
    ///   an id.
    /// * [`Unstorable`](crate::WfeError::Unstorable): a value cannot be stored exactly.
    async fn create_new_workflow(&self, workflow: &WorkflowInstance) -> Result<String>;

    /// Makes the stored instance equal to the argument, in one transaction: its fields, and exactly its
    /// pointers in its order.
    ///
    /// Pointers are added, changed and removed as needed. An empty name leaves the stored name as it is.
    /// History rows and the data beside the model (see [`StepStore`](super::StepStore)) do not change.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](crate::WfeError::WorkflowNotFound): no instance has this id; nothing was written.
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): another instance has the name, or two pointers
    ///   share an id.
    /// * [`Unstorable`](crate::WfeError::Unstorable): a value cannot be stored exactly.
    async fn persist_workflow(&self, workflow: &WorkflowInstance) -> Result<()>;

    /// As [`persist_workflow`](Self::persist_workflow), and stores the subscriptions in the same transaction.
    ///
    /// In that transaction too, the oldest stored event that a new subscription matches (same name and key,
    /// `event_time >= subscribe_as_of`), and only that one, becomes unprocessed again: so a subscription
    /// receives an event that was stored before it.
    ///
    /// # Errors
    /// Those of [`persist_workflow`](Self::persist_workflow); [`AlreadyExists`](crate::WfeError::AlreadyExists)
    /// also for a subscription's id.
    async fn persist_workflow_with_subscriptions(
        &self,
        workflow: &WorkflowInstance,
        subscriptions: &[EventSubscription],
    ) -> Result<()>;

    /// Ids of the runnable instances with `next_execution <= as_at`, earliest first. The cost grows with the
    /// answer, not with the table.
    async fn get_runnable_instances(&self, as_at: DateTime<Utc>) -> Result<Vec<String>>;

    /// One consistent snapshot of an instance: its fields and its pointers, in order, from the same commit.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](crate::WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Corrupt`](crate::WfeError::Corrupt): a stored value does not decode.
    async fn get_workflow_instance(&self, workflow_id: &str) -> Result<WorkflowInstance>;

    /// As [`get_workflow_instance`](Self::get_workflow_instance), by name.
    ///
    /// # Errors
    /// Those of [`get_workflow_instance`](Self::get_workflow_instance).
    async fn get_workflow_instance_by_name(&self, name: &str) -> Result<WorkflowInstance>;

    /// The instances with these ids, in the order asked, missing ones skipped; one consistent snapshot each,
    /// and a bounded number of statements however many ids. One that does not decode is left out, and reported.
    async fn get_workflow_instances(&self, workflow_ids: &[String]) -> Result<Vec<WorkflowInstance>>;

    /// 1, 2, 3 … for each definition id: atomic across processes, and never reused, even after a purge.
    async fn next_definition_sequence(&self, definition_id: &str) -> Result<u64>;
}
