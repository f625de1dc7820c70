use std::fmt;

use serde::{Deserialize, Serialize};

use crate::WfeError;

/// Whether an instance may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum WorkflowStatus {
    /// May run whenever something is due.
    #[default]
    Runnable,
    /// Stands still until it is resumed.
    Suspended,
    /// Ran to its end.
    Complete,
    /// Ended before its end: failed, cancelled or terminated.
    Terminated,
}

/// What can happen to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusChange {
    /// Stand still.
    Suspend,
    /// Go on.
    Resume,
    /// The last step ended.
    Complete,
    /// End before the end.
    Terminate,
}

impl WorkflowStatus {
    /// The status after `change`: the one place where an instance's status is decided.
    ///
    /// Suspending what is suspended and resuming what runs change nothing.
    ///
    /// # Errors
    /// [`WfeError::IllegalTransition`] where the change makes no sense in this status (an instance that ended stays
    /// as it ended); nothing has changed then.
    pub fn after(self, change: StatusChange) -> crate::Result<Self> {
        use StatusChange as On;
        use WorkflowStatus as Is;
        match (self, change) {
            (Is::Runnable | Is::Suspended, On::Suspend) => Ok(Is::Suspended),
            (Is::Runnable | Is::Suspended, On::Resume) => Ok(Is::Runnable),
            (Is::Runnable, On::Complete) => Ok(Is::Complete),
            (Is::Runnable | Is::Suspended, On::Terminate) => Ok(Is::Terminated),
            (from, change) => {
                Err(WfeError::IllegalTransition { from: from.to_string(), change: format!("{change:?}") })
            }
        }
    }

    /// Whether an instance in this status has come to its end.
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
