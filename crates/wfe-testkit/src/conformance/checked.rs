//! The result type of cases.

use std::panic::Location;

/// The result of a case. `Err` ends the case. If an expectation is not met, the case panics.
pub(crate) type Checked<T> = std::result::Result<T, Stop>;

/// The reason why a case ended early.
pub(crate) enum Stop {
    /// The case needs an optional part that the store does not have.
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
