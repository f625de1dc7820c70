use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    definition::BodyEnd,
    logging,
    steps::{Ctx, StepError},
    traits::{Ending, StepFailure},
};

/// A middleware that wraps the body of every step of every definition, for example to measure, log or refuse steps.
///
/// The middlewares of a host form a chain; the one that was added to the builder first is the outermost. A middleware
/// runs on the program's runtime, once per attempt, and is part of the attempt:
/// * If the middleware panics or returns an error, the attempt fails.
/// * The time that the middleware takes counts towards the attempt's timeout.
/// * The side effects of a middleware happen at least once.
/// * A middleware is dropped together with the body, one second after the token of the attempt was cancelled
///   ([`Ctx::cancellation`]).
///
/// A middleware returns what [`Rest::run`] returns, or an error instead. A middleware cannot replace the body, because
/// only a body that ran creates a [`StepDone`].
///
/// ```
/// use wfe::{steps::{Ctx, StepError}, middleware::{Rest, StepDone, StepMiddleware}};
///
/// /// Refuses steps on holidays.
/// struct Calendar;
///
/// #[async_trait::async_trait]
/// impl StepMiddleware for Calendar {
///     async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> Result<StepDone, StepError> {
///         if ctx.step_id() == "deliver" && is_holiday() {
///             return Err(StepError::retryable("no deliveries today").with_code("holiday"));
///         }
///         rest.run().await
///     }
/// }
/// # fn is_holiday() -> bool { false }
/// ```
#[async_trait]
pub trait StepMiddleware: Send + Sync + 'static {
    /// Runs one attempt of a step: calls [`rest.run()`](Rest::run), which runs the rest of the chain and the body, or
    /// returns an error without running them.
    ///
    /// # Errors
    /// The error with which the attempt fails: either the error of the body, or an error of the middleware itself.
    async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> std::result::Result<StepDone, StepError>;
}

/// The rest of the chain: the inner middlewares and the body.
pub struct Rest<'a> {
    inner: &'a [Arc<dyn StepMiddleware>],
    ctx: &'a Ctx,
    body: BoxFuture<'a, BodyEnd>,
}

/// The success of a step's body. Only a body that ran creates such a value.
#[derive(Debug)]
pub struct StepDone(BodyEnd);

impl Rest<'_> {
    /// Runs the inner middlewares and the body.
    ///
    /// # Errors
    /// The errors of the body or of an inner middleware.
    pub async fn run(self) -> std::result::Result<StepDone, StepError> {
        let Rest { inner, ctx, body } = self;
        match inner.split_first() {
            None => body.await.into_result().map(StepDone),
            Some((next, inner)) => next.around(ctx, Rest { inner, ctx, body }).await,
        }
    }
}

/// Runs the body of this job inside the chain of middlewares.
pub(crate) async fn run_inside(
    chain: &[Arc<dyn StepMiddleware>],
    ctx: &Ctx,
    job: u64,
    body: BoxFuture<'_, BodyEnd>,
) -> BodyEnd {
    let all = Rest { inner: chain, ctx, body }.run();
    match AssertUnwindSafe(all).catch_unwind().await {
        Ok(Ok(StepDone(end))) if end.job() == job => end,
        Ok(Ok(_)) => {
            let problem = "a middleware returned the result of another step";
            BodyEnd::failed(job, StepError::fatal(problem).with_code(StepError::DEFINITION))
        }
        Ok(Err(error)) => BodyEnd::failed(job, error),
        Err(payload) => BodyEnd::failed(job, StepError::from_panic("the step's middleware", payload)),
    }
}

/// A middleware that is called before a host starts an instance, and after an instance that the host ran has ended.
///
/// ```
/// use wfe::{Result, WfeError, middleware::{WorkflowEnd, WorkflowMiddleware, WorkflowStart}};
///
/// /// Refuses orders at night, and reports failed instances.
/// struct Desk;
///
/// #[async_trait::async_trait]
/// impl WorkflowMiddleware for Desk {
///     async fn starting(&self, start: &WorkflowStart<'_>) -> Result<()> {
///         if start.definition_id == "order" && is_night() {
///             return Err(WfeError::Invalid("the shop is closed".to_owned()));
///         }
///         Ok(())
///     }
///
///     async fn ended(&self, end: &WorkflowEnd) {
///         if let Some(cause) = &end.cause {
///             eprintln!("{} of version {}: {:?}", end.definition_id, end.version, cause.causes);
///         }
///     }
/// }
/// # fn is_night() -> bool { false }
/// ```
#[async_trait]
pub trait WorkflowMiddleware: Send + Sync + 'static {
    /// Runs before an instance is stored, if [`start_workflow`](crate::WorkflowHost::start_workflow) or a schedule
    /// starts it. This method does not run for child workflows, because they are part of their parent. The middleware
    /// that was added to the builder first runs first. If a middleware panics, the start is refused.
    ///
    /// # Errors
    /// Any error refuses the start: the caller gets the error, and nothing is stored.
    async fn starting(&self, _start: &WorkflowStart<'_>) -> Result<()> {
        Ok(())
    }

    /// Runs after this host has committed the end of an instance. Child workflows are included. The middleware that was
    /// added to the builder last runs first. This method runs at most once for each instance. It does not run at all if
    /// the process dies right after the commit. A panic is logged. Only [`idle`](crate::WorkflowHost::idle) waits for
    /// this method to return; [`stop`](crate::WorkflowHost::stop) does not.
    async fn ended(&self, _end: &WorkflowEnd) {}
}

/// The data of an instance before its start.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct WorkflowStart<'a> {
    /// The id of the definition.
    pub definition_id: &'a str,
    /// The version of the definition.
    pub version: u32,
    /// The caller's key that makes the start idempotent. If an instance was already started with this key, this start
    /// has no effect. `None` means that the start is not idempotent.
    pub reference: Option<&'a str>,
    /// The initial data of the instance.
    pub data: &'a Value,
}

/// An instance that has ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkflowEnd {
    /// The id of the instance.
    pub instance_id: String,
    /// The id of the instance's definition.
    pub definition_id: String,
    /// The version of the definition.
    pub version: u32,
    /// How the instance ended.
    pub ending: Ending,
    /// The failure that ended the instance. `None` means that the instance did not end because of a failure.
    pub cause: Option<StepFailure>,
    /// The data of the instance when it ended.
    pub data: Value,
}

/// Counts the ends of instances for which the middleware has not returned yet. It does not hold the host, because a
/// middleware that never returns must not keep the host alive.
#[derive(Debug, Default)]
pub(crate) struct Reports(AtomicUsize);

impl Reports {
    /// Whether a middleware has not returned yet.
    pub fn are_running(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    /// Counts one more end until the returned guard is dropped. The last guard calls `last`.
    pub fn begin<F: FnOnce()>(self: &Arc<Self>, last: F) -> Report<F> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Report { reports: self.clone(), last: Some(last) }
    }
}

/// The middleware is notified of the end of an instance.
pub(crate) struct Report<F: FnOnce()> {
    reports: Arc<Reports>,
    last: Option<F>,
}

impl<F: FnOnce()> Drop for Report<F> {
    fn drop(&mut self) {
        if self.reports.0.fetch_sub(1, Ordering::Release) == 1
            && let Some(last) = self.last.take()
        {
            last();
        }
    }
}

pub(crate) async fn starting(chain: &[Arc<dyn WorkflowMiddleware>], start: &WorkflowStart<'_>) -> Result<()> {
    for middleware in chain {
        match AssertUnwindSafe(middleware.starting(start)).catch_unwind().await {
            Ok(result) => result?,
            Err(payload) => {
                let error = StepError::from_panic("a middleware", payload);
                return Err(WfeError::Other(error.to_string().into()));
            }
        }
    }
    Ok(())
}

pub(crate) async fn ended(chain: &[Arc<dyn WorkflowMiddleware>], end: &WorkflowEnd) {
    for middleware in chain.iter().rev() {
        if let Err(payload) = AssertUnwindSafe(middleware.ended(end)).catch_unwind().await {
            let error = StepError::from_panic("a middleware", payload);
            logging::error!(wfe.instance.id = end.instance_id, %error, "a middleware panicked after the instance had ended");
        }
    }
}
