//! The result type of cases.

use std::panic::Location;

/// The result of a case. `Err` ends the case. An expectation that is not met panics.
pub(crate) type Checked<T> = std::result::Result<T, Stop>;

/// Why a case ended early.
pub(crate) enum Stop {
    /// The store does not have an optional part that the case needs.
    Skipped(&'static str),
    /// The store returned an error that it must not return.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Stop {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::Failed(format!("unexpected error at {}: {error} ({error:?})", Location::caller()))
    }
}

/// Ends the case, because an expectation is not met.
#[track_caller]
pub(crate) fn unmet(message: &str) -> ! {
    #[allow(clippy::panic)] // A suite reports as tests do; the runner catches it.
    {
        panic!("{message}")
    }
}
