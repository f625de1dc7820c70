use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    executor::ForEachProgress,
    models::{PointerStatus, WorkflowStatus},
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

/// Where an instance stands.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceStatus {
    /// The definition that it runs.
    pub definition_id: String,
    /// The version of that definition.
    pub version: u32,
    /// Whether that definition is registered with this host; if not, the instance waits for a host that has it.
    pub is_registered: bool,
    /// Whether it may run.
    pub status: WorkflowStatus,
    /// How it ended; `None`: it has not, or was ended by a plain write of the instance.
    pub ending: Option<Ending>,
    /// The failure that suspended or ended it, if one did.
    pub cause: Option<StepFailure>,
    /// When it is to be looked at again, in milliseconds since the Unix epoch; `None`: it waits for something other
    /// than time, or has ended.
    pub next_execution: Option<i64>,
    /// The stable ids of the steps that it stands at.
    pub current_steps: Vec<String>,
    /// The for-eaches that run, outer ones first, and how far they have come.
    pub for_each: Vec<ForEachProgress>,
    /// When it was started.
    pub create_time: DateTime<Utc>,
    /// When it ended; `None`: it has not.
    pub complete_time: Option<DateTime<Utc>>,
}

impl InstanceStatus {
    pub(crate) fn of(loaded: Loaded, is_registered: bool) -> Self {
        let instance = loaded.instance;
        let for_each = instance.execution_pointers.iter().filter_map(ForEachProgress::of).collect();
        let here = instance.execution_pointers.into_iter().filter(|p| {
            p.active && !matches!(p.status, PointerStatus::Running) // a container stands where its children stand
        });
        Self {
            current_steps: here.filter_map(|p| p.step_name).collect(),
            for_each,
            definition_id: instance.workflow_definition_id,
            version: instance.version,
            is_registered,
            status: instance.status,
            ending: loaded.ending,
            cause: loaded.cause,
            next_execution: instance.next_execution,
            create_time: instance.create_time,
            complete_time: instance.complete_time,
        }
    }
}

/// What the store below a host can promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantees {
    /// Each step's whole effect is one transaction; any number of processes may share the store.
    OneTransactionPerStep,
    /// The store has only the plain traits: this host must be the only process on it; what a step wrote is one
    /// transaction, but its failures are stored after it; control requests that were not applied yet do not outlive
    /// the process; and a long for-each costs more with each item.
    SingleProcess,
}

impl fmt::Display for Guarantees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneTransactionPerStep => "one transaction per step, any number of processes",
            Self::SingleProcess => {
                "one process; one transaction per step, but its failures and waiting requests are stored apart"
            }
        })
    }
}
