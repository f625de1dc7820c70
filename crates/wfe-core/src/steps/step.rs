use std::future::Future;

use super::{Ctx, Next, StepError};

/// What a step's body returns.
pub type StepResult = Result<Next, StepError>;

/// A step whose body is asynchronous. Its fields are its inputs and outputs.
///
/// ```
/// use wfe_core::steps::{Ctx, Next, Step, StepResult};
///
/// struct Price { sku: u32, cents: u32 }
///
/// impl Step for Price {
///     async fn run(&mut self, _ctx: &Ctx) -> StepResult {
///         self.cents = self.sku * 10;
///         Ok(Next::Done)
///     }
/// }
/// ```
///
/// A step that finished is never run again. One that was running when the process died is run again, with the same
/// [idempotency key](Ctx::idempotency_key).
pub trait Step: Send + 'static {
    /// Does the work. Called on a fresh value for each attempt, after its inputs were set.
    ///
    /// # Errors
    /// Whatever the body meets; the step's retry policy decides what follows. A panic counts as a failure with the
    /// code `panic`.
    ///
    /// # Cancellation
    /// The future may be dropped at any `await` once nobody wants the result any more: a second after its
    /// [token](Ctx::cancellation) has fired.
    fn run(&mut self, ctx: &Ctx) -> impl Future<Output = StepResult> + Send;
}

/// A step whose body blocks its thread (files, hashing, a synchronous client): it runs on the blocking pool. Nobody can end
/// it from outside: if it may take long, it looks at its [token](Ctx::cancellation).
pub trait BlockingStep: Send + 'static {
    /// As [`Step::run`].
    ///
    /// # Errors
    /// As [`Step::run`].
    fn run(&mut self, ctx: &Ctx) -> StepResult;
}
