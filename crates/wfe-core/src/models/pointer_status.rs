use std::fmt;

use serde::{Deserialize, Serialize};

use crate::WfeError;

/// How far one visit of a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum PointerStatus {
    /// To be run as soon as a worker is free.
    #[default]
    Pending,
    /// A container whose children live, or a body that keeps state between runs.
    Running,
    /// Ended well.
    Complete,
    /// Left out on purpose.
    Skipped,
    /// To be run again later: a delay, or the pause before a retry.
    Sleeping,
    /// Until its event arrives.
    WaitingForEvent,
    /// Ended badly.
    Failed,
    /// Ended, and undone since.
    Compensated,
    /// Taken away before it ended.
    Cancelled,
    /// Until the pointer before it has ended.
    PendingPredecessor,
}

/// What can happen to a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PointerChange {
    /// Its children, or a further run of its body, are awaited.
    Run,
    /// It is to be run again later.
    Sleep,
    /// It is to wait for an event.
    Wait,
    /// What it waited for is here: it is to be run.
    Wake,
    /// Its body ended well.
    Complete,
    /// Its body failed for good.
    Fail,
    /// It is left out on purpose.
    Skip,
    /// What it did has been undone.
    Compensate,
    /// It is taken away.
    Cancel,
}

impl PointerStatus {
    /// The status after `change`: the one place where a pointer's status is decided.
    ///
    /// # Errors
    /// [`WfeError::IllegalTransition`] where the change makes no sense in this status; nothing has changed then.
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
            (from, change) => {
                Err(WfeError::IllegalTransition { from: from.to_string(), change: format!("{change:?}") })
            }
        }
    }

    /// Whether a pointer in this status has come to its end.
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
