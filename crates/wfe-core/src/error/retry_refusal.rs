use std::fmt;

use super::Advice;

/// Why an instance cannot be retried or restarted. The text of each reason says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryRefusal {
    /// The instance has not ended. Another caller may have retried it.
    NotEnded,
    /// The instance completed: no step is left to retry.
    Completed,
    /// The instance was terminated. Where it stood is not stored, because it was to stop for good.
    Terminated,
    /// The instance was cancelled, and completed steps were compensated before it ended.
    Compensated,
    /// The instance is a child, and its parent has received its end, or has stopped waiting for it.
    Child {
        /// The id of the parent.
        parent: String,
    },
    /// The instance was restarted: another instance runs in its place.
    Restarted {
        /// The id of the new instance.
        id: String,
    },
    /// The store does not know where the instance stood when it ended: an earlier version of WFE ended the instance, or
    /// a program did so through the base traits of the store.
    NotRecorded,
    /// Another caller changed the instance at the same time.
    Changed,
    /// The instance runs a definition of the engine, such as the one of a schedule: its id begins with
    /// [`OWN_NAMES`](crate::traits::OWN_NAMES). A second one beside the one that may run now would do its work twice.
    Engine,
}

impl RetryRefusal {
    pub(super) fn advice(&self) -> Advice {
        match self {
            Self::NotEnded | Self::Changed => Advice::Reload,
            _ => Advice::GiveUp,
        }
    }
}

impl fmt::Display for RetryRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnded => f.write_str(
                "it has not ended; if it is suspended, resume it; to restart it, cancel or terminate it first",
            ),
            Self::Completed => f.write_str("it completed; restart it to run it once more"),
            Self::Terminated => f.write_str("it was terminated; restart it"),
            Self::Compensated => {
                f.write_str("its cancellation has compensated completed steps; restart it")
            }
            Self::Child { parent } => {
                write!(f, "its parent {parent:?} no longer waits for it; retry the parent")
            }
            Self::Restarted { id } => write!(f, "it was restarted as {id:?}; use that instance"),
            Self::NotRecorded => f.write_str(
                "the store does not know where it stood, because an earlier version of WFE or another program \
                 ended it; restart it",
            ),
            Self::Changed => f.write_str("another caller changed it at the same time; read its status first"),
            Self::Engine => {
                f.write_str("it belongs to the engine, which starts its own instances; create its schedule again")
            }
        }
    }
}
