//! The kinds of steps, one a file.

mod activity;
mod decide;
mod delay;
mod end;
mod for_each;
mod go_to;
mod if_else;
mod parallel;
mod recur;
mod run_body;
mod saga;
mod schedule;
mod sub_workflow;
mod user_task;
mod wait_for;
mod while_loop;

pub(crate) use activity::ActivityStep;
pub(crate) use decide::Decide;
pub(crate) use delay::{Delay, Until};
pub(crate) use end::End;
pub(crate) use for_each::ForEach;
pub use for_each::ForEachProgress;
pub(crate) use go_to::GoTo;
pub(crate) use if_else::IfElse;
pub(crate) use parallel::Parallel;
pub(crate) use recur::Recur;
pub(crate) use run_body::RunBody;
pub(crate) use saga::Saga;
pub(crate) use schedule::Schedule;
pub(crate) use sub_workflow::SubWorkflow;
pub(crate) use user_task::{Unanswered, UserTaskStep};
pub(crate) use wait_for::WaitFor;
pub(crate) use while_loop::While;

pub(super) use for_each::Window;
