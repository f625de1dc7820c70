use std::{
    any::Any,
    borrow::Cow,
    error::Error,
    fmt::{self, Write},
    panic::AssertUnwindSafe,
};

use crate::{
    BoxError,
    redact::{Message, redact_boxed},
};

/// Far more causes than any error has that does not go round in a circle.
const LONGEST_CHAIN: usize = 256;

/// Why a step failed, and whether another attempt makes sense.
///
/// Any standard error becomes a retryable one through `?`. It is not an [`Error`] itself (that would forbid
/// the conversion), but keeps its source, whose causes are stored with the failure. An error of `serde_json` is kept without
/// its text, which can quote data ([`redact`](crate::redact())).
///
/// The source is a type of the program's own: its `Display`, `source` and `Drop` run in the engine too. A panic in one
/// of them stays with the step: an error whose message cannot be had is stored with the code
/// [`StepError::PANIC`], as if the step's body had panicked.
pub struct StepError {
    code: Cow<'static, str>,
    retryable: bool,
    source: BoxError,
}

impl StepError {
    /// The code of an error that was given none.
    pub const ERROR: &'static str = "error";
    /// The code of a panic in a step's body, in one of its closures, or in the `Display` of its error.
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
    /// The code of an instance that was suspended because its process died ten times in a row while this instance alone ran in
    /// it ([`Deaths`](crate::traits::Deaths)), with no commit in between. It kills its process, or somebody has killed the
    /// process each time. A resume takes it up again, with no death behind it.
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

    /// The error and its causes, outermost first; at most 256, since nothing keeps a type from naming itself as its cause.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let first: &(dyn Error + 'static) = &*self.source;
        let mut last = None;
        // Each cause is asked for when its turn comes, and not before: that may panic.
        let next = move || {
            last = Some(last.map_or(Some(first), |last: &(dyn Error + 'static)| last.source())?);
            last
        };
        std::iter::from_fn(next).take(LONGEST_CHAIN)
    }

    /// The messages of the error and its causes, outermost first, as they are stored with the failure; never empty. Those of
    /// `serde_json` come without their texts, which can quote data ([`redact`](crate::redact())). In place of a message that
    /// cannot be had, because its `Display` (or the `source` that leads to it) panics, the last one says so.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        if let Err(panicked) = self.read_causes(&mut causes) {
            causes.push(panicked.source.to_string());
        }
        causes
    }

    /// What this error counts as if its messages cannot all be had: as a panic of the step. `None`: they can.
    pub(crate) fn unreadable(&self) -> Option<Self> {
        let mut panicked = self.read_causes(&mut Vec::new()).err()?;
        panicked.retryable = self.retryable;
        Some(panicked)
    }

    /// The messages as far as they can be had, and the panic at which they end.
    fn read_causes(&self, causes: &mut Vec<String>) -> Result<(), Self> {
        let read = AssertUnwindSafe(|| {
            for cause in self.chain() {
                let mut message = String::new();
                // `to_string` would panic where `Display` gives an error: the message up to there is what there is.
                if write!(message, "{}", Message(cause)).is_err() {
                    message.push_str(" (its `Display` failed)");
                }
                causes.push(message);
            }
        });
        std::panic::catch_unwind(read).map_err(|payload| Self::from_panic("the error's own code", payload))
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

impl Drop for StepError {
    fn drop(&mut self) {
        // Of a type without a size, so that nothing is allocated.
        drop_contained(std::mem::replace(&mut self.source, Box::new(Dropped)));
    }
}

/// Drops a value of the user's: a panic in that is told by the panic hook, and stops nothing else.
pub(crate) fn drop_contained<T>(value: T) {
    if let Err(payload) = std::panic::catch_unwind(AssertUnwindSafe(|| drop(value))) {
        drop_payload(payload);
    }
}

/// Drops what a caught panic left; that is the user's code too, and may panic.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(again) = std::panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // It may go on like this for ever: a little memory is the smaller loss.
        std::mem::forget(again);
    }
}

/// In place of an error that is being dropped.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the error was dropped")
    }
}

impl Error for Dropped {}

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

    /// An error whose own code panics: in `Display`, in `source`, or when it is dropped.
    #[derive(Debug)]
    struct Rude(&'static str);

    impl fmt::Display for Rude {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                "display" => panic!("no words"),
                "fails" => f.write_str("half a").and(Err(fmt::Error)),
                _ => f.write_str("rude"),
            }
        }
    }

    impl Error for Rude {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            match self.0 {
                "source" => panic!("no cause"),
                "circle" => Some(self),
                _ => None,
            }
        }
    }

    impl Drop for Rude {
        fn drop(&mut self) {
            assert!(self.0 != "drop", "no end");
        }
    }

    #[test]
    fn an_error_whose_own_code_panics_counts_as_a_panic_of_the_step() {
        for (what, causes) in [
            ("display", vec!["the error's own code panicked: no words"]),
            ("source", vec!["rude", "the error's own code panicked: no cause"]),
        ] {
            let error = StepError::fatal(Rude(what)).with_code("mine");
            assert_eq!(error.causes(), causes);
            let counts_as = error.unreadable().unwrap();
            assert_eq!((counts_as.code(), counts_as.is_retryable()), (StepError::PANIC, false));
        }
    }

    #[test]
    fn an_error_whose_display_fails_goes_round_in_a_circle_or_panics_when_dropped_keeps_its_code() {
        let failing = StepError::retryable(Rude("fails"));
        assert_eq!(failing.causes(), ["half a (its `Display` failed)"]);
        let circle = StepError::retryable(Rude("circle"));
        assert_eq!(circle.causes().len(), LONGEST_CHAIN);
        assert!(circle.find::<io::Error>().is_none());
        let dropped = StepError::retryable(Rude("drop"));
        assert_eq!(dropped.causes(), ["rude"]);
        for error in [failing, circle, dropped] {
            assert!(error.unreadable().is_none());
        }
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
