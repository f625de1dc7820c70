use std::{any::Any, borrow::Cow, error::Error, fmt, panic::AssertUnwindSafe};

use crate::{
    BoxError,
    redact::{message, redact_boxed},
};

/// Why a step failed, and whether another attempt makes sense.
///
/// Any standard error becomes a retryable one through `?`. It is not an [`Error`] itself (that would forbid
/// the conversion), but keeps its source, all of whose causes are stored with the failure. An error of `serde_json` is kept
/// without its text, which can quote data ([`redact`](crate::redact())).
pub struct StepError {
    code: Cow<'static, str>,
    retryable: bool,
    source: BoxError,
}

impl StepError {
    /// The code of an error that was given none.
    pub const ERROR: &'static str = "error";
    /// The code of a panic in a step's body or in one of its closures.
    pub const PANIC: &'static str = "panic";
    /// The code of a value that does not fit JSON, or that no store takes ([`limits`](crate::limits)): the failure of the step
    /// that made it, fatal, because another attempt would make the same value. Also of an instance whose step's result the
    /// store refuses for a reason of its own.
    pub const UNSTORABLE: &'static str = "unstorable";
    /// The code of an instance that was suspended because a stored value of it does not decode, or because what is stored of
    /// it cannot be. Its cause names table, column and row.
    pub const CORRUPT: &'static str = "corrupt";
    /// The code of an instance that does not fit its definition any more.
    pub const DEFINITION: &'static str = "definition";
    /// The code of a body, or of a wait, that took longer than it may.
    pub const TIMEOUT: &'static str = "timeout";
    /// The code of something from outside (an event's data, a worker's answer) that is not of the expected type.
    pub const UNREADABLE: &'static str = "unreadable";
    /// The code of what a worker's body returns that gives its activity back instead of answering it.
    pub const GIVEN_BACK: &'static str = "given-back";
    /// The code of a workflow that was not over at its deadline.
    pub const DEADLINE: &'static str = "deadline";
    /// The code of the failure of a step whose child workflow was cancelled or terminated. It is fatal: somebody has decided
    /// that the child shall end.
    pub const CHILD_ENDED: &'static str = "child-ended";
    /// The code of an instance that was suspended because it seemed to kill its process: it was claimed 10 times in a row
    /// without a commit. A host that is dropped while it works on it counts as a killed process; one that is stopped gives
    /// it back, and does not.
    pub const POISON: &'static str = "poison";
    /// The code of a failure that tells why an instance cannot go on in the way that somebody asked for.
    pub const INTERVENTION: &'static str = "intervention";

    /// An error that may pass: tried again as far as the step's retry policy allows.
    pub fn retryable(source: impl Into<BoxError>) -> Self {
        Self { code: Cow::Borrowed(Self::ERROR), retryable: true, source: redact_boxed(source.into()) }
    }

    /// An error that will not pass: the step is not tried again, unless its retry policy says so expressly
    /// ([`Retry::even_if_fatal`](crate::definition::Retry::even_if_fatal)).
    pub fn fatal(source: impl Into<BoxError>) -> Self {
        Self { code: Cow::Borrowed(Self::ERROR), retryable: false, source: redact_boxed(source.into()) }
    }

    /// The same error with a code by which programs tell it apart; stored with the failure.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = code.into();
        self
    }

    /// Its code; [`StepError::ERROR`] if it was given none.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Whether another attempt makes sense.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// The error itself.
    #[must_use]
    pub fn source(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.source
    }

    /// The outermost error of this type among the error and its causes.
    #[must_use]
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        self.chain().find_map(|e| e.downcast_ref())
    }

    /// The error and its causes, outermost first.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let first: &(dyn Error + 'static) = &*self.source;
        std::iter::successors(Some(first), |e| (*e).source())
    }

    /// The messages of the error and its causes, outermost first: as they are stored with the failure. Those of `serde_json`
    /// come without their texts, which can quote data ([`redact`](crate::redact())).
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.chain().map(message).collect()
    }

    /// An error that was told from elsewhere, with the messages of its causes, outermost first.
    pub(crate) fn told(code: String, causes: Vec<String>, retryable: bool) -> Self {
        let chain =
            causes.into_iter().rev().fold(None, |source, message| Some(Box::new(Told { message, source })));
        let source =
            chain.unwrap_or_else(|| Box::new(Told { message: "no cause was told".to_owned(), source: None }));
        Self { code: Cow::Owned(code), retryable, source }
    }

    /// What a caught panic said; `what` panicked. Retryable, with the code [`StepError::PANIC`].
    ///
    /// Takes the payload, because dropping that is the user's code too: if it panics again, this is where it is caught.
    #[must_use]
    pub fn from_panic(what: &str, payload: Box<dyn Any + Send>) -> Self {
        let said = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("it left no message");
        let error = Self::retryable(format!("{what} panicked: {said}")).with_code(Self::PANIC);
        drop_payload(payload);
        error
    }
}

/// Drops what a caught panic left; that is the user's code too, and may panic.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(again) = std::panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // It may go on like this for ever: a little memory is the smaller loss.
        std::mem::forget(again);
    }
}

/// One message of a chain of causes.
#[derive(Debug)]
struct Told {
    message: String,
    source: Option<Box<Told>>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepError")
            .field("code", &self.code)
            .field("retryable", &self.retryable)
            .field("source", &self.source)
            .finish()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::retryable(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_stops_nobody() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Bomb);
            }
        }
        let error = StepError::from_panic("it", Box::new(Bomb));
        assert_eq!(
            (error.code(), &*error.to_string()),
            (StepError::PANIC, "it panicked: it left no message")
        );
    }

    #[test]
    fn a_predicate_can_find_the_io_error_below_other_errors() {
        fn body() -> Result<(), StepError> {
            let gone = io::Error::new(io::ErrorKind::NotFound, "gone");
            Err(crate::WfeError::Storage { message: "reading".into(), source: Some(gone.into()) })?
        }
        let error = body().unwrap_err();
        assert!(error.is_retryable());
        assert_eq!(error.find::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::NotFound));
        assert_eq!(error.chain().count(), 2);
        assert!(error.find::<fmt::Error>().is_none());
    }
}
