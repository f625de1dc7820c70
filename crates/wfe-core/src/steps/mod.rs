//! What a user writes: a step's body, and what it is given.

mod context;
mod error;
mod next;
mod outside;
mod results;
mod step;

pub use context::Ctx;
pub use error::StepError;
pub use next::{ActivityWait, EventWait, IntoNext, Next};
pub use outside::{Undone, UserAnswer, UserTaskView, WorkerAnswer};
pub use results::{ItemFailure, ItemResult, Results};
pub use step::{BlockingStep, Step, StepResult};

pub(crate) use context::Place;
pub(crate) use error::{drop_contained, drop_payload};
pub(crate) use results::INDEX;
pub(crate) use results::LAST;
pub(crate) use results::{RESCUED, result_of};
