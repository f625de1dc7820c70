use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One failure of one step, kept for whoever has to find out why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionError {
    /// When it failed.
    pub error_time: DateTime<Utc>,
    /// The instance it failed in. It need not be known to the store.
    pub workflow_id: String,
    /// The pointer it failed at.
    pub execution_pointer_id: String,
    /// What the outermost error said.
    pub message: String,
}

impl ExecutionError {
    /// A failure of now. Reads the system clock: code with a clock of its own sets `error_time` after.
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
