use std::fmt;

use serde::{Deserialize, Serialize};

use crate::WfeError;

/// The status of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum WorkflowStatus {
    /// The instance runs whenever it is due.
    #[default]
    Runnable,
    /// The instance is suspended: no step starts until the instance is resumed.
    Suspended,
    /// The instance has completed.
    Complete,
    /// The instance has failed, or was cancelled or terminated.
    Terminated,
}

/// A change of an instance's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusChange {
    /// The instance is suspended.
    Suspend,
    /// The instance is resumed.
    Resume,
    /// The instance completes.
    Complete,
    /// The instance fails, or is cancelled or terminated.
    Terminate,
    /// The instance has failed or was cancelled, and is retried.
    Reopen,
}

impl WorkflowStatus {
    /// The status after this change. This is the only transition function for the status of instances.
    ///
    /// Suspending a suspended instance changes nothing. Resuming a runnable instance changes nothing either.
    ///
    /// # Errors
    /// [`WfeError::IllegalTransition`]: the change is not possible in this status. The status of an instance
    /// that has ended changes only if the instance is reopened.
    pub fn after(self, change: StatusChange) -> crate::Result<Self> {
        use StatusChange as On;
        use WorkflowStatus as Is;
        match (self, change) {
            (Is::Runnable | Is::Suspended, On::Suspend) => Ok(Is::Suspended),
            (Is::Runnable | Is::Suspended, On::Resume) | (Is::Terminated, On::Reopen) => Ok(Is::Runnable),
            (Is::Runnable, On::Complete) => Ok(Is::Complete),
            (Is::Runnable | Is::Suspended, On::Terminate) => Ok(Is::Terminated),
            (from, change) => {
                Err(WfeError::IllegalTransition { from: from.to_string(), change: format!("{change:?}") })
            }
        }
    }

    /// Whether an instance in this status has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Terminated)
    }
}

impl fmt::Display for WorkflowStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
