//! The body of a step, with its types erased.

use std::{any::Any, fmt, sync::Arc};

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    error::drop_contained,
    steps::{Ctx, Next, StepError},
};

/// The data of an instance, with its type erased. The definition knows the type. A panic in the data's `Drop` is
/// caught.
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

/// The output closure of a completed step, with its arguments. It turns the newest data into new data and its JSON. If
/// the step's result is not needed, the closure is dropped without a call. A panic in its `Drop` is caught.
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
pub(crate) struct Answer {
    pub next: Next,
    /// The output closure of the step, or `None` if the step has no output closure.
    pub apply: Option<Apply>,
}

/// The end of a body: its result, or its error. Running a [`Job`](crate::executor::Job) returns a `BodyEnd`, which is
/// then passed to the executor.
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
            Ok(Answer { next, .. }) => f.debug_tuple("BodyEnd").field(next).finish(),
            Err(error) => f.debug_tuple("BodyEnd").field(error).finish(),
        }
    }
}

/// A body with its inputs, ready to run.
pub(crate) enum Work<R> {
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

/// What a body leaves for its output closure: the struct of the step, or the return value of a closure.
pub(crate) type Left = Box<dyn Any + Send>;

/// Sets inputs of a step's struct from the data and the item.
pub(crate) type Input =
    Arc<dyn Fn(&mut dyn Any, &AnyData, Option<&Value>) -> Result<(), StepError> + Send + Sync>;

/// Makes the change of the data from what the body left, and from the item.
pub(crate) type Output = Arc<dyn Fn(Left, Option<Value>) -> Apply + Send + Sync>;

type Run =
    dyn Fn(Ctx, &AnyData, Option<&Value>, &[Input]) -> Result<Work<(Next, Left)>, StepError> + Send + Sync;

/// The body of a step, with its input and output closures. The builder's typestate makes sure that the closures get
/// values of their types.
#[derive(Clone)]
pub(crate) struct Body {
    /// Whether it blocks its thread.
    pub blocking: bool,
    run: Arc<Run>,
    pub inputs: Vec<Input>,
    pub output: Option<Output>,
    pub returns: Returns,
}

/// What an outcome of the body means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returns {
    /// The body returned a [`Next`], which says itself what follows.
    Next,
    /// The body returned a value: the outcome of the step.
    Value,
    /// The body returned a `Vec`: the items of the step's branches.
    Items,
}

impl Body {
    pub fn new(
        blocking: bool,
        run: impl Fn(Ctx, &AnyData, Option<&Value>, &[Input]) -> Result<Work<(Next, Left)>, StepError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { blocking, run: Arc::new(run), inputs: Vec::new(), output: None, returns: Returns::Next }
    }

    /// Starts a run of the body.
    pub fn start(&self, ctx: Ctx, data: &AnyData, item: Option<Value>) -> Result<Work<Answer>, StepError> {
        let (output, returns) = (self.output.clone(), self.returns);
        Ok((self.run)(ctx, data, item.as_ref(), &self.inputs)?.map(move |(next, left)| {
            let next = match next {
                Next::Outcome(Value::Array(values)) if returns == Returns::Items => Next::Branch(values),
                next => next,
            };
            next.check()?;
            Ok(Answer { next, apply: output.map(|output| output(left, item)) })
        }))
    }
}
