use std::panic::Location;

use futures_util::future::BoxFuture;

use super::bench::Bench;

/// What a case returns: `Err` ends it. It panics where an expectation is not met.
pub(crate) type Checked<T> = std::result::Result<T, Stop>;

/// One rule, checked.
pub(super) struct Case {
    pub noun: &'static str,
    /// A sentence, with underscores for spaces.
    pub rule: &'static str,
    pub check: fn(Bench) -> BoxFuture<'static, Checked<()>>,
}

impl Case {
    pub fn name(&self) -> String {
        format!("{}: {}", self.noun, self.rule.replace('_', " "))
    }
}

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

/// The cases of one file. A case that is missing here is dead code, which the compiler reports.
macro_rules! cases {
    ($noun:literal: $($case:ident),* $(,)?) => {
        pub(in crate::conformance) const CASES: &[$crate::conformance::case::Case] = &[$(
            $crate::conformance::case::Case {
                noun: $noun,
                rule: stringify!($case),
                check: |bench| Box::pin($case(bench)),
            }
        ),*];
    };
}

/// Expects an error that matches a pattern.
macro_rules! assert_err {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            other => $crate::conformance::case::unmet(&format!(
                "expected {}, got {other:?}",
                stringify!(Err($pattern) $(if $guard)?)
            )),
        }
    };
}

pub(super) use {assert_err, cases};
