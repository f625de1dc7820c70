use futures_util::future::BoxFuture;

use super::{bench::Bench, checked::Checked};

/// A case: the check of one rule.
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

/// The cases of one file. The compiler reports a case that is missing here as dead code.
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
            other => $crate::conformance::checked::unmet(&format!(
                "expected {}, got {other:?}",
                stringify!(Err($pattern) $(if $guard)?)
            )),
        }
    };
}

pub(super) use {assert_err, cases};
