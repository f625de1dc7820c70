use futures_util::future::BoxFuture;

use super::{bench::Bench, checked::Checked};

/// A case: the check of one rule.
pub(super) struct Case {
    pub noun: &'static str,
    /// The rule as a sentence, with underscores in place of spaces.
    pub rule: &'static str,
    pub check: fn(Bench) -> BoxFuture<'static, Checked<()>>,
}

impl Case {
    pub fn name(&self) -> String {
        format!("{}: {}", self.noun, self.rule.replace('_', " "))
    }
}

/// The cases of one file. If a case is missing in the list, the compiler reports it as dead code.
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

/// Ends the case unless the result is an error that matches the pattern.
macro_rules! assert_err {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            other => $crate::conformance::checked::unmet(&format!(
                "expected {}, got {other:?}",
                stringify!(Err($pattern) $(if $guard)?)
            )),
        }
    };
}

pub(super) use {assert_err, cases};
