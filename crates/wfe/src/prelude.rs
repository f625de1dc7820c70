//! What most programs need: `use wfe::prelude::*`.
//!
//! `Result` is not here, because a glob import would hide the standard `Result`.

#[cfg(feature = "sqlite")]
pub use crate::sqlite::SqliteStore;
pub use crate::{
    Error, Outcome,
    definition::{
        Activity, Branch, Definition, Event, IntoStep, OnFailure, Retry, Sequence, WorkflowBuilder,
        WorkflowName, item_task, task,
    },
    host::{Instance, Workflow, WorkflowHost},
    steps::{Blocking, BlockingStep, Ctx, Next, Step, StepError, StepResult, StepResultExt, UserAnswer},
};
