//! How instances end, and the failures of steps.
//!
//! These types stand beside the errors, because [`WfeError::NotCompleted`] holds them.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct};

use super::ExecutionError;
#[cfg(doc)]
use super::WfeError;

/// How an instance came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ending {
    /// The workflow completed.
    Completed,
    /// A step failed for the last time, and its error behaviour is to fail the instance.
    Failed,
    /// The instance was cancelled by [`Control::Cancel`](crate::traits::Control::Cancel).
    Cancelled,
    /// The instance was terminated by [`Control::Terminate`](crate::traits::Control::Terminate).
    Terminated,
}

impl Ending {
    /// The ending and its cause, to be written in one line: `completed`, `cancelled`, `terminated`, or
    /// `failed at step "pay" (attempt 3, code "error"): the bank is closed`.
    #[must_use]
    pub fn because(self, failure: Option<&StepFailure>) -> impl fmt::Display + use<'_> {
        fmt::from_fn(move |f| match failure {
            Some(failure) if self == Self::Failed && failure.step.is_empty() => {
                write!(f, "failed (code {:?}): {}", failure.code, failure.text())
            }
            Some(failure) if self == Self::Failed => write!(f, "failed at {failure}"),
            _ => write!(f, "{self}"),
        })
    }
}

/// One word: `completed`, `failed`, `cancelled` or `terminated`.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
        })
    }
}

/// One failure of one step, with the data for which [`ExecutionError`] has no field.
///
/// Its text is one line: `step "pay" (attempt 3, code "error"): the bank is closed: connection refused`.
///
/// Its JSON is for readers outside the program:
///
/// ```json
/// {
///   "step": "pay", "attempt": 3, "code": "error",
///   "message": "the bank is closed: connection refused",
///   "time": "2026-01-05T08:00:00Z", "pointer": "pay"
/// }
/// ```
///
/// `message` is the [`message`](Self::message), `time` is in RFC 3339. If no step was running, `step` and `pointer`
/// are left out. A store keeps a failure in another form, [`StoredFailure`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    /// The time, the instance, the execution pointer, and the message of the outermost error.
    pub error: ExecutionError,
    /// The stable id of the step; empty if no step was running.
    pub step: String,
    /// The number of the failed attempt, from 1.
    pub attempt: u32,
    /// The error code, by which programs distinguish failures: the step's own code, or a code of the engine
    /// (`panic`, `timeout`, …).
    pub code: String,
    /// The messages of the error and its sources, outermost first.
    pub causes: Vec<String>,
}

impl StepFailure {
    /// The messages of the error and its sources, outermost first, joined by `: `.
    #[must_use]
    pub fn message(&self) -> String {
        if self.causes.is_empty() { self.error.message.clone() } else { self.causes.join(": ") }
    }

    /// The [`message`](Self::message) in one line, written without a copy: control characters are escaped.
    #[must_use]
    pub fn text(&self) -> impl fmt::Display + use<'_> {
        fmt::from_fn(|f| {
            if self.causes.is_empty() {
                return one_line(&self.error.message, f);
            }
            for (at, cause) in self.causes.iter().enumerate() {
                f.write_str(if at == 0 { "" } else { ": " })?;
                one_line(cause, f)?;
            }
            Ok(())
        })
    }
}

/// Writes the text. Line breaks and other control characters are escaped, so that a text of the program cannot look
/// like a line of its own.
fn one_line(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.chars()
        .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_debug()) } else { f.write_char(c) })
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.step.is_empty() {
            return write!(f, "code {:?}: {}", self.code, self.text());
        }
        write!(f, "step {:?} (attempt {}, code {:?}): {}", self.step, self.attempt, self.code, self.text())
    }
}

impl Serialize for StepFailure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("StepFailure", 6)?;
        if self.step.is_empty() {
            fields.skip_field("step")?;
        } else {
            fields.serialize_field("step", &self.step)?;
        }
        fields.serialize_field("attempt", &self.attempt)?;
        fields.serialize_field("code", &self.code)?;
        fields.serialize_field("message", &self.message())?;
        fields.serialize_field("time", &self.error.error_time)?;
        if self.error.execution_pointer_id.is_empty() {
            fields.skip_field("pointer")?;
        } else {
            fields.serialize_field("pointer", &self.error.execution_pointer_id)?;
        }
        fields.end()
    }
}

/// A failure in the form in which stores keep it: every field, under its own name. It reads what earlier versions have
/// stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFailure(#[serde(with = "Stored")] pub StepFailure);

impl StoredFailure {
    /// For fields of types that are stored, with [`read_optional`](Self::read_optional).
    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(crate) fn write_optional<S: Serializer>(
        failure: &Option<StepFailure>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        failure.clone().map(Self).serialize(serializer)
    }

    pub(crate) fn read_optional<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<StepFailure>, D::Error> {
        Ok(Option::<Self>::deserialize(deserializer)?.map(|stored| stored.0))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "StepFailure")]
struct Stored {
    error: ExecutionError,
    step: String,
    attempt: u32,
    code: String,
    causes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    fn failure() -> StepFailure {
        StepFailure {
            error: ExecutionError {
                error_time: DateTime::UNIX_EPOCH,
                workflow_id: "w".to_owned(),
                execution_pointer_id: "each/3/pay".to_owned(),
                message: "the bank\nis closed".to_owned(),
            },
            step: "pay".to_owned(),
            attempt: 3,
            code: "bank".to_owned(),
            causes: vec!["the bank\nis closed".to_owned(), "refused".to_owned()],
        }
    }

    #[test]
    fn a_failure_is_printed_in_one_line() {
        let text = "step \"pay\" (attempt 3, code \"bank\"): the bank\\nis closed: refused";
        assert_eq!(failure().to_string(), text);
        assert_eq!(Ending::Failed.because(Some(&failure())).to_string(), format!("failed at {text}"));
        let no_step = StepFailure { step: String::new(), causes: Vec::new(), ..failure() };
        assert_eq!(no_step.to_string(), "code \"bank\": the bank\\nis closed");
        let ended = Ending::Failed.because(Some(&no_step)).to_string();
        assert_eq!(ended, "failed (code \"bank\"): the bank\\nis closed");
        assert_eq!(Ending::Failed.because(None).to_string(), "failed");
        assert_eq!(Ending::Cancelled.because(Some(&failure())).to_string(), "cancelled");
    }

    #[test]
    fn a_failure_is_serialised_for_readers() {
        assert_eq!(
            serde_json::to_value(failure()).unwrap(),
            json!({
                "step": "pay", "attempt": 3, "code": "bank", "message": "the bank\nis closed: refused",
                "time": "1970-01-01T00:00:00Z", "pointer": "each/3/pay",
            })
        );
        let error = ExecutionError { execution_pointer_id: String::new(), ..failure().error };
        let no_step = StepFailure { step: String::new(), causes: Vec::new(), error, ..failure() };
        assert_eq!(
            serde_json::to_value(no_step).unwrap(),
            json!({
                "attempt": 3, "code": "bank", "message": "the bank\nis closed", "time": "1970-01-01T00:00:00Z",
            })
        );
    }

    /// Every database has rows of this form.
    #[test]
    fn the_stored_form_of_a_failure_stays() {
        let stored = json!({
            "error": {
                "error_time": "1970-01-01T00:00:00Z", "workflow_id": "w",
                "execution_pointer_id": "each/3/pay", "message": "the bank\nis closed",
            },
            "step": "pay", "attempt": 3, "code": "bank", "causes": ["the bank\nis closed", "refused"],
        });
        assert_eq!(serde_json::to_value(StoredFailure(failure())).unwrap(), stored);
        assert_eq!(serde_json::from_value::<StoredFailure>(stored).unwrap().0, failure());
    }
}
