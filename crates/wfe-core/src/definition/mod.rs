//! Workflow definitions: their builder, their checks, the registry of versions, and outlines of definitions as
//! data.

mod assembly;
mod builder;
mod draft;
mod each;
mod graph;
mod mermaid;
mod outline;
mod registry;
mod task;
mod waits;

pub use builder::{Branches, Choice, Decision, Inside, Main, Sequence, WorkflowBuilder};
pub use each::{Each, each, each_from, each_in};
pub use graph::Definition;
pub use outline::{Outline, OutlineBranch, OutlineData, OutlineOnFailure, OutlineRetry, OutlineStep};
pub use registry::Registry;
pub use task::{Inline, Made, Task, blocking, blocking_item, blocking_step, inline, inline_item, step};

pub use waits::{Activity, Await, Child, UserTask, activity, child, event, user_task};

pub use crate::{
    program::{BodyEnd, Data, Every, Item, OnFailure, Retry},
    steps::to_value,
};
