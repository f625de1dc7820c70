use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ItemFailure, StepError};
use crate::limits::inside;

/// The answer of an external worker to an activity, or the answer of a person to a user task. The answer is
/// the data of the event that ends the step's wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkerAnswer {
    /// The work is done, with this result.
    Success(Value),
    /// The work failed.
    Failure {
        /// The error code. Programs use it to tell failures apart.
        code: String,
        /// The messages of the error and of its causes. The outermost error comes first.
        causes: Vec<String>,
        /// Whether another attempt may succeed. The step's retry policy decides whether there is another
        /// attempt.
        retryable: bool,
    },
}

impl WorkerAnswer {
    /// Creates a failure that has the code and the messages of this error.
    #[must_use]
    pub fn failure(error: &StepError) -> Self {
        let replacement = error.panic_in_messages();
        let error = replacement.as_ref().unwrap_or(error);
        Self::Failure {
            code: error.code().to_owned(),
            causes: error.causes(),
            retryable: error.is_retryable(),
        }
    }

    /// Returns the result of the work. A failure of the work is returned as an error of the step.
    pub(crate) fn into_result(self) -> Result<Value, StepError> {
        match self {
            Self::Success(value) => Ok(value),
            Self::Failure { code, causes, retryable } => Err(StepError::from_causes(code, causes, retryable)),
        }
    }
}

/// A person's answer to a user task. It is stored as the value of [`WorkerAnswer::Success`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserAnswer {
    /// The chosen option of the task.
    pub option: String,
    /// The person who chose the option, or `None` if the person is unknown.
    #[serde(default)]
    pub user: Option<String>,
    /// Further data of the answer, such as the fields of a form.
    #[serde(default)]
    pub data: Value,
}

impl UserAnswer {
    /// The answer that chooses this option.
    pub fn new(option: impl Into<String>) -> Self {
        Self { option: option.into(), user: None, data: Value::Null }
    }

    /// Sets the person who chose the option.
    #[must_use]
    pub fn by(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets further data of the answer, such as the fields of a form.
    #[must_use]
    pub fn data(mut self, data: impl Into<Value>) -> Self {
        self.data = data.into();
        self
    }
}

/// The question of a user task. It is stored in the `subscription_data` of the task's subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserTaskView {
    /// The stable id of the step.
    pub step: String,
    /// The text of the question.
    pub prompt: String,
    /// The person who should answer, or `None` if anyone may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// The possible answers, in the order of the definition.
    pub options: Vec<String>,
    /// The labels of the options, for user interfaces. An option without a label is not in the map:
    /// [`label`](Self::label) returns its value then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl UserTaskView {
    /// The text with which a user interface shows this option: its label, or else its value.
    #[must_use]
    pub fn label<'a>(&'a self, option: &'a str) -> &'a str {
        self.labels.get(option).map_or(option, String::as_str)
    }
}

/// The answer that chooses this option.
impl From<&str> for UserAnswer {
    fn from(option: &str) -> Self {
        Self::new(option)
    }
}

/// A step that is compensated, as it is shown to the step that compensates it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Compensated {
    /// The stable id of the step.
    pub step: String,
    /// The id of the step's execution pointer.
    pub pointer: String,
    /// The [idempotency key](super::Ctx::idempotency_key) that the step had. The compensation has a key of its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub idempotency_key: String,
    /// The outcome of the step, or `None` if it has no outcome or did not complete. The outcome of a wait is the event's
    /// data; the outcome of an activity is the worker's result. A sub-workflow step has no outcome: the step's
    /// output closure gets the child's data instead.
    #[serde(default, with = "inside::optional")]
    pub outcome: Option<Value>,
    /// The state that the step stored, or `None` if it stored no state.
    #[serde(default, with = "inside::optional")]
    pub state: Option<Value>,
    /// Why the step did not complete, or `None` if it completed. The code of a step that neither completed nor failed is
    /// [`StepError::CANCELLED`].
    ///
    /// Only a step with [`compensate_even_if_failed`](crate::definition::Sequence::compensate_even_if_failed) is
    /// compensated if it did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ItemFailure>,
}
