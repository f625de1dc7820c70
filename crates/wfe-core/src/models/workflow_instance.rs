use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ExecutionPointer, WorkflowStatus};

/// One run of a workflow definition: its data, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowInstance {
    /// Unique in the store. Empty when handed to `create_new_workflow`: the store makes one.
    pub id: String,
    /// A second unique name, for people. Empty when handed to `create_new_workflow`: the id serves as name.
    pub name: String,
    /// The instance that began the tree of sub-workflows this one belongs to; `None`: it is itself the root.
    pub root_workflow_id: Option<String>,
    /// Id of the definition that it runs.
    pub workflow_definition_id: String,
    /// Version of that definition; fixed for the instance's life.
    pub version: u32,
    /// For people.
    pub description: Option<String>,
    /// The caller's own key, such as an order number.
    pub reference: Option<String>,
    /// Where it stands, in order. Finished visits that no longer matter are history, not pointers.
    pub execution_pointers: Vec<ExecutionPointer>,
    /// When the engine should look at it again, in milliseconds since the Unix epoch: 0 is due now, `None` is parked
    /// (it waits for something other than time).
    pub next_execution: Option<i64>,
    /// Whether it may run.
    pub status: WorkflowStatus,
    /// The workflow's data, as JSON.
    pub data: Value,
    /// When it was started.
    pub create_time: DateTime<Utc>,
    /// When it ended; `None`: it has not.
    pub complete_time: Option<DateTime<Utc>>,
}

impl WorkflowInstance {
    /// A runnable instance, due now, with a fresh id and an empty name. Reads the system clock: code with a clock of
    /// its own sets `create_time` after.
    pub fn new(definition_id: impl Into<String>, version: u32, data: Value) -> Self {
        Self {
            id: super::fresh_id(),
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
            create_time: crate::clock::system_time(),
            complete_time: None,
        }
    }

    /// Whether every pointer inside `scope`, however deep, has come to its end.
    ///
    /// `scope` is a path of container pointers, outermost first, as in [`ExecutionPointer::scope`]; the empty path is
    /// the whole instance. A scope without pointers is complete.
    #[must_use]
    pub fn is_branch_complete(&self, scope: &[String]) -> bool {
        self.execution_pointers.iter().filter(|p| p.scope.starts_with(scope)).all(|p| p.status.is_final())
    }
}
