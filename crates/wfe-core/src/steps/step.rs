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
    /// Does the work of the step. Each attempt gets a new value, whose inputs were set before the call.
    ///
    /// # Errors
    /// Any error of the body fails the attempt. The step's retry policy decides whether there is another
    /// attempt. A panic counts as an error with the code `panic`.
    ///
    /// # Cancellation
    /// The host may drop the future at any `await`, from one second after the attempt's [cancellation
    /// token](Ctx::cancellation) has fired.
    fn run(&mut self, ctx: &Ctx) -> impl Future<Output = StepResult> + Send;
}

/// A step with a body that blocks its thread, for files, hashing or a synchronous client. It runs on the
/// blocking pool. The host cannot stop a blocking body: a body that may take long should check its
/// [cancellation token](Ctx::cancellation).
pub trait BlockingStep: Send + 'static {
    /// Does the work of the step, as [`Step::run`] does.
    ///
    /// # Errors
    /// As [`Step::run`].
    fn run(&mut self, ctx: &Ctx) -> StepResult;
}
