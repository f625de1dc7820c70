//! Errors of the executor's operations, and checks of the state that a step keeps.

use crate::{BoxError, WfeError, redact, steps::StepError};

/// The reason why an operation of the executor failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The user's code failed, so the step of the current pointer has failed.
    Step(StepError),
    /// The state of the instance contradicts itself.
    State(WfeError),
}

impl From<StepError> for Fault {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

impl From<WfeError> for Fault {
    fn from(error: WfeError) -> Self {
        Self::State(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::State(error.into())
    }
}

/// How a step continues, according to the state in its pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The step waits. It continues only when its children end, an event arrives or a time is reached.
    Waits,
    /// The step has more work to start, so it continues even without children.
    GoesOn,
}

impl Kept {
    pub fn goes_on_if(has_more: bool) -> Self {
        if has_more { Self::GoesOn } else { Self::Waits }
    }
}

/// The reason why the state in a pointer cannot belong to the pointer's step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Spoilt {
    /// The state does not decode. The decoder's error quotes no data.
    #[error("does not decode ({0})")]
    Undecodable(BoxError),
    /// The state decodes, but no step can reach it.
    #[error("contradicts itself")]
    Impossible,
}

impl Spoilt {
    /// The decoder's error, if there is one.
    pub fn into_source(self) -> Option<BoxError> {
        match self {
            Self::Undecodable(error) => Some(error),
            Self::Impossible => None,
        }
    }
}

impl From<serde_json::Error> for Spoilt {
    fn from(error: serde_json::Error) -> Self {
        Self::Undecodable(Box::new(redact(error)))
    }
}

/// The result of an operation of the executor.
pub(crate) type Moved<T = ()> = Result<T, Fault>;
