use std::fmt;

#[cfg(doc)]
use super::WfeError;
use super::{Control, Ending};

/// Why a request cannot have an effect. The text of the error ([`WfeError::NoEffect`]) also says what the caller of
/// this request can do.
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

impl NoEffectReason {
    /// What the caller of this request can do.
    pub(super) fn advice(self, request: &str) -> &'static str {
        match (self, request) {
            (Self::Ended(_), "suspend" | "cancel" | "terminate") => "there is nothing left to stop",
            (Self::Ended(Ending::Completed), _) => {
                "`restart` runs it once more, unless it was restarted before"
            }
            (Self::Ended(Ending::Terminated), _) => {
                "`restart` begins at the first step, unless it was restarted before"
            }
            (Self::Ended(Ending::Failed), _) => {
                "unless it was restarted before, `retry` continues at the failed step, `restart` begins at the first one"
            }
            (Self::Ended(Ending::Cancelled), _) => {
                "unless it was restarted before, `retry` continues it if nothing was compensated, `restart` begins at the \
                 first step"
            }
            (Self::NotSuspended, "resume_from") => "suspend it first, and wait until its status is suspended",
            (Self::NotSuspended, "skip") => "there is nothing to skip",
            (Self::NotSuspended, _) => "there is nothing to resume",
            (Self::NothingFailed, _) => {
                "if its status names a cause, remove that; then resume it with `resume` or `resume_from`"
            }
            (Self::Superseded(Control::Terminate), _) => "it ends soon",
            (Self::Superseded(Control::Cancel), _) => "only `terminate` replaces it",
            (Self::Superseded(Control::Suspend | Control::Resume), _) => "try again",
        }
    }
}

impl fmt::Display for NoEffectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended(Ending::Completed) => "it has completed",
            Self::Ended(Ending::Failed) => "it has failed",
            Self::Ended(Ending::Cancelled) => "it was cancelled",
            Self::Ended(Ending::Terminated) => "it was terminated",
            Self::NotSuspended => "it is not suspended",
            Self::NothingFailed => "none of its steps has failed",
            Self::Superseded(Control::Terminate) => {
                "a request to terminate it is pending and takes precedence"
            }
            Self::Superseded(Control::Cancel) => "a request to cancel it is pending and takes precedence",
            Self::Superseded(Control::Suspend | Control::Resume) => {
                "another request is pending and takes precedence"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WfeError;

    #[test]
    fn the_advice_depends_on_what_was_requested() {
        let text = |request, reason| WfeError::NoEffect { id: "i".to_owned(), request, reason }.to_string();
        for (request, ending, has) in [
            ("suspend", Ending::Failed, "it has failed; there is nothing left to stop"),
            ("cancel", Ending::Cancelled, "it was cancelled; there is nothing left to stop"),
            ("terminate", Ending::Completed, "it has completed; there is nothing left to stop"),
            (
                "resume",
                Ending::Failed,
                "it has failed; unless it was restarted before, `retry` continues at the failed step",
            ),
            ("skip", Ending::Terminated, "it was terminated; `restart` begins at the first step"),
        ] {
            let told = text(request, NoEffectReason::Ended(ending));
            assert!(told.starts_with(&format!("cannot {request} workflow \"i\": {has}")), "{told}");
        }
        for (request, has) in [
            ("resume", "there is nothing to resume"),
            ("skip", "there is nothing to skip"),
            ("resume_from", "suspend it first, and wait until its status is suspended"),
        ] {
            let told = text(request, NoEffectReason::NotSuspended);
            assert_eq!(told, format!("cannot {request} workflow \"i\": it is not suspended; {has}"));
        }
    }
}
