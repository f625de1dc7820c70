use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{
    Result,
    models::{EventSubscription, WorkflowInstance},
};

/// Stores instances and their execution pointers.
#[async_trait]
pub trait WorkflowRepository: Send + Sync {
    /// Stores a new instance and its pointers in one transaction, and returns its id.
    ///
    /// If the id is empty, the store creates one (a time-ordered UUID). If the name is empty, the id serves as
    /// the name. References need not be unique here; use [`StepStore::start`](super::StepStore::start) for an
    /// idempotent start.
    ///
    /// # Errors
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): the id or the name is taken, or two pointers share
    ///   an id.
    /// * [`Unstorable`](crate::WfeError::Unstorable): a value cannot be stored exactly.
    async fn create_new_workflow(&self, workflow: &WorkflowInstance) -> Result<String>;

    /// Makes the stored instance equal to the argument, in one transaction. The stored instance then has the
    /// argument's fields, and exactly the argument's pointers in the same order.
    ///
    /// Pointers are added, changed and removed as needed. An empty name leaves the stored name as it is.
    /// History rows and the data stored alongside the model (see [`StepStore`](super::StepStore)) do not
    /// change.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](crate::WfeError::WorkflowNotFound): no instance has this id; nothing was written.
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): another instance has the name, or two pointers
    ///   share an id.
    /// * [`Unstorable`](crate::WfeError::Unstorable): a value cannot be stored exactly.
    async fn persist_workflow(&self, workflow: &WorkflowInstance) -> Result<()>;

    /// Like [`persist_workflow`](Self::persist_workflow), but also stores the subscriptions in the same
    /// transaction.
    ///
    /// For each new subscription, the oldest stored event that the subscription matches becomes unprocessed
    /// again in the same transaction. All other events stay as they are. An event matches if it has the same
    /// name and key, and if `event_time >= subscribe_as_of`. So a subscription receives an event that was
    /// stored before the subscription.
    ///
    /// # Errors
    /// The same errors as [`persist_workflow`](Self::persist_workflow).
    /// [`AlreadyExists`](crate::WfeError::AlreadyExists) is also returned if the id of a subscription is taken.
    async fn persist_workflow_with_subscriptions(
        &self,
        workflow: &WorkflowInstance,
        subscriptions: &[EventSubscription],
    ) -> Result<()>;

    /// Ids of the runnable instances with `next_execution <= as_at`, earliest first. The cost grows with the
    /// number of returned ids, not with the size of the table.
    async fn get_runnable_instances(&self, as_at: DateTime<Utc>) -> Result<Vec<String>>;

    /// One consistent snapshot of an instance: its fields and its pointers, in order, from the same commit.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](crate::WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Corrupt`](crate::WfeError::Corrupt): a stored value does not decode.
    async fn get_workflow_instance(&self, workflow_id: &str) -> Result<WorkflowInstance>;

    /// Does the same as [`get_workflow_instance`](Self::get_workflow_instance), but finds the instance by its
    /// name.
    ///
    /// # Errors
    /// The same errors as [`get_workflow_instance`](Self::get_workflow_instance).
    async fn get_workflow_instance_by_name(&self, name: &str) -> Result<WorkflowInstance>;

    /// The instances with these ids, in the order of the ids; unknown ids are skipped. Each instance is one
    /// consistent snapshot. The number of statements is bounded, however many ids there are. An instance that
    /// does not decode is logged and left out.
    async fn get_workflow_instances(&self, workflow_ids: &[String]) -> Result<Vec<WorkflowInstance>>;

    /// The next number of the sequence 1, 2, 3 … for this definition id. The call is atomic across processes,
    /// and a number is never reused, even after a purge.
    async fn next_definition_sequence(&self, definition_id: &str) -> Result<u64>;
}
