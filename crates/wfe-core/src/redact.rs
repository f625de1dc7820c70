//! Removes quoted values from the errors of `serde_json`.

use std::{error::Error, fmt, io, sync::Arc};

use serde_json::error::Category;

use crate::{BoxError, WfeError};

/// Removes the quoted value from an error of `serde_json`. The error keeps its kind, its line and its column.
///
/// The text of such an error can quote the value that was not accepted. An example is
/// `invalid type: string "4111 1111 …", expected u32`. Errors are stored with instances, logged, and shown to
/// people who are not allowed to see the data.
///
/// WFE redacts every error of `serde_json` that it gets. A store must redact an error of `serde_json` before
/// it uses the error as the source of a [`WfeError`]. When `?` converts the error into a
/// `WfeError`, the error is redacted automatically. WFE also redacts an error inside a wrapper that shows the
/// inner error's text as its own text: an [`io::Error`], an `Arc`, a `Box`, or
/// [`WfeError::Other`]. The text of a panic, such as the message of a failed
/// `.unwrap()` in a step, is not redacted.
///
/// ```
/// let error = serde_json::from_str::<u32>("\n\"secret\"").unwrap_err();
/// assert!(error.to_string().contains("secret"));
/// let redacted = wfe_core::redact(error);
/// assert_eq!(redacted.to_string(), "the value has another type or shape than expected at line 2 column 8");
/// assert_eq!((redacted.line(), redacted.column()), (2, 8));
/// ```
#[must_use]
pub fn redact(error: serde_json::Error) -> serde_json::Error {
    match error.classify() {
        // Only in this category does the text come from the types that are read and written. It can quote
        // values.
        Category::Data => serde::de::Error::custom(Redacted(&error)),
        // The texts of these errors are constants of `serde_json`, or come from the operating system.
        Category::Io | Category::Syntax | Category::Eof => error,
    }
}

/// Like [`redact`], but for an error of any type. The error is changed only if its text is the text of an
/// error of `serde_json` that it wraps. An `Arc<serde_json::Error>`, an [`io::Error`] or a [`WfeError`] keeps
/// its type. Any other wrapper is replaced by the redacted error of `serde_json`.
pub(crate) fn redact_boxed(error: BoxError) -> BoxError {
    let Some(json) = shown(&*error).filter(|json| json.classify() == Category::Data) else { return error };
    let redacted: serde_json::Error = serde::de::Error::custom(Redacted(json));
    if error.is::<Arc<serde_json::Error>>() {
        return Box::new(Arc::new(redacted));
    }
    let error = match error.downcast::<io::Error>() {
        Ok(io) => return Box::new(io::Error::new(io.kind(), redacted)),
        Err(other) => other,
    };
    if error.is::<WfeError>() { Box::new(WfeError::Other(Box::new(redacted))) } else { Box::new(redacted) }
}

/// Returns the error of `serde_json` from which this error takes its text. This is the error itself, or an
/// error that it wraps without adding any text.
fn shown<'e>(mut error: &'e (dyn Error + 'static)) -> Option<&'e serde_json::Error> {
    loop {
        error = if let Some(json) = error.downcast_ref() {
            return Some(json);
        } else if let Some(io) = error.downcast_ref::<io::Error>() {
            io.get_ref()?
        } else if let Some(WfeError::Other(other)) = error.downcast_ref() {
            &**other
        } else if let Some(boxed) = error.downcast_ref::<Box<serde_json::Error>>() {
            &**boxed
        } else if let Some(shared) = error.downcast_ref::<Arc<serde_json::Error>>() {
            &**shared
        } else if let Some(shared) = error.downcast_ref::<Arc<io::Error>>() {
            &**shared
        } else if let Some(shared) = error.downcast_ref::<Arc<WfeError>>() {
            &**shared
        } else if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            &**shared
        } else {
            return None;
        };
    }
}

/// Shows the message of this error, but not those of its causes. The message of an error of `serde_json` is
/// shown redacted.
pub(crate) struct Message<'e>(pub &'e (dyn Error + 'static));

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match shown(self.0) {
            Some(json) => Redacted(json).fmt(f),
            None => fmt::Display::fmt(self.0, f),
        }
    }
}

/// Shows the message of an error of `serde_json`, but replaces a text that may quote a value.
pub(crate) struct Redacted<'e>(pub &'e serde_json::Error);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        if error.classify() != Category::Data {
            return error.fmt(f);
        }
        f.write_str("the value has another type or shape than expected")?;
        // An error about a value that was not parsed from text has no line number.
        if error.line() == 0 {
            return Ok(());
        }
        // `serde_json` recognises exactly these words, and parses the numbers into the new error's line and
        // column.
        write!(f, " at line {} column {}", error.line(), error.column())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::StepError;

    const SECRET: &str = "4111 1111 1111 1111";

    fn of_a_text() -> serde_json::Error {
        serde_json::from_str::<Vec<u32>>(&format!("[1,\n\"{SECRET}\"]")).unwrap_err()
    }

    fn of_a_value() -> serde_json::Error {
        serde_json::from_value::<u32>(SECRET.into()).unwrap_err()
    }

    fn texts(error: &(dyn Error + 'static)) -> String {
        let chain = std::iter::successors(Some(error), |error| (*error).source());
        chain.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_error_of_serde_json_keeps_its_kind_and_its_line_but_not_its_text() {
        for raw in [of_a_text, of_a_value] {
            assert!(raw().to_string().contains(SECRET));
            let (line, column) = (raw().line(), raw().column());
            let redacted = redact(raw());
            assert_eq!(
                (redacted.classify(), redacted.line(), redacted.column()),
                (Category::Data, line, column)
            );
            let error = WfeError::from(raw());
            assert!(!texts(&error).contains(SECRET), "{error:?}");
            let boxed: BoxError = Box::new(raw());
            let error = WfeError::from(boxed);
            assert!(!texts(&error).contains(SECRET), "{error:?}");
            for error in [
                StepError::from(raw()),
                StepError::fatal(raw()),
                StepError::retryable(Box::new(raw()) as BoxError),
            ] {
                assert!(!format!("{error} {error:?} {:?}", error.causes()).contains(SECRET), "{error:?}");
                assert!(error.find::<serde_json::Error>().is_some(), "predicates still find it");
            }
            assert!(!WfeError::Serialization(raw()).to_string().contains(SECRET), "without a conversion");
        }
    }

    #[test]
    fn a_cause_is_redacted_too() {
        #[derive(Debug, thiserror::Error)]
        #[error("the order cannot be read")]
        struct Unreadable(#[source] serde_json::Error);
        let error = StepError::fatal(Unreadable(of_a_text()));
        assert_eq!(
            error.causes(),
            [
                "the order cannot be read",
                "the value has another type or shape than expected at line 2 column 21"
            ]
        );
    }

    #[test]
    fn a_wrapper_that_shows_the_text_as_its_own_is_redacted_too() {
        #[derive(Debug, thiserror::Error)]
        #[error("the order cannot be read")]
        struct Unreadable(#[source] BoxError);
        let wrapped: [fn(serde_json::Error) -> BoxError; 9] = [
            |e| Box::new(io::Error::from(e)),
            |e| Box::new(io::Error::other(e)),
            |e| Box::new(io::Error::other(io::Error::other(e))),
            |e| Box::new(Box::new(e)),
            |e| Box::new(Arc::new(e)),
            |e| Box::new(Arc::new(io::Error::from(e))),
            |e| Box::new(Arc::<dyn Error + Send + Sync>::from(Box::new(e) as BoxError)),
            |e| Box::new(WfeError::Other(Box::new(e))),
            |e| Box::new(Arc::new(WfeError::Other(Box::new(io::Error::from(e))))),
        ];
        for (number, wrap) in wrapped.into_iter().enumerate() {
            for raw in [of_a_text, of_a_value] {
                let redacted = Redacted(&raw()).to_string();
                assert!(wrap(raw()).to_string().contains(SECRET), "{number}");
                let error = StepError::fatal(wrap(raw()));
                assert_eq!(error.causes(), [&*redacted], "{number}");
                assert!(!format!("{error} {error:?}").contains(SECRET), "{number}: {error:?}");
                assert!(!texts(&WfeError::from(wrap(raw()))).contains(SECRET), "{number}");
                let below = StepError::fatal(Unreadable(wrap(raw())));
                assert_eq!(below.causes(), ["the order cannot be read", &*redacted], "{number}");
            }
        }
        let kept = StepError::fatal(io::Error::from(of_a_text()));
        assert_eq!(kept.find::<io::Error>().map(io::Error::kind), Some(io::ErrorKind::InvalidData));
        assert!(StepError::fatal(Arc::new(of_a_text())).find::<Arc<serde_json::Error>>().is_some());
        assert!(StepError::fatal(WfeError::Other(Box::new(of_a_text()))).find::<WfeError>().is_some());
    }

    #[test]
    fn an_error_that_quotes_no_value_keeps_its_text() {
        let error = serde_json::from_str::<serde_json::Value>("{").unwrap_err();
        let text = error.to_string();
        assert_eq!(redact(error).to_string(), text);
    }
}
