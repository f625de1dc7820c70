use std::future::Future;

use super::{Ctx, Next, StepError};

/// The return type of a step's body.
pub type StepResult = Result<Next, StepError>;

/// A step with an asynchronous body. The fields of the type are the step's inputs and outputs.
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
/// A completed step does not run again. A step that was running when the process died runs again, with the same
/// [idempotency key](Ctx::idempotency_key).
pub trait Step: Send + 'static {
    /// Does the work of the step. Each attempt runs on a new value of the type, whose inputs were set before
    /// the call.
    ///
    /// # Errors
    /// Any error of the body fails the attempt. The step's retry policy decides whether there is another
    /// attempt. A panic counts as an error with the code `panic`.
    ///
    /// # Cancellation
    /// The host may drop the future at any `await`, starting one second after the attempt's [cancellation
    /// token](Ctx::cancellation) was cancelled.
    fn run(&mut self, ctx: &Ctx) -> impl Future<Output = StepResult> + Send;
}

/// A step with a body that blocks its thread, for example to read files, to hash data or to call a synchronous
/// client. The body runs on the blocking thread pool. The host cannot stop a blocking body, so a slow body
/// should check its [cancellation token](Ctx::cancellation).
pub trait BlockingStep: Send + 'static {
    /// Does the work of the step, as [`Step::run`] does.
    ///
    /// # Errors
    /// The same errors as [`Step::run`].
    fn run(&mut self, ctx: &Ctx) -> StepResult;
}
