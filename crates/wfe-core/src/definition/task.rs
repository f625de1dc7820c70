use std::{future::Future, marker::PhantomData, sync::Arc, time::Duration};

use serde_json::Value;

use super::{Data, Item, OnFailure, Retry};
use crate::{
    program::{Answer, AnyData, Apply, Body, Policy, Work, another_type, change},
    steps::{BlockingStep, Ctx, IntoNext, Next, Step, StepError, storable},
};

type Input<S, D, I> = Box<dyn Fn(&mut S, &D, &I) + Send + Sync>;
type Output<S, D> = Arc<dyn Fn(&S, &mut D) + Send + Sync>;
type Run<S, D, I> = Box<dyn Fn(Ctx, Arc<D>, I) -> Work<S> + Send + Sync>;

/// A step body with its settings: how it reads and writes the data, and what happens when it fails.
///
/// [`step`], [`blocking_step`], [`inline`], [`inline_item`], [`blocking`] and [`blocking_item`] create a task.
/// `S` is the argument of the output closures: the step's struct, or the return value of an inline body. `D` is
/// the instance's data, and `I` is the item of the enclosing for-each (`()` on the main path).
pub struct Task<S, D, I, K> {
    kind: K,
    outputs: Vec<Output<S, D>>,
    pub(super) policy: Policy,
    pub(super) name: Option<String>,
    blocking: bool,
    types: PhantomData<fn(I)>,
}

/// Marks a [`Task`] whose body is a struct. Each attempt gets a new struct.
pub struct Made<S, D, I> {
    make: Box<dyn Fn() -> S + Send + Sync>,
    inputs: Vec<Input<S, D, I>>,
    run: fn(S, Ctx) -> Work<(Next, S)>,
}

/// Marks a [`Task`] whose body is a closure.
pub struct Inline<R, D, I> {
    run: Run<R, D, I>,
}

impl<S, D, I, K> Task<S, D, I, K> {
    fn new(kind: K, blocking: bool) -> Self {
        Self {
            kind,
            outputs: Vec::new(),
            policy: Policy::default(),
            name: None,
            blocking,
            types: PhantomData,
        }
    }

    /// Adds an output closure, which writes the step's results into the data when the step has completed.
    ///
    /// The closure gets the newest data, not the snapshot that the body read. The outputs of an instance run
    /// one after the other, so no update is lost. If the closure panics, the data stays unchanged and the step
    /// fails. The closure must be quick, because it runs on the engine's thread.
    #[must_use]
    pub fn output(mut self, write: impl Fn(&S, &mut D) + Send + Sync + 'static) -> Self {
        self.outputs.push(Arc::new(write));
        self
    }

    /// Sets the display name of the step. By default, the name is the step's id.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the retry policy of the step. By default, the step is not retried.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.policy.retry = retry;
        self
    }

    /// Sets what happens when the step has failed for good; [`OnFailure`] describes the default.
    #[must_use]
    pub fn on_failure(mut self, behaviour: OnFailure) -> Self {
        self.policy.on_failure = Some(behaviour);
        self
    }

    /// Limits the time of each attempt, counted from the start of its body. By default, there is no limit.
    ///
    /// An attempt that takes longer fails with the code `timeout`. The attempt's cancellation token is
    /// cancelled, and a result that the body returns later is ignored. A body that is still running one second
    /// later is dropped, unless it blocks its thread ([`Ctx::cancellation`]). The failure is stored
    /// immediately, and the backoff before the next attempt begins immediately. The body of the next attempt
    /// starts only when the earlier body has ended or was dropped.
    ///
    /// Building the definition fails if the timeout is zero.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.policy.timeout = Some(limit);
        self
    }
}

impl<S, D, I> Task<S, D, I, Made<S, D, I>> {
    /// Adds an input closure, which sets fields of the step's struct from the data and the item before each
    /// attempt.
    #[must_use]
    pub fn input(mut self, set: impl Fn(&mut S, &D, &I) + Send + Sync + 'static) -> Self {
        self.kind.inputs.push(Box::new(set));
        self
    }
}

/// A task whose body is a struct that implements [`Step`]. `make` creates a new struct for each attempt, with
/// its dependencies: `step(move || Charge::new(bank.clone()))`.
pub fn step<S: Step, D: Data, I: Item>(
    make: impl Fn() -> S + Send + Sync + 'static,
) -> Task<S, D, I, Made<S, D, I>> {
    let run = |mut step: S, ctx: Ctx| {
        Work::Async(Box::pin(async move { step.run(&ctx).await.map(|next| (next, step)) }))
    };
    Task::new(Made { make: Box::new(make), inputs: Vec::new(), run }, false)
}

/// A task whose body is a struct that implements [`BlockingStep`]. The body may block its thread, because it
/// runs on the blocking pool.
///
/// ```
/// use std::io::Write;
/// use wfe_core::{
///     definition::{WorkflowBuilder, blocking_step},
///     steps::{BlockingStep, Ctx, Next, StepError, StepResult},
/// };
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Text { words: Vec<String>, written: usize }
///
/// struct WriteOut { words: Vec<String>, written: usize }
///
/// impl BlockingStep for WriteOut {
///     fn run(&mut self, ctx: &Ctx) -> StepResult {
///         for word in &self.words {
///             // The host cannot stop a thread, so a long body checks its token.
///             if ctx.cancellation().is_cancelled() {
///                 return Err(StepError::retryable("the attempt was cancelled"));
///             }
///             self.written += std::io::sink().write(word.as_bytes())?;
///         }
///         Ok(Next::Done)
///     }
/// }
///
/// let definition = WorkflowBuilder::<Text>::new("w", 1)
///     .then(
///         "write",
///         blocking_step(|| WriteOut { words: Vec::new(), written: 0 })
///             .input(|step, text: &Text, _| step.words = text.words.clone())
///             .output(|step, text| text.written = step.written),
///     )
///     .build()?;
/// # Ok::<(), wfe_core::WfeError>(())
/// ```
pub fn blocking_step<S: BlockingStep, D: Data, I: Item>(
    make: impl Fn() -> S + Send + Sync + 'static,
) -> Task<S, D, I, Made<S, D, I>> {
    let run =
        |mut step: S, ctx: Ctx| Work::Blocking(Box::new(move || step.run(&ctx).map(|next| (next, step))));
    Task::new(Made { make: Box::new(make), inputs: Vec::new(), run }, true)
}

/// A task whose body is an asynchronous closure: `inline(|ctx, order: Arc<Order>| async move { Ok(()) })`.
///
/// The closure gets the context and a snapshot of the data. The closure's return value becomes the step's
/// outcome and is passed to the output closures.
pub fn inline<R, D: Data, I: Item, F>(
    body: impl Fn(Ctx, Arc<D>) -> F + Send + Sync + 'static,
) -> Task<R, D, I, Inline<R, D, I>>
where
    F: Future<Output = Result<R, StepError>> + Send + 'static,
{
    inline_item(move |ctx, data, _: I| body(ctx, data))
}

/// A task whose body is an asynchronous closure, for a step inside a for-each. Like [`inline`], but the closure
/// also gets the item.
pub fn inline_item<R, D: Data, I: Item, F>(
    body: impl Fn(Ctx, Arc<D>, I) -> F + Send + Sync + 'static,
) -> Task<R, D, I, Inline<R, D, I>>
where
    F: Future<Output = Result<R, StepError>> + Send + 'static,
{
    let run = move |ctx, data, item| Work::Async(Box::pin(body(ctx, data, item)));
    Task::new(Inline { run: Box::new(run) }, false)
}

/// A task whose body is a closure that may block its thread. The closure runs on the blocking pool. The
/// closure's return value becomes the step's outcome and is passed to the output closures.
pub fn blocking<R: 'static, D: Data, I: Item>(
    body: impl Fn(&Ctx, &D) -> Result<R, StepError> + Send + Sync + 'static,
) -> Task<R, D, I, Inline<R, D, I>> {
    blocking_item(move |ctx: &Ctx, data: &D, _: I| body(ctx, data))
}

/// A task whose body is a closure that may block its thread, for a step inside a for-each. Like [`blocking`],
/// but the closure also gets the item.
///
/// ```
/// use std::{fs, path::PathBuf};
/// use wfe_core::{definition::{WorkflowBuilder, blocking_item, each}, steps::StepError};
///
/// let sizes = WorkflowBuilder::<Vec<PathBuf>>::new("sizes", 1)
///     .for_each("files", each(|files: &Vec<PathBuf>| files.clone()).parallel(4), |file| {
///         file.then(
///             "size",
///             blocking_item(|_, _, file: PathBuf| Ok(fs::metadata(file).map_err(StepError::retryable)?.len())),
///         )
///     })
///     .build()?;
/// # Ok::<(), wfe_core::WfeError>(())
/// ```
pub fn blocking_item<R: 'static, D: Data, I: Item>(
    body: impl Fn(&Ctx, &D, I) -> Result<R, StepError> + Send + Sync + 'static,
) -> Task<R, D, I, Inline<R, D, I>> {
    let body = Arc::new(body);
    let run = move |ctx: Ctx, data: Arc<D>, item: I| {
        let body = body.clone();
        Work::Blocking(Box::new(move || body(&ctx, &data, item)))
    };
    Task::new(Inline { run: Box::new(run) }, true)
}

/// Runs a body, and returns its result together with the argument for its output closures. The trait is public
/// but not exported, so that programs cannot add kinds of tasks.
pub trait Source<S, D, I>: Send + Sync + 'static {
    fn start(&self, ctx: Ctx, data: Arc<D>, item: I) -> Work<(Next, S)>;
}

impl<S: Send + 'static, D: 'static, I: 'static> Source<S, D, I> for Made<S, D, I> {
    fn start(&self, ctx: Ctx, data: Arc<D>, item: I) -> Work<(Next, S)> {
        let mut step = (self.make)();
        for input in &self.inputs {
            input(&mut step, &data, &item);
        }
        (self.run)(step, ctx)
    }
}

impl<R: IntoNext + Send + 'static, D: 'static, I: 'static> Source<R, D, I> for Inline<R, D, I> {
    fn start(&self, ctx: Ctx, data: Arc<D>, item: I) -> Work<(Next, R)> {
        (self.run)(ctx, data, item).map(|result| Ok((result.next()?, result)))
    }
}

impl<S: Send + 'static, D: Data, I: Item, K: Source<S, D, I>> Task<S, D, I, K> {
    pub(super) fn into_body(self) -> Body {
        let (kind, outputs) = (self.kind, Arc::new(self.outputs));
        let start = move |ctx: Ctx, data: &AnyData, item: Option<Value>| {
            let (data, item) = typed::<D, I>(data, item)?;
            let outputs = outputs.clone();
            Ok(kind.start(ctx, data, item).map(move |(next, left)| {
                next.check()?;
                let apply = (!outputs.is_empty()).then(|| apply(left, outputs));
                Ok(Answer::Step(next, apply))
            }))
        };
        Body { blocking: self.blocking, start: Arc::new(start) }
    }
}

impl<T: Item, D: Data, I: Item> Task<Vec<T>, D, I, Inline<Vec<T>, D, I>> {
    /// The body of a for-each, which returns the items.
    pub(super) fn into_items(self) -> Body {
        let run = self.kind.run;
        let start = move |ctx: Ctx, data: &AnyData, item: Option<Value>| {
            let (data, item) = typed::<D, I>(data, item)?;
            Ok(run(ctx, data, item).map(|items| {
                let values: Result<_, _> = items.iter().map(|item| storable("an item", item)).collect();
                values.map(Answer::Items)
            }))
        };
        Body { blocking: self.blocking, start: Arc::new(start) }
    }
}

fn typed<D: Data, I: Item>(data: &AnyData, item: Option<Value>) -> Result<(Arc<D>, I), StepError> {
    let data = data.downcast().ok_or_else(another_type)?;
    let item = serde_json::from_value(item.unwrap_or(Value::Null))
        .map_err(|e| StepError::fatal(e).with_code(StepError::DEFINITION))?;
    Ok((data, item))
}

fn apply<S: Send + 'static, D: Data>(left: S, outputs: Arc<Vec<Output<S, D>>>) -> Apply {
    change("the step's output", move |data: &mut D| {
        let (left, outputs) = (left, outputs);
        for output in outputs.iter() {
            output(&left, data);
        }
    })
}
