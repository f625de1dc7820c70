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

/// The maximum number of errors that are read from a chain of causes. Only a chain that contains a cycle reaches this
/// number in practice.
const LONGEST_CHAIN: usize = 256;

/// The error with which a step fails: its source, its code, and whether another attempt may succeed.
///
/// `?` converts whatever can be boxed into a retryable `StepError`: a standard error, an `anyhow::Error`, a
/// `Box<dyn Error + Send + Sync>`, a `&str` or a `String`. `StepError` does not implement [`Error`], because Rust would
/// then not allow this conversion. [`StepResultExt`] makes the error fatal or gives it a code on the way. The messages
/// of the source and its causes are stored with the failure. If the message of a `serde_json` error quotes a value, the
/// value is removed before the message is stored ([`redact`](crate::redact())).
///
/// The source is a type of the program, so its `Display`, `source` and `Drop` can panic. The engine catches
/// these panics. If a panic prevents a message from being read, the failure is stored with the code
/// [`StepError::PANIC`], as if the step's body had panicked.
pub struct StepError {
    code: Cow<'static, str>,
    retryable: bool,
    source: BoxError,
}

impl StepError {
    /// The default code, for errors that have no code of their own.
    pub const ERROR: &'static str = "error";
    /// The code of a panic. The panic occurred in a step's body, in one of the step's closures, or in the `Display` of
    /// the step's error.
    pub const PANIC: &'static str = "panic";
    /// The code of a value that cannot be stored: JSON cannot represent it, or it exceeds the
    /// [`limits`](crate::limits) of stores. The step that produced the value fails. The error is fatal, because
    /// another attempt would produce the same value. The code is also used if a store refuses the result of a
    /// step for a reason of its own.
    pub const UNSTORABLE: &'static str = "unstorable";
    /// The code of an instance that was suspended because its stored state is corrupt: a value cannot be
    /// decoded, or stored values contradict each other. The cause names the table, the column and the row.
    pub const CORRUPT: &'static str = "corrupt";
    /// The code of a mismatch with a definition. Examples are stored state that does not fit the changed
    /// definition, a result that a step must not return, and a child workflow whose definition is not
    /// registered.
    pub const DEFINITION: &'static str = "definition";
    /// The code of a body or a wait that exceeded its time limit.
    pub const TIMEOUT: &'static str = "timeout";
    /// The code of a failure to read external data (an event's data, a worker's answer), because the data does not have
    /// the expected type.
    pub const UNREADABLE: &'static str = "unreadable";
    /// The code of the error with which a worker's body gives its activity back, so that another worker can claim the
    /// activity.
    pub const GIVEN_BACK: &'static str = "given-back";
    /// The code of the failure that a compensation sees if its step has begun and neither completed nor failed for good:
    /// the step was cancelled, or an operator skipped it.
    pub const CANCELLED: &'static str = "cancelled";
    /// The code of a workflow that exceeded its deadline.
    pub const DEADLINE: &'static str = "deadline";
    /// The code of a step whose child workflow was cancelled or terminated. The error is fatal, because an
    /// operator has decided to end the child.
    pub const CHILD_ENDED: &'static str = "child-ended";
    /// The code of an instance that was suspended because its process died ten times in a row. Each time, this instance
    /// ran alone in the process, and there was no commit in between ([`Deaths`](crate::traits::Deaths)). Either the
    /// instance kills its process, or the process was killed each time. When the instance is resumed, the count of
    /// deaths restarts at zero.
    pub const POISON: &'static str = "poison";
    /// The code of a failure that records a refused request of an operator: it says why the instance could not continue
    /// in the requested way.
    pub const INTERVENTION: &'static str = "intervention";

    /// A temporary error: the step is retried as often as its retry policy allows.
    pub fn retryable(source: impl Into<BoxError>) -> Self {
        Self { code: Cow::Borrowed(Self::ERROR), retryable: true, source: redact_boxed(source.into()) }
    }

    /// A permanent error: the step is retried only if [`Retry::even_if_fatal`](crate::definition::Retry::even_if_fatal)
    /// says so.
    pub fn fatal(source: impl Into<BoxError>) -> Self {
        Self { code: Cow::Borrowed(Self::ERROR), retryable: false, source: redact_boxed(source.into()) }
    }

    /// Returns the same error with this code. Programs tell errors apart by their codes. The code is stored with the
    /// failure.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = code.into();
        self
    }

    /// The code of the error; [`StepError::ERROR`] if no code was set.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Whether another attempt may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// The error that this one was created from.
    #[must_use]
    pub fn source(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.source
    }

    /// The outermost error of type `E` among the source and its causes, or `None` if there is no error of this
    /// type.
    #[must_use]
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        self.chain().find_map(|e| e.downcast_ref())
    }

    /// The source and its causes, outermost first. The chain ends after 256 errors, because an error can be its
    /// own cause.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let first: &(dyn Error + 'static) = &*self.source;
        let mut last = None;
        // Each cause is read only when the iterator reaches it, because reading it may panic.
        let next = move || {
            last = Some(last.map_or(Some(first), |last: &(dyn Error + 'static)| last.source())?);
            last
        };
        std::iter::from_fn(next).take(LONGEST_CHAIN)
    }

    /// The messages of the source and its causes, outermost first, as they are stored with the failure. There is at
    /// least one message. Values that `serde_json` errors quote are removed from the messages
    /// ([`redact`](crate::redact())). If a `Display` or a `source` panics, the last message says so, and further causes
    /// are missing.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        if let Err(panicked) = self.read_causes(&mut causes) {
            causes.push(panicked.source.to_string());
        }
        causes
    }

    /// If reading the messages of this error panics, returns the error that replaces this one. Returns `None` if the
    /// messages can be read.
    pub(crate) fn panic_in_messages(&self) -> Option<Self> {
        let mut panicked = self.read_causes(&mut Vec::new()).err()?;
        panicked.retryable = self.retryable;
        Some(panicked)
    }

    /// Reads the messages into `causes`. If reading a message panics, returns the panic as an error.
    fn read_causes(&self, causes: &mut Vec<String>) -> Result<(), Self> {
        let read = AssertUnwindSafe(|| {
            for cause in self.chain() {
                let mut message = String::new();
                // `to_string` would panic if `Display` returned an error. The message up to the error is kept.
                if write!(message, "{}", Message(cause)).is_err() {
                    message.push_str(" (its `Display` failed)");
                }
                causes.push(message);
            }
        });
        std::panic::catch_unwind(read)
            .map_err(|payload| Self::from_panic("the error's `Display` or `source`", payload))
    }

    /// Builds the error of an external worker or a child workflow from the error's code and messages. The outermost
    /// message comes first in `causes`.
    pub(crate) fn from_causes(code: String, causes: Vec<String>, retryable: bool) -> Self {
        let chain =
            causes.into_iter().rev().fold(None, |source, message| Some(Box::new(Cause { message, source })));
        let source = chain
            .unwrap_or_else(|| Box::new(Cause { message: "no cause was given".to_owned(), source: None }));
        Self { code: Cow::Owned(code), retryable, source }
    }

    /// The error for a caught panic, with the panic's message. The error is retryable and has the code
    /// [`StepError::PANIC`]. `what` names the code that panicked.
    ///
    /// This function takes ownership of the panic's payload, because dropping the payload runs the program's
    /// code. If the drop panics too, the second panic is caught here.
    #[must_use]
    pub fn from_panic(what: &str, payload: Box<dyn Any + Send>) -> Self {
        let said = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("the panic has no message");
        let error = Self::retryable(format!("{what} panicked: {said}")).with_code(Self::PANIC);
        drop_payload(payload);
        error
    }
}

impl Drop for StepError {
    fn drop(&mut self) {
        // The placeholder is zero-sized, so the box allocates nothing.
        drop_contained(std::mem::replace(&mut self.source, Box::new(Dropped)));
    }
}

/// Drops a value of the program, and catches a panic in its `Drop`. The panic hook reports the panic.
pub(crate) fn drop_contained<T>(value: T) {
    if let Err(payload) = std::panic::catch_unwind(AssertUnwindSafe(|| drop(value))) {
        drop_payload(payload);
    }
}

/// Drops the payload of a caught panic. Dropping the payload runs the program's code, so it may panic too.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(again) = std::panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // The `Drop` of each new payload could panic again, without end, so the payload is leaked instead.
        std::mem::forget(again);
    }
}

/// The placeholder for the source of an error that is being dropped.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the error was dropped")
    }
}

impl Error for Dropped {}

/// One message in a chain of causes.
#[derive(Debug)]
struct Cause {
    message: String,
    source: Option<Box<Cause>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Cause {
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

impl<E: Into<BoxError>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::retryable(error)
    }
}

/// Makes the error of a `Result` a [`StepError`], on the way to `?`.
///
/// ```
/// use wfe_core::steps::{StepError, StepResultExt as _};
///
/// fn port(text: &str) -> Result<u16, StepError> {
///     // Another attempt would read the same text.
///     text.parse::<u16>().fatal().code("port")
/// }
/// let error = port("http").unwrap_err();
/// assert_eq!((error.is_retryable(), error.code()), (false, "port"));
/// ```
pub trait StepResultExt<T>: Sized {
    /// The same result, whose error is fatal: the step is not retried.
    ///
    /// # Errors
    /// The same error, as a fatal one.
    fn fatal(self) -> Result<T, StepError>;

    /// The same result, whose error has this code.
    ///
    /// # Errors
    /// The same error, with this code.
    fn code(self, code: impl Into<Cow<'static, str>>) -> Result<T, StepError>;
}

impl<T, E: Into<StepError>> StepResultExt<T> for Result<T, E> {
    fn fatal(self) -> Result<T, StepError> {
        self.map_err(|error| {
            let mut error = error.into();
            error.retryable = false;
            error
        })
    }

    fn code(self, code: impl Into<Cow<'static, str>>) -> Result<T, StepError> {
        self.map_err(|error| error.into().with_code(code))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_panic_in_the_drop_of_a_payload_is_caught() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Bomb);
            }
        }
        let error = StepError::from_panic("it", Box::new(Bomb));
        assert_eq!(
            (error.code(), &*error.to_string()),
            (StepError::PANIC, "it panicked: the panic has no message")
        );
    }

    /// An error with a method that panics: `Display`, `source` or `Drop`.
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
            ("display", vec!["the error's `Display` or `source` panicked: no words"]),
            ("source", vec!["rude", "the error's `Display` or `source` panicked: no cause"]),
        ] {
            let error = StepError::fatal(Rude(what)).with_code("mine");
            assert_eq!(error.causes(), causes);
            let counts_as = error.panic_in_messages().unwrap();
            assert_eq!((counts_as.code(), counts_as.is_retryable()), (StepError::PANIC, false));
        }
    }

    #[test]
    fn an_error_whose_display_fails_that_is_its_own_cause_or_panics_when_dropped_keeps_its_code() {
        let failing = StepError::retryable(Rude("fails"));
        assert_eq!(failing.causes(), ["half a (its `Display` failed)"]);
        let circle = StepError::retryable(Rude("circle"));
        assert_eq!(circle.causes().len(), LONGEST_CHAIN);
        assert!(circle.find::<io::Error>().is_none());
        let dropped = StepError::retryable(Rude("drop"));
        assert_eq!(dropped.causes(), ["rude"]);
        for error in [failing, circle, dropped] {
            assert!(error.panic_in_messages().is_none());
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
