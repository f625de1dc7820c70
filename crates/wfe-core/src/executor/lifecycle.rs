//! Lifecycle events: what happened to an instance, for observers.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    models::WorkflowInstance,
    traits::{Ending, StepFailure},
};

/// Something that happened to an instance, reported after it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct LifecycleEvent {
    /// The instance.
    pub instance_id: Arc<str>,
    /// Id of the definition that it runs. Empty if the instance cannot be read.
    pub definition_id: Arc<str>,
    /// The version of that definition. 0 if the instance cannot be read.
    pub version: u32,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// What happened.
    pub what: Lifecycle,
}

impl LifecycleEvent {
    /// The event *started* of this instance, which must have its id.
    #[must_use]
    pub fn started(instance: &WorkflowInstance) -> Self {
        Self {
            instance_id: instance.id.as_str().into(),
            definition_id: instance.workflow_definition_id.as_str().into(),
            version: instance.version,
            time: instance.create_time,
            what: Lifecycle::Started,
        }
    }
}

/// What can happen to an instance.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Lifecycle {
    /// The instance was started. The host that stored the start reports it once, after that commit: the host that a
    /// caller requested to start it, whose schedule it was, or that runs its parent. All other events are reported by
    /// the hosts that run the instance. A host that reports both reports this one first.
    Started,
    /// A step's body begins. There is no commit for it, so it may be reported again after a crash.
    StepStarted {
        /// The stable id of the step.
        step: String,
        /// Id of the step's pointer.
        pointer: String,
        /// The number of the attempt, from 1.
        attempt: u32,
    },
    /// A step completed.
    StepCompleted {
        /// The stable id of the step.
        step: String,
        /// Id of the step's pointer.
        pointer: String,
    },
    /// An attempt of a step failed, or the instance does not fit its definition.
    Error(Box<StepFailure>),
    /// The instance ran to its end.
    Completed,
    /// The instance was suspended.
    Suspended,
    /// The instance was resumed.
    Resumed,
    /// The instance ended early.
    Terminated {
        /// How it ended.
        ending: Ending,
    },
}
