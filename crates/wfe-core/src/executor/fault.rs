//! Why a move of the executor did not come about, and what is said of what a step keeps.

use crate::{BoxError, WfeError, redact, steps::StepError};

/// Why a move of the executor did not come about.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The user's part of it failed: the step whose pointer moves has failed.
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

/// What the value says that a step keeps in its pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The step goes on only by what it waits for: its children, an event, a time.
    Waits,
    /// It has something to begin by itself, so that it goes on although it has no children.
    GoesOn,
}

impl Kept {
    pub fn goes_on_if(has_more: bool) -> Self {
        if has_more { Self::GoesOn } else { Self::Waits }
    }
}

/// Why the value that a pointer keeps is none of its step's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Spoilt {
    /// With the decoder's error, which quotes nothing.
    #[error("does not decode ({0})")]
    Undecodable(BoxError),
    /// It decodes, but no step gets there.
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

/// What came of a move.
pub(crate) type Moved<T = ()> = Result<T, Fault>;
