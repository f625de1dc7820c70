use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    traits::{Ending, Loaded, StepFailure},
};

/// How an instance ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Outcome<D> {
    /// The instance completed: its last step succeeded. Holds the data of the instance.
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
    /// [`NotCompleted`](WfeError::NotCompleted): the instance has ended in another way. The error says how, and why.
    pub fn completed(self) -> Result<D> {
        match self {
            Self::Completed(data) => Ok(data),
            other => Err(WfeError::NotCompleted(other.to_string())),
        }
    }
}

/// One line: `completed`, `failed at step "pay" (attempt 3, code "error"): the bank is closed`, `cancelled` or
/// `terminated`.
impl<D> fmt::Display for Outcome<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed(_) => f.write_str("completed"),
            Self::Failed(failure) => {
                let StepFailure { step, attempt, code, causes, .. } = &**failure;
                if step.is_empty() {
                    write!(f, "failed (code {code:?}): ")?;
                } else {
                    write!(f, "failed at step {step:?} (attempt {attempt}, code {code:?}): ")?;
                }
                f.write_str(&causes.join(": "))
            }
            Self::Cancelled => f.write_str("cancelled"),
            Self::Terminated => f.write_str("terminated"),
        }
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
