//! What a case returns.

use std::panic::Location;

/// What a case returns: `Err` ends it. It panics where an expectation is not met.
pub(crate) type Checked<T> = std::result::Result<T, Stop>;

/// Why a case ended early.
pub(crate) enum Stop {
    /// The store does not have what the rule is about.
    Skipped(&'static str),
    /// The store answered with an error where it must not.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Stop {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::Failed(format!("unexpected error at {}: {error} ({error:?})", Location::caller()))
    }
}

/// Ends the case: an expectation was not met.
#[track_caller]
pub(crate) fn unmet(message: &str) -> ! {
    #[allow(clippy::panic)] // A suite reports as tests do; the runner catches it.
    {
        panic!("{message}")
    }
}
