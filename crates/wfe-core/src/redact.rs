//! What may be told of an error of `serde_json`: its kind, its line and its column.

use std::{error::Error, fmt};

use serde_json::error::Category;

use crate::BoxError;

/// The error without its text: kind, line and column stay.
///
/// The text of such an error can quote the value that does not fit (`invalid type: string "4111 1111 …", expected u32`), and
/// errors are stored with instances, logged, and shown to people who may not see the data. WFE passes every error of
/// `serde_json` that it meets through here, and a store does so before it makes one the source of a
/// [`WfeError`](crate::WfeError). (`WfeError` does it by itself where `?` converts one.)
///
/// ```
/// let error = serde_json::from_str::<u32>("\n\"secret\"").unwrap_err();
/// assert!(error.to_string().contains("secret"));
/// let told = wfe_core::redact(error);
/// assert_eq!(told.to_string(), "the value has another type or shape than expected at line 2 column 8");
/// assert_eq!((told.line(), told.column()), (2, 8));
/// ```
#[must_use]
pub fn redact(error: serde_json::Error) -> serde_json::Error {
    match error.classify() {
        // The only kind whose text others write: the types that are read and written.
        Category::Data => serde::de::Error::custom(Redacted(&error)),
        // Their texts are `serde_json`'s own constants, or the operating system's.
        Category::Io | Category::Syntax | Category::Eof => error,
    }
}

/// As [`redact`], if that is what is in the box.
pub(crate) fn redact_boxed(error: BoxError) -> BoxError {
    match error.downcast::<serde_json::Error>() {
        Ok(json) => Box::new(redact(*json)),
        Err(other) => other,
    }
}

/// Tells this one error, without its causes; one of `serde_json` without its text.
pub(crate) struct Message<'e>(pub &'e (dyn Error + 'static));

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.downcast_ref::<serde_json::Error>() {
            Some(json) => Redacted(json).fmt(f),
            None => fmt::Display::fmt(self.0, f),
        }
    }
}

/// Tells an error without its text.
pub(crate) struct Redacted<'e>(pub &'e serde_json::Error);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        if error.classify() != Category::Data {
            return error.fmt(f);
        }
        f.write_str("the value has another type or shape than expected")?;
        // Of a value that was not read from a text, there is no place to tell.
        if error.line() == 0 {
            return Ok(());
        }
        // In these words `serde_json` finds them again, and keeps them as the numbers that they are.
        write!(f, " at line {} column {}", error.line(), error.column())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WfeError, steps::StepError};

    const SECRET: &str = "4111 1111 1111 1111";

    fn of_a_text() -> serde_json::Error {
        serde_json::from_str::<Vec<u32>>(&format!("[1,\n\"{SECRET}\"]")).unwrap_err()
    }

    fn of_a_value() -> serde_json::Error {
        serde_json::from_value::<u32>(SECRET.into()).unwrap_err()
    }

    fn tells(error: &(dyn Error + 'static)) -> String {
        let chain = std::iter::successors(Some(error), |error| (*error).source());
        chain.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_error_of_serde_is_told_by_its_kind_and_its_place_wherever_it_goes() {
        for raw in [of_a_text, of_a_value] {
            assert!(raw().to_string().contains(SECRET));
            let (line, column) = (raw().line(), raw().column());
            let told = redact(raw());
            assert_eq!((told.classify(), told.line(), told.column()), (Category::Data, line, column));
            let error = WfeError::from(raw());
            assert!(!tells(&error).contains(SECRET), "{error:?}");
            let boxed: BoxError = Box::new(raw());
            let error = WfeError::from(boxed);
            assert!(!tells(&error).contains(SECRET), "{error:?}");
            for error in [
                StepError::from(raw()),
                StepError::fatal(raw()),
                StepError::retryable(Box::new(raw()) as BoxError),
            ] {
                assert!(!format!("{error} {error:?} {:?}", error.causes()).contains(SECRET), "{error:?}");
                assert!(error.find::<serde_json::Error>().is_some(), "predicates find it as ever");
            }
            assert!(!WfeError::Serialization(raw()).to_string().contains(SECRET), "made by hand");
        }
    }

    #[test]
    fn it_is_not_told_from_below_another_error_either() {
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
    fn what_has_no_payload_is_told_in_full() {
        let error = serde_json::from_str::<serde_json::Value>("{").unwrap_err();
        let text = error.to_string();
        assert_eq!(redact(error).to_string(), text);
    }
}
