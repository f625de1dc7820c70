use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StepError;
use crate::limits::inside;

/// What a worker outside of the workflow answers to an activity or a user task: the data of the event that ends its
/// wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WorkerAnswer {
    /// It is done; the result.
    Success(Value),
    /// It could not be done.
    Failure {
        /// What kind of failure, for programs.
        code: String,
        /// The messages of the error and its causes, outermost first.
        causes: Vec<String>,
        /// Whether another attempt makes sense; the step's retry policy decides.
        retryable: bool,
    },
}

impl WorkerAnswer {
    /// That it could not be done, for this reason.
    #[must_use]
    pub fn failure(error: &StepError) -> Self {
        let unreadable = error.unreadable();
        let error = unreadable.as_ref().unwrap_or(error);
        Self::Failure {
            code: error.code().to_owned(),
            causes: error.causes(),
            retryable: error.is_retryable(),
        }
    }

    /// The result, or the failure as a step's own.
    pub(crate) fn into_result(self) -> Result<Value, StepError> {
        match self {
            Self::Success(value) => Ok(value),
            Self::Failure { code, causes, retryable } => Err(StepError::told(code, causes, retryable)),
        }
    }
}

/// What a person answers to a user task: the value of [`WorkerAnswer::Success`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserAnswer {
    /// Which of the task's options was chosen.
    pub option: String,
    /// Who chose it; `None`: it was not told.
    #[serde(default)]
    pub user: Option<String>,
    /// Whatever else the form asked for.
    #[serde(default)]
    pub data: Value,
}

/// What a user task asks: its wait's `subscription_data`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserTaskView {
    /// The stable id of the step.
    pub step: String,
    /// What is asked.
    pub prompt: String,
    /// Who is to answer; `None`: anyone.
    pub assignee: Option<String>,
    /// What can be answered, in the order in which it was defined.
    pub options: Vec<String>,
}

/// The completed step that a compensating step compensates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compensated {
    /// The stable id of that step.
    pub step: String,
    /// Its execution pointer.
    pub pointer: String,
    /// What it answered (an event's or worker's data, if it waited for one); `None`: nothing. Of a child workflow always
    /// nothing: its data goes where the step's output writes it.
    #[serde(default, with = "inside::optional")]
    pub outcome: Option<Value>,
    /// What it kept; `None`: nothing.
    #[serde(default, with = "inside::optional")]
    pub state: Option<Value>,
}
