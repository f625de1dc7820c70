use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ExecutionPointer, WorkflowStatus};

/// An instance: one run of a workflow definition, with its data and its execution pointers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowInstance {
    /// The id, unique in the store. If it is empty, `create_new_workflow` assigns one.
    pub id: String,
    /// A second unique name, for people to read. If it is empty, `create_new_workflow` sets it to the id.
    pub name: String,
    /// If this instance is a child workflow: the id of the root instance. `None` means that this instance is
    /// itself a root.
    pub root_workflow_id: Option<String>,
    /// The id of the instance's definition.
    pub workflow_definition_id: String,
    /// The version of the instance's definition. The version never changes.
    pub version: u32,
    /// A description for people to read.
    pub description: Option<String>,
    /// The caller's own key for the instance, such as an order number.
    pub reference: Option<String>,
    /// The live execution pointers. A store keeps their order. Pointers that have ended and are no longer
    /// needed are in the history instead.
    pub execution_pointers: Vec<ExecutionPointer>,
    /// The time when the engine next processes the instance, in milliseconds since the Unix epoch. 0 means
    /// that the instance is due now. `None` means that the instance waits for something other than a time.
    pub next_execution: Option<i64>,
    /// The status of the instance.
    pub status: WorkflowStatus,
    /// The workflow's data, as JSON.
    pub data: Value,
    /// The time when the instance was created.
    pub create_time: DateTime<Utc>,
    /// The time when the instance ended, or `None` if it has not ended.
    pub complete_time: Option<DateTime<Utc>>,
}

impl WorkflowInstance {
    /// Creates a runnable instance that is due now. The instance gets a new id, an empty name, and the
    /// current time of the system clock as its `create_time`. A program with its own clock sets `create_time`
    /// afterwards.
    pub fn new(definition_id: impl Into<String>, version: u32, data: Value) -> Self {
        let now = crate::clock::system_time();
        Self { id: super::fresh_id(), ..Self::created_at(definition_id, version, data, now) }
    }

    /// Creates a runnable instance that is due now and has an empty id, so that the store assigns an id. The
    /// instance has no pointers yet, because its first step can only be found in its definition.
    pub fn created_at(
        definition_id: impl Into<String>,
        version: u32,
        data: Value,
        create_time: DateTime<Utc>,
    ) -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            root_workflow_id: None,
            workflow_definition_id: definition_id.into(),
            version,
            description: None,
            reference: None,
            execution_pointers: Vec::new(),
            next_execution: Some(0),
            status: WorkflowStatus::Runnable,
            data,
            create_time,
            complete_time: None,
        }
    }

    /// Whether all pointers inside `scope`, at any depth, have ended.
    ///
    /// `scope` is a path of container pointers, outermost first, as in [`ExecutionPointer::scope`]. The empty
    /// path stands for the whole instance. If there are no pointers inside the scope, the result is `true`.
    #[must_use]
    pub fn is_branch_complete(&self, scope: &[String]) -> bool {
        self.execution_pointers.iter().filter(|p| p.scope.starts_with(scope)).all(|p| p.status.is_final())
    }
}
