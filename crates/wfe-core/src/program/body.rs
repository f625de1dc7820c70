use std::{any::Any, fmt, sync::Arc};

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    error::drop_contained,
    steps::{Ctx, Next, StepError},
};

/// An instance's data with its type forgotten; the definition knows it. A panic when it is dropped stops nothing.
#[derive(Clone)]
pub(crate) struct AnyData(Option<Arc<dyn Any + Send + Sync>>); // `None` only while it is dropped

impl AnyData {
    pub fn new<D: Any + Send + Sync>(data: D) -> Self {
        Self(Some(Arc::new(data)))
    }

    /// `None`: it is of another type.
    pub fn downcast_ref<D: Any>(&self) -> Option<&D> {
        self.0.as_deref().and_then(<dyn Any + Send + Sync>::downcast_ref)
    }

    /// `None`: it is of another type.
    pub fn downcast<D: Any + Send + Sync>(&self) -> Option<Arc<D>> {
        self.0.clone()?.downcast().ok()
    }
}

impl Drop for AnyData {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(drop_contained);
    }
}

/// A step's output closures: from the newest data, new data and its JSON. A panic when they are dropped without having
/// been called (nobody wants the result any more) stops nothing.
pub(crate) struct Apply(Option<Box<ApplyOnce>>); // `None` only while it is dropped

type ApplyOnce = dyn FnOnce(&AnyData) -> Result<(AnyData, Value), StepError> + Send;

impl Apply {
    pub fn new(apply: impl FnOnce(&AnyData) -> Result<(AnyData, Value), StepError> + Send + 'static) -> Self {
        Self(Some(Box::new(apply)))
    }

    pub fn call(mut self, newest: &AnyData) -> Result<(AnyData, Value), StepError> {
        let apply = self.0.take().ok_or_else(|| StepError::fatal("the outputs were dropped"))?;
        apply(newest)
    }
}

impl Drop for Apply {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(drop_contained);
    }
}

/// What a body that ended well leaves.
pub(crate) enum Answer {
    /// A step's answer, and what it writes into the data (`None`: nothing).
    Step(Next, Option<Apply>),
    /// The items of a for-each.
    Items(Vec<Value>),
}

/// How a body ended. Made by running a [`Job`](crate::executor::Job), and handed back to the executor.
pub struct BodyEnd {
    /// Which job it was.
    pub(crate) job: u64,
    pub(crate) answer: Result<Answer, StepError>,
}

impl BodyEnd {
    /// The number of the job that ended, as in [`Job::number`](crate::executor::Job::number).
    #[must_use]
    pub fn job(&self) -> u64 {
        self.job
    }

    /// The end of a job that has failed, whether its body ran or not.
    #[must_use]
    pub fn failed(job: u64, error: StepError) -> Self {
        Self { job, answer: Err(error) }
    }

    /// The same, if the body ended well.
    ///
    /// # Errors
    /// Why the body failed.
    pub fn into_result(self) -> Result<Self, StepError> {
        match self.answer {
            Ok(_) => Ok(self),
            Err(error) => Err(error),
        }
    }

    /// Whether it ended well.
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

/// A body that has its inputs and may run.
pub enum Work<R> {
    Async(BoxFuture<'static, Result<R, StepError>>),
    Blocking(Box<dyn FnOnce() -> Result<R, StepError> + Send>),
}

impl<R: 'static> Work<R> {
    /// The same work with its result turned into another one.
    pub fn map<T>(self, f: impl FnOnce(R) -> Result<T, StepError> + Send + 'static) -> Work<T> {
        match self {
            Self::Async(work) => Work::Async(Box::pin(async move { f(work.await?) })),
            Self::Blocking(work) => Work::Blocking(Box::new(move || f(work()?))),
        }
    }
}

type Start = dyn Fn(Ctx, &AnyData, Option<Value>) -> Result<Work<Answer>, StepError> + Send + Sync;

/// A body with its types forgotten: context, data and item go in, work comes out.
#[derive(Clone)]
pub(crate) struct Body {
    pub blocking: bool,
    pub start: Arc<Start>,
}
