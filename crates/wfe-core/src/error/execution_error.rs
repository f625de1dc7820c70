use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One failure of a step, stored for diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionError {
    /// The time of the failure.
    pub error_time: DateTime<Utc>,
    /// The id of the instance whose step failed. The store need not contain this instance.
    pub workflow_id: String,
    /// The id of the pointer whose step failed.
    pub execution_pointer_id: String,
    /// The message of the outermost error.
    pub message: String,
}

impl ExecutionError {
    /// Creates an error with the current time of the system clock. A program with its own clock sets
    /// `error_time` afterwards.
    pub fn new(
        workflow_id: impl Into<String>,
        execution_pointer_id: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            error_time: crate::clock::system_time(),
            workflow_id: workflow_id.into(),
            execution_pointer_id: execution_pointer_id.into(),
            message: message.into(),
        }
    }
}
