//! Workflow definitions: their builder, their checks, the registry of versions, and outlines of definitions as
//! data.

mod assembly;
mod builder;
mod dot;
mod draft;
mod flowchart;
mod graph;
mod mermaid;
mod outline;
mod registry;

pub use builder::{
    After, App, AsyncBody, AsyncItemBody, Awaits, Block, BodyFuture, Branch, Branches, Choice, Decision,
    Each, FitsIn, Gives, HasBody, IntoStep, Items, Loop, Main, OfActivity, OfChild, OfEvent, OfTask,
    OutputSet, Returns, Sequence, Start, StructStep, Task, WorkflowBuilder, Yields, item_task, task,
};
pub use graph::{AnyDefinition, Definition};
pub use outline::{Outline, OutlineBranch, OutlineData, OutlineOnFailure, OutlineRetry, OutlineStep};
pub use registry::Registry;

pub use crate::{
    program::{BodyEnd, Data, Every, Item, OnFailure, Retry},
    steps::{Activity, Event, WorkflowName, to_value},
};
