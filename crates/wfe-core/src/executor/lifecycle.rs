//! Lifecycle events, which report to observers what happened to an instance.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    models::WorkflowInstance,
    traits::{Ending, StepFailure},
};

/// Something that happened to an instance. A change of the instance is reported after the change is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct LifecycleEvent {
    /// The instance.
    pub instance_id: Arc<str>,
    /// Id of the definition that the instance runs. The id is empty if the instance cannot be read.
    pub definition_id: Arc<str>,
    /// The version of that definition. The version is 0 if the instance cannot be read.
    pub version: u32,
    /// The time at which the event happened.
    pub time: DateTime<Utc>,
    /// What happened to the instance.
    pub what: Lifecycle,
}

impl LifecycleEvent {
    /// The *started* event of this instance. The instance must already have its id.
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
    /// The instance was started. The host that stored the start reports the start once, after the commit. If a caller
    /// started the instance, this is the host that the caller called. If a schedule started the instance, it is the
    /// host that runs the schedule. If a parent started the instance, it is the host that runs the parent. All other
    /// events are reported by the hosts that run the instance. If one host reports the start and other events, it
    /// reports the start first.
    Started,
    /// A step's body begins. The beginning of a body is not stored, so it may be reported again after a crash.
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
    /// The instance had failed or was cancelled, and was retried: it runs again.
    Retried,
    /// The instance ended early.
    Terminated {
        /// How it ended.
        ending: Ending,
    },
}
