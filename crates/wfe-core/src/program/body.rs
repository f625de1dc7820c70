use std::{any::Any, fmt, sync::Arc};

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    error::drop_contained,
    steps::{Ctx, Next, StepError},
};

/// The data of an instance, with its type erased. The definition knows the type. A panic in the data's `Drop`
/// is caught.
#[derive(Clone)]
pub(crate) struct AnyData(Option<Arc<dyn Any + Send + Sync>>); // `None` only during `drop`

impl AnyData {
    pub fn new<D: Any + Send + Sync>(data: D) -> Self {
        Self(Some(Arc::new(data)))
    }

    /// The data as a `D`, or `None` if the data is of another type.
    pub fn downcast_ref<D: Any>(&self) -> Option<&D> {
        self.0.as_deref().and_then(<dyn Any + Send + Sync>::downcast_ref)
    }

    /// The data as a shared `D`, or `None` if the data is of another type.
    pub fn downcast<D: Any + Send + Sync>(&self) -> Option<Arc<D>> {
        self.0.clone()?.downcast().ok()
    }
}

impl Drop for AnyData {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(drop_contained);
    }
}

/// The output closures of a completed step. They turn the newest data into new data and its JSON. If the
/// step's result is not needed, the closures are dropped without a call. A panic in their `Drop` is caught.
pub(crate) struct Apply(Option<Box<ApplyOnce>>); // `None` only during `drop`

type ApplyOnce = dyn FnOnce(&AnyData) -> Result<(AnyData, Value), StepError> + Send;

impl Apply {
    pub fn new(apply: impl FnOnce(&AnyData) -> Result<(AnyData, Value), StepError> + Send + 'static) -> Self {
        Self(Some(Box::new(apply)))
    }

    pub fn call(mut self, newest: &AnyData) -> Result<(AnyData, Value), StepError> {
        let apply =
            self.0.take().ok_or_else(|| StepError::fatal("the step's output closures were dropped"))?;
        apply(newest)
    }
}

impl Drop for Apply {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(drop_contained);
    }
}

/// The result of a body that succeeded.
pub(crate) enum Answer {
    /// The result of a step, with its output closures, or `None` if the step has no output closures.
    Step(Next, Option<Apply>),
    /// The items of a for-each.
    Items(Vec<Value>),
}

/// The end of a body: its result, or its error. Running a [`Job`](crate::executor::Job) returns a `BodyEnd`,
/// which is then passed to the executor.
pub struct BodyEnd {
    /// The number of the job.
    pub(crate) job: u64,
    pub(crate) answer: Result<Answer, StepError>,
}

impl BodyEnd {
    /// The number of the job that ended, as in [`Job::number`](crate::executor::Job::number).
    #[must_use]
    pub fn job(&self) -> u64 {
        self.job
    }

    /// The end of a job that failed, whether its body ran or not.
    #[must_use]
    pub fn failed(job: u64, error: StepError) -> Self {
        Self { job, answer: Err(error) }
    }

    /// Returns this `BodyEnd` if the body succeeded.
    ///
    /// # Errors
    /// The error with which the body failed.
    pub fn into_result(self) -> Result<Self, StepError> {
        match self.answer {
            Ok(_) => Ok(self),
            Err(error) => Err(error),
        }
    }

    /// Whether the body succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.answer.is_ok()
    }
}

impl fmt::Debug for BodyEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Ok(Answer::Step(next, _)) => f.debug_tuple("BodyEnd").field(next).finish(),
            Ok(Answer::Items(items)) => write!(f, "BodyEnd({} items)", items.len()),
            Err(error) => f.debug_tuple("BodyEnd").field(error).finish(),
        }
    }
}

/// A body with its inputs, ready to run.
pub enum Work<R> {
    Async(BoxFuture<'static, Result<R, StepError>>),
    Blocking(Box<dyn FnOnce() -> Result<R, StepError> + Send>),
}

impl<R: 'static> Work<R> {
    /// The same work, with `f` applied to its result.
    pub fn map<T>(self, f: impl FnOnce(R) -> Result<T, StepError> + Send + 'static) -> Work<T> {
        match self {
            Self::Async(work) => Work::Async(Box::pin(async move { f(work.await?) })),
            Self::Blocking(work) => Work::Blocking(Box::new(move || f(work()?))),
        }
    }
}

type Start = dyn Fn(Ctx, &AnyData, Option<Value>) -> Result<Work<Answer>, StepError> + Send + Sync;

/// A body with its types erased: from the context, the data and the item, it makes the work to run.
#[derive(Clone)]
pub(crate) struct Body {
    pub blocking: bool,
    pub start: Arc<Start>,
}
