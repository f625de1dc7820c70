use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    traits::{Ending, Loaded, StepFailure},
};

/// How an instance ended.
///
/// Its text is one line: `completed`, `failed at step "pay" (attempt 3, code "error"): the bank is closed`, `cancelled` or
/// `terminated`. Its JSON has the tag `outcome`, and in `with` the data, or the [`StepFailure`]:
///
/// ```json
/// { "outcome": "completed", "with": { "id": "order-17" } }
/// { "outcome": "failed", "with": { "step": "pay", "attempt": 3, "code": "error", "message": "the bank is closed", … } }
/// { "outcome": "cancelled" }
/// { "outcome": "terminated" }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", content = "with", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome<D> {
    /// The instance completed: its last step, or an `end` step, succeeded. The
    /// [status](crate::status::InstanceStatus::end_step) names the `end` step. Holds the data of the instance.
    Completed(D),
    /// The instance failed: a step failed and was not retried any more. Holds that failure.
    Failed(Box<StepFailure>),
    /// The instance was cancelled by a request; its open sagas were compensated.
    Cancelled,
    /// The instance was terminated by a request; nothing was compensated.
    Terminated,
}

impl<D> Outcome<D> {
    /// The data of an instance that has completed.
    ///
    /// # Errors
    /// [`NotCompleted`](WfeError::NotCompleted): the instance has ended in another way. The error holds how, and why.
    pub fn completed(self) -> Result<D> {
        let (ending, failure) = match self {
            Self::Completed(data) => return Ok(data),
            Self::Failed(failure) => (Ending::Failed, Some(failure)),
            Self::Cancelled => (Ending::Cancelled, None),
            Self::Terminated => (Ending::Terminated, None),
        };
        Err(WfeError::NotCompleted { ending, failure })
    }
}

impl<D> fmt::Display for Outcome<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ending, failure) = match self {
            Self::Completed(_) => (Ending::Completed, None),
            Self::Failed(failure) => (Ending::Failed, Some(&**failure)),
            Self::Cancelled => (Ending::Cancelled, None),
            Self::Terminated => (Ending::Terminated, None),
        };
        ending.because(failure).fmt(f)
    }
}

/// The end of an instance, with its data as untyped JSON.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub ending: Ending,
    pub data: Value,
    pub cause: Option<StepFailure>,
}

impl End {
    /// Returns the end of a loaded instance, or `None` if the instance has not ended.
    pub fn of(loaded: Loaded) -> Option<Self> {
        let ending = Ending::of(loaded.instance.status, loaded.ending)?;
        Some(Self { ending, data: loaded.instance.data, cause: loaded.cause })
    }

    pub fn typed<D: DeserializeOwned>(self, id: &str) -> Result<Outcome<D>> {
        Ok(match (self.ending, self.cause) {
            (Ending::Completed, _) => Outcome::Completed(serde_json::from_value(self.data)?),
            (Ending::Failed, Some(cause)) => Outcome::Failed(Box::new(cause)),
            (Ending::Failed, None) => {
                return Err(WfeError::Persistence(format!(
                    "workflow {id:?} has failed, but its failure is not stored"
                )));
            }
            (Ending::Cancelled, _) => Outcome::Cancelled,
            (Ending::Terminated, _) => Outcome::Terminated,
        })
    }
}

/// The state of an idle host, returned by [`WorkflowHost::idle`](crate::WorkflowHost::idle).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Idle {
    /// The earliest due time in the store, or `None` if nothing is scheduled. The value may change before that time.
    /// The value does not take the poll interval into account.
    pub next: Option<DateTime<Utc>>,
    /// How many times this host has started to work on an instance so far. To find out whether several hosts on one
    /// store are idle at the same time, query each host in turn, and then all hosts a second time. All hosts are idle
    /// if `works` has not changed for any of them.
    pub works: u64,
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;
    use wfe_core::models::ExecutionError;

    use super::*;

    fn failed() -> Outcome<Vec<u8>> {
        Outcome::Failed(Box::new(StepFailure {
            error: ExecutionError {
                error_time: DateTime::UNIX_EPOCH,
                workflow_id: "w".to_owned(),
                execution_pointer_id: "pay".to_owned(),
                message: "the bank is closed".to_owned(),
            },
            step: "pay".to_owned(),
            attempt: 3,
            code: "error".to_owned(),
            causes: vec!["the bank is closed".to_owned()],
        }))
    }

    #[test]
    fn an_outcome_has_a_text_and_a_json() {
        let failure = json!({
            "step": "pay", "attempt": 3, "code": "error", "message": "the bank is closed",
            "time": "1970-01-01T00:00:00Z", "pointer": "pay",
        });
        let text = "failed at step \"pay\" (attempt 3, code \"error\"): the bank is closed";
        for (outcome, text, json) in [
            (Outcome::Completed(vec![7]), "completed", json!({ "outcome": "completed", "with": [7] })),
            (failed(), text, json!({ "outcome": "failed", "with": failure })),
            (Outcome::Cancelled, "cancelled", json!({ "outcome": "cancelled" })),
            (Outcome::Terminated, "terminated", json!({ "outcome": "terminated" })),
        ] {
            assert_eq!((outcome.to_string().as_str(), serde_json::to_value(&outcome).unwrap()), (text, json));
        }
    }

    #[test]
    fn an_instance_that_has_not_completed_is_an_error_with_its_failure() {
        assert_eq!(Outcome::Completed(7).completed().unwrap(), 7);
        let error = failed().completed().unwrap_err();
        assert_eq!(error.to_string(), format!("the instance has not completed: {}", failed()));
        let WfeError::NotCompleted { ending: Ending::Failed, failure: Some(failure) } = error else {
            panic!("{error:?}")
        };
        assert_eq!((failure.code.as_str(), failure.attempt), ("error", 3));
        for (outcome, was) in
            [(Outcome::Cancelled, Ending::Cancelled), (Outcome::<()>::Terminated, Ending::Terminated)]
        {
            let error = outcome.completed().unwrap_err();
            assert!(matches!(error, WfeError::NotCompleted { ending, failure: None } if ending == was));
        }
    }
}
