//! Faults of the executor's moves, and checks of the state that a step keeps.

use crate::{BoxError, WfeError, redact, steps::StepError};

/// Why a move of the executor failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The user's code failed: the step of the moving pointer has failed.
    Step(StepError),
    /// The state contradicts itself.
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

/// How a step goes on, as shown by the state in its pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The step waits: only its children, an event or a time make it go on.
    Waits,
    /// The step has something to begin by itself, so it goes on even without children.
    GoesOn,
}

impl Kept {
    pub fn goes_on_if(has_more: bool) -> Self {
        if has_more { Self::GoesOn } else { Self::Waits }
    }
}

/// Why the state in a pointer cannot be that of its step.
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

/// The result of a move.
pub(crate) type Moved<T = ()> = Result<T, Fault>;
