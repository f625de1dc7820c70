use serde::Serialize;
use serde_json::Value;

use super::StepError;
use crate::definition::to_value;

/// How the instance goes on after a step that ended well.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Next {
    /// To the next step.
    Done,
    /// To the next step; the value is stored with the step as its outcome.
    Outcome(Value),
}

impl Next {
    /// [`Next::Outcome`] of any value.
    ///
    /// # Errors
    /// The value does not fit JSON. The error is fatal: another attempt would make the same value.
    pub fn outcome(value: &impl Serialize) -> Result<Self, StepError> {
        to_value(value).map(Self::Outcome).map_err(|e| StepError::fatal(e).with_code(StepError::UNSTORABLE))
    }
}

/// What an inline step may return: [`Next`] itself, or any serializable value, which becomes the step's outcome
/// (`()` and whatever else serializes to `null`: no outcome).
pub trait IntoNext {
    /// How to go on.
    ///
    /// # Errors
    /// The value does not fit JSON.
    fn next(&self) -> Result<Next, StepError>;
}

impl<T: Serialize> IntoNext for T {
    fn next(&self) -> Result<Next, StepError> {
        Ok(match Next::outcome(self)? {
            Next::Outcome(Value::Null) => Next::Done,
            next => next,
        })
    }
}

impl IntoNext for Next {
    fn next(&self) -> Result<Next, StepError> {
        Ok(self.clone())
    }
}
