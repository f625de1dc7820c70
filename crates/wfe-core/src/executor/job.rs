//! A job: one run of a body.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::StepExecution;
use crate::{
    program::{AnyData, Body, BodyEnd, Work},
    steps::{Ctx, Execution, StepError, within, within_blocking},
    traits::StepStore,
};

/// One run of a body, which the host carries out.
pub struct Job {
    pub(super) execution: Arc<Execution>,
    pub(super) body: Body,
    pub(super) data: AnyData,
    pub(super) item: Option<Value>,
    pub(super) token: CancellationToken,
    pub(super) number: u64,
    pub(super) is_limited: bool,
}

impl Job {
    /// The job's number, unique within its [`Run`](super::Run). A pointer can have several jobs, one after the other.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Id of the pointer whose body the job runs.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.execution.pointer
    }

    /// The step execution that the job belongs to. Pass it to [`Run::still_at_work`](super::Run::still_at_work) to
    /// report to a later `Run` that the body has not ended.
    #[must_use]
    pub fn execution(&self) -> StepExecution {
        StepExecution(self.execution.clone())
    }

    /// Whether the job's attempt has a time limit. If so, report the start of the body to
    /// [`Run::begun`](super::Run::begun).
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// The stable id of the step.
    #[must_use]
    pub fn step_id(&self) -> &str {
        &self.execution.step
    }

    /// The [id of the step](Self::step_id), which can be kept without copying it.
    #[must_use]
    pub fn shared_step_id(&self) -> Arc<str> {
        self.execution.step.clone()
    }

    /// The number of the attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.execution.attempt
    }

    /// Whether the body blocks its thread. If so, run the job with [`run_blocking`](Self::run_blocking).
    #[must_use]
    pub fn is_blocking(&self) -> bool {
        self.body.blocking
    }

    /// The token that is cancelled when the result of the job is no longer wanted.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The context that the body gets for this run.
    #[must_use]
    pub fn context(&self, store: Option<Arc<dyn StepStore>>) -> Ctx {
        Ctx::new(self.execution.clone(), self.token.child_token(), store)
    }

    /// Runs the body and catches a panic. All of the user's code runs inside the returned future.
    pub async fn run(self, store: Option<Arc<dyn StepStore>>) -> BodyEnd {
        let (job, execution) = (self.number, self.execution.clone());
        let ended = AssertUnwindSafe(within(execution, async move {
            match self.start(store)? {
                Work::Async(work) => work.await,
                Work::Blocking(work) => work(),
            }
        }));
        let answer = ended.catch_unwind().await.unwrap_or_else(|payload| Err(panicked(payload)));
        BodyEnd { job, answer }
    }

    /// Runs a blocking body on this thread and catches a panic.
    #[must_use]
    pub fn run_blocking(self, store: Option<Arc<dyn StepStore>>) -> BodyEnd {
        let (job, execution) = (self.number, self.execution.clone());
        let work = move || match self.start(store)? {
            Work::Blocking(work) => work(),
            Work::Async(_) => Err(StepError::fatal("an asynchronous body was run as a blocking one")),
        };
        let ended = std::panic::catch_unwind(AssertUnwindSafe(|| within_blocking(execution, work)));
        BodyEnd { job, answer: ended.unwrap_or_else(|payload| Err(panicked(payload))) }
    }

    fn start(self, store: Option<Arc<dyn StepStore>>) -> Result<Work<crate::program::Answer>, StepError> {
        self.body.start(Ctx::new(self.execution, self.token.child_token(), store), &self.data, self.item)
    }
}

fn panicked(payload: Box<dyn std::any::Any + Send>) -> StepError {
    StepError::from_panic("the step", payload)
}
