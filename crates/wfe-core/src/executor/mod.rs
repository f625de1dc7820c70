//! One pass over one instance: results go in, a [`StepCommit`](crate::traits::StepCommit) and what is to be done
//! after it come out. Pure: no store, no clock, no task of its own.
//!
//! A [`Run`] is the live state of one instance. Its owner
//!
//! 1. opens it with what the store has ([`Run::open`]),
//! 2. tells it what happened: a body ended ([`Run::ended`]), items were read ([`Run::items`]), somebody asked for
//!    something ([`Run::control`]); time that has come is seen by itself,
//! 3. stores what [`Run::commit`] gives,
//! 4. and only then does what [`Run::committed`] gives: bodies to run, events to publish.
//!
//! Changes gather in the `Run` until they are known to be stored, so a commit that was refused is made again, with
//! whatever has come meanwhile. Nothing is lost with a `Run` but time: opened again from the store, it goes on.

mod away;
mod commit;
mod control;
mod effects;
mod failure;
mod live;
mod moves;
mod open;
mod primitive;
mod primitives;
mod run;
mod timing;
mod undoing;
mod waiting;

#[cfg(test)]
mod tests;

pub use effects::{Effects, Job, Lifecycle, LifecycleEvent, Want};
pub use primitives::ForEachProgress;
pub use run::{Env, Run};
pub use waiting::{ACTIVITY, CHILD_ENDED, ChildEnd, USER_TASK};

pub(crate) use live::new_pointer;
pub(crate) use primitive::{Fault, Moved, Primitive};
pub(crate) use primitives::{
    ActivityStep, Decide, Delay, End, Escalate, ForEach, GoTo, IfElse, Parallel, Recur, RunBody, Saga,
    Schedule, SubWorkflow, Until, UserTaskStep, WaitFor, While,
};
pub(crate) use timing::TimeLimit;
