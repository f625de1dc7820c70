use std::fmt;

use serde::{Deserialize, Serialize};

use crate::WfeError;

/// The status of a pointer, that is, of one execution of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum PointerStatus {
    /// The step runs as soon as possible.
    #[default]
    Pending,
    /// A container waits for its children. Or a body has stored state, and waits for its next run.
    Running,
    /// The step is completed.
    Complete,
    /// An operator has skipped the step.
    Skipped,
    /// The step waits until a delay has ended, or until the backoff before a retry has ended.
    Sleeping,
    /// The step waits for an event.
    WaitingForEvent,
    /// The step has failed for good.
    Failed,
    /// The step has ended, and was compensated afterwards.
    Compensated,
    /// The step was cancelled before it ended.
    Cancelled,
    /// The step waits until the pointer before it has ended.
    PendingPredecessor,
}

/// A change of a pointer's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PointerChange {
    /// The step waits for its children, or for the next run of its body.
    Run,
    /// The step runs again at a later time.
    Sleep,
    /// The step waits for an event.
    Wait,
    /// The wait is over, and the step can run.
    Wake,
    /// The step is completed.
    Complete,
    /// The step has failed for good.
    Fail,
    /// An operator skips the step.
    Skip,
    /// The step was compensated.
    Compensate,
    /// The step is cancelled.
    Cancel,
    /// The end of the instance cancelled the step, or a saga has failed, and the instance is retried.
    Reopen,
}

impl PointerStatus {
    /// The status after this change. This is the only transition function for the status of pointers.
    ///
    /// # Errors
    /// [`WfeError::IllegalTransition`]: the change is not possible in this status.
    pub fn after(self, change: PointerChange) -> crate::Result<Self> {
        use PointerChange as On;
        use PointerStatus as Is;
        match (self, change) {
            (Is::Pending | Is::Running, On::Run) => Ok(Is::Running),
            (Is::Pending | Is::Running, On::Sleep) => Ok(Is::Sleeping),
            (Is::Pending | Is::Running, On::Wait) => Ok(Is::WaitingForEvent),
            (Is::Pending | Is::Running, On::Complete) => Ok(Is::Complete),
            (Is::Pending | Is::Running, On::Fail) => Ok(Is::Failed),
            (Is::Sleeping | Is::WaitingForEvent | Is::PendingPredecessor | Is::Failed, On::Wake) => {
                Ok(Is::Pending)
            }
            (live, On::Skip) if !live.is_final() || live == Is::Failed => Ok(Is::Skipped),
            (live, On::Cancel) if !live.is_final() => Ok(Is::Cancelled),
            (Is::Complete | Is::Failed, On::Compensate) => Ok(Is::Compensated),
            (Is::Cancelled | Is::Failed | Is::Compensated, On::Reopen) => Ok(Is::Pending),
            (from, change) => {
                Err(WfeError::IllegalTransition { from: from.to_string(), change: format!("{change:?}") })
            }
        }
    }

    /// Whether a pointer in this status has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Skipped | Self::Failed | Self::Compensated | Self::Cancelled)
    }
}

impl fmt::Display for PointerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
