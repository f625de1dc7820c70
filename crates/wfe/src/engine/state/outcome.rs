use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    models::WorkflowStatus,
    traits::{Ending, Loaded, StepFailure},
};

/// How an instance ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<D> {
    /// Its last step ended well; its data.
    Completed(D),
    /// A step failed for good.
    Failed(Box<StepFailure>),
    /// Somebody cancelled it.
    Cancelled,
    /// Somebody terminated it.
    Terminated,
}

/// The end of an instance, before its data is typed.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub ending: Ending,
    pub data: Value,
    pub cause: Option<StepFailure>,
}

impl End {
    /// `None`: it has not ended.
    pub fn of(loaded: Loaded) -> Option<Self> {
        let ending = match (loaded.ending, loaded.instance.status) {
            (_, WorkflowStatus::Runnable | WorkflowStatus::Suspended) => return None,
            (Some(ending), _) => ending,
            // Ended by a plain write of the instance, which tells no more than its status.
            (None, WorkflowStatus::Complete) => Ending::Completed,
            (None, WorkflowStatus::Terminated) => Ending::Terminated,
        };
        Some(Self { ending, data: loaded.instance.data, cause: loaded.cause })
    }

    pub fn typed<D: DeserializeOwned>(self, id: &str) -> Result<Outcome<D>> {
        Ok(match (self.ending, self.cause) {
            (Ending::Completed, _) => Outcome::Completed(serde_json::from_value(self.data)?),
            (Ending::Failed, Some(cause)) => Outcome::Failed(Box::new(cause)),
            (Ending::Failed, None) => {
                return Err(WfeError::Persistence(format!(
                    "workflow {id:?} failed, but its cause is not stored"
                )));
            }
            (Ending::Cancelled, _) => Outcome::Cancelled,
            (Ending::Terminated, _) => Outcome::Terminated,
        })
    }
}

/// A host in which nothing can happen before time passes or something comes from outside; see
/// [`WorkflowHost::idle`](crate::WorkflowHost::idle).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Idle {
    /// When something may become due, at the earliest: a time of the store, which whatever happens before can make void;
    /// `None`: nothing does. The poll is not meant by it.
    pub next: Option<DateTime<Utc>>,
    /// How often this host has taken up an instance. Of several hosts on one store, all are idle at once if each one told
    /// so twice in turn, with the same number.
    pub works: u64,
}
