//! The traits and types that a program's steps use: bodies, their context, return values and failures.

mod attributes;
mod context;
mod current;
mod exact_json;
mod external_tasks;
mod names;
mod next;
mod results;
mod step;
mod step_info;
mod storable;

pub use context::Ctx;
pub use current::current_step;
pub use exact_json::to_value;
pub use external_tasks::{Compensated, UserAnswer, UserTaskView, WorkerAnswer};
pub use names::{Activity, Awaitable, Event, WorkflowName};
pub use next::{ActivityWait, EventWait, IntoNext, Next};
pub use results::{ItemFailure, ItemResult, Results};
pub use step::{Blocking, BlockingStep, Running, Step, StepResult};

pub use step_info::StepInfo;

pub use crate::error::{StepError, StepResultExt};

pub(crate) use attributes::Attributes;
pub(crate) use context::Execution;
pub(crate) use current::{within, within_blocking};
pub(crate) use names::WaitedFor;
pub(crate) use results::result_of;
pub(crate) use storable::{check, storable, unstorable};
