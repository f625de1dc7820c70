//! What has happened to an instance, for those who observe it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    models::WorkflowInstance,
    traits::{Ending, StepFailure},
};

/// Something that happened to an instance, told after it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct LifecycleEvent {
    /// The instance.
    pub instance_id: Arc<str>,
    /// The definition that it runs; empty, if the instance cannot be read.
    pub definition_id: Arc<str>,
    /// The version of that definition; 0, if the instance cannot be read.
    pub version: u32,
    /// When.
    pub time: DateTime<Utc>,
    /// What.
    pub what: Lifecycle,
}

impl LifecycleEvent {
    /// That this instance, which has its id, was started.
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
    /// It was started. Told once, after the commit that stored it, by the host that stored it: the one that was asked to
    /// start it, whose schedule it was, or that runs its parent. What else becomes of it is told by the hosts that run it; one
    /// that tells both tells this first.
    Started,
    /// A step's body begins. It has no commit of its own: after a crash it may be told again.
    StepStarted {
        /// The stable id of the step.
        step: String,
        /// Its pointer.
        pointer: String,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// A step ended well.
    StepCompleted {
        /// The stable id of the step.
        step: String,
        /// Its pointer.
        pointer: String,
    },
    /// An attempt of a step failed, or the instance does not fit its definition.
    Error(Box<StepFailure>),
    /// It ran to its end.
    Completed,
    /// It stands still.
    Suspended,
    /// It goes on.
    Resumed,
    /// It ended before its end.
    Terminated {
        /// How.
        ending: Ending,
    },
}
