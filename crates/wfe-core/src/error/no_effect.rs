use std::fmt;

#[cfg(doc)]
use super::WfeError;
use super::{Control, Ending};

/// Why a request cannot have an effect ([`WfeError::NoEffect`]). The text names what the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoEffectReason {
    /// The instance has ended, in this way.
    Ended(Ending),
    /// The instance is not suspended, so there is nothing to resume.
    NotSuspended,
    /// The instance is suspended, but none of its steps has failed, so there is nothing to skip.
    NothingFailed,
    /// This request is already pending, and takes precedence.
    Superseded(Control),
}

impl fmt::Display for NoEffectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended(Ending::Completed) => "it has completed; `restart` runs it once more",
            Self::Ended(Ending::Failed) => {
                "it has failed; `retry` continues at the failed step, `restart` begins at the first one"
            }
            Self::Ended(Ending::Cancelled) => {
                "it was cancelled; `retry` continues it if nothing was compensated, `restart` begins at the first step"
            }
            Self::Ended(Ending::Terminated) => "it was terminated; `restart` begins at the first step",
            Self::NotSuspended => "it is not suspended; suspend it first, and wait until its status is suspended",
            Self::NothingFailed => "none of its steps has failed; resume it with `resume` or `resume_from`",
            Self::Superseded(Control::Terminate) => {
                "a request to terminate it is pending and takes precedence; it ends soon"
            }
            Self::Superseded(Control::Cancel) => {
                "a request to cancel it is pending and takes precedence; only `terminate` replaces it"
            }
            Self::Superseded(Control::Suspend | Control::Resume) => {
                "another request is pending and takes precedence; try again"
            }
        })
    }
}
