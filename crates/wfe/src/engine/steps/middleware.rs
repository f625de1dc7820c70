use std::{panic::AssertUnwindSafe, sync::Arc};

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

/// Runs around the body of every step of every definition: measures, logs, refuses.
///
/// Those of a host form a chain: the one that was given to the builder first is the outermost. It runs on the program's
/// runtime, once for each attempt, and takes part in all that is said of one: a panic in it, like any error that it
/// returns, is a failure of the step; the time that it takes counts for the attempt's timeout; its writes outside happen
/// at least once, and with the body it is dropped a second after the token of the attempt has fired
/// ([`Ctx::cancellation`]). What it gets from [`Rest::run`] it hands on, or returns an error in its place. A body cannot be
/// replaced: only a body that ran gives a [`StepDone`].
///
/// ```
/// use wfe::{Rest, StepDone, StepMiddleware, steps::{Ctx, StepError}};
///
/// /// Refuses steps on holidays.
/// struct Calendar;
///
/// #[async_trait::async_trait]
/// impl StepMiddleware for Calendar {
///     async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> Result<StepDone, StepError> {
///         if ctx.step_id() == "deliver" && is_holiday() {
///             return Err(StepError::retryable("nobody delivers today").with_code("holiday"));
///         }
///         rest.run().await
///     }
/// }
/// # fn is_holiday() -> bool { false }
/// ```
#[async_trait]
pub trait StepMiddleware: Send + Sync + 'static {
    /// Runs the rest of the chain, the body at its end, or does not.
    ///
    /// # Errors
    /// The body's own, or whatever else is to be the failure of this attempt.
    async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> std::result::Result<StepDone, StepError>;
}

/// What is inside of a middleware: those further inside, and the body.
pub struct Rest<'a> {
    inner: &'a [Arc<dyn StepMiddleware>],
    ctx: &'a Ctx,
    body: BoxFuture<'a, BodyEnd>,
}

/// A body ended well. Only running it makes one.
#[derive(Debug)]
pub struct StepDone(BodyEnd);

impl Rest<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// Those of the body, or of a middleware further inside.
    pub async fn run(self) -> std::result::Result<StepDone, StepError> {
        let Rest { inner, ctx, body } = self;
        match inner.split_first() {
            None => body.await.into_result().map(StepDone),
            Some((next, inner)) => next.around(ctx, Rest { inner, ctx, body }).await,
        }
    }
}

/// Runs the body of this job inside of the chain.
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
            let problem = "a middleware answered with the end of another step";
            BodyEnd::failed(job, StepError::fatal(problem).with_code(StepError::DEFINITION))
        }
        Ok(Err(error)) => BodyEnd::failed(job, error),
        Err(payload) => BodyEnd::failed(job, StepError::from_panic("the step's middleware", payload)),
    }
}

/// Is told when a host starts an instance, and when one has ended that it ran.
///
/// ```
/// use wfe::{Result, WfeError, WorkflowEnd, WorkflowMiddleware, WorkflowStart};
///
/// /// Takes no orders at night, and tells of those that failed.
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
    /// Before an instance is stored that [`start_workflow`](crate::WorkflowHost::start_workflow) or a schedule starts;
    /// the first one given to the builder comes first. Children that a workflow starts are part of it, and are not told
    /// of. A panic refuses the start, too.
    ///
    /// # Errors
    /// Whatever is to refuse the start; nothing is stored then, and the caller gets it.
    async fn starting(&self, _start: &WorkflowStart<'_>) -> Result<()> {
        Ok(())
    }

    /// After the commit with which this host has ended an instance, a child included; the last one given to the builder
    /// comes first. At most once: a process that dies after that commit does not come to it. A panic is logged. Nothing waits
    /// for it, [`stop`](crate::WorkflowHost::stop) neither.
    async fn ended(&self, _end: &WorkflowEnd) {}
}

/// An instance that is about to be started.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct WorkflowStart<'a> {
    /// The definition.
    pub definition_id: &'a str,
    /// Its version.
    pub version: u32,
    /// The caller's key; `None`: the start is not idempotent. An instance may have been started with it before.
    pub reference: Option<&'a str>,
    /// The data that it begins with.
    pub data: &'a Value,
}

/// An instance that has ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkflowEnd {
    /// Its id.
    pub instance_id: String,
    /// The definition that it ran.
    pub definition_id: String,
    /// The version of that definition.
    pub version: u32,
    /// How it ended.
    pub ending: Ending,
    /// The failure that ended it, if one did.
    pub cause: Option<StepFailure>,
    /// Its data at its end.
    pub data: Value,
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
            logging::error!(instance = end.instance_id, %error, "the instance has ended all the same");
        }
    }
}
