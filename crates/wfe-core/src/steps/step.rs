use std::future::Future;

use super::{Ctx, Next, StepError};

/// The return type of a step's body.
pub type StepResult = Result<Next, StepError>;

/// A step with an asynchronous body. The fields of the type are the step's inputs, its outputs, and what it needs from
/// the program, such as a client.
///
/// ```
/// use wfe_core::{
///     definition::WorkflowBuilder,
///     steps::{Ctx, Next, Step, StepResult},
/// };
///
/// #[derive(Clone, Default)]
/// struct Price { sku: u32, cents: u32 }
///
/// impl Step for Price {
///     async fn run(&mut self, _: &Ctx) -> StepResult {
///         self.cents = self.sku * 10;
///         Ok(Next::Done)
///     }
/// }
///
/// let definition = WorkflowBuilder::<u32>::new("price", 1)
///     .step("price", Price::default())
///     .input(|price, sku| price.sku = *sku)
///     .output(|price, sku| *sku = price.cents)
///     .build()?;
/// # Ok::<(), wfe_core::WfeError>(())
/// ```
///
/// A completed step does not run again. A step that was running when the process died runs again, with the same
/// [idempotency key](Ctx::idempotency_key).
pub trait Step: Clone + Send + Sync + 'static {
    /// Does the work of the step. Each attempt gets a clone of the value in the definition, whose inputs were set
    /// before the call.
    ///
    /// # Errors
    /// Any error of the body fails the attempt. The step's retry policy decides whether there is another
    /// attempt. A panic counts as an error with the code `panic`.
    ///
    /// # Cancellation
    /// The host may drop the future at any `await`, starting one second after the attempt's [cancellation
    /// token](Ctx::cancellation) was cancelled.
    fn run(&mut self, ctx: &Ctx) -> impl Running;
}

/// The future of a [`Step`]'s body. `async fn run` returns one; no program implements this trait.
// A trait of its own, for the message alone.
#[diagnostic::on_unimplemented(
    message = "the `run` of a `Step` is async, this one is not",
    label = "write `async fn run(&mut self, ctx: &Ctx) -> StepResult`, or implement `BlockingStep`"
)]
pub trait Running: Future<Output = StepResult> + Send {}

impl<F: Future<Output = StepResult> + Send> Running for F {}

/// A step with a body that blocks its thread, for example to read files, to hash data or to call a synchronous client.
/// The body runs on the blocking thread pool. [`Blocking`] makes it a step of a definition.
///
/// The host cannot stop a blocking body, so a slow body should check its [cancellation token](Ctx::cancellation).
///
/// ```
/// use std::io::Write;
/// use wfe_core::{
///     definition::WorkflowBuilder,
///     steps::{Blocking, BlockingStep, Ctx, Next, StepError, StepResult},
/// };
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Text { words: Vec<String>, written: usize }
///
/// #[derive(Clone, Default)]
/// struct WriteOut { words: Vec<String>, written: usize }
///
/// impl BlockingStep for WriteOut {
///     fn run(&mut self, ctx: &Ctx) -> StepResult {
///         for word in &self.words {
///             // The host cannot stop a thread, so a slow body checks its token.
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
///     .step("write", Blocking(WriteOut::default()))
///     .input(|Blocking(step), text| step.words = text.words.clone())
///     .output(|Blocking(step), text| text.written = step.written)
///     .build()?;
/// # Ok::<(), wfe_core::WfeError>(())
/// ```
pub trait BlockingStep: Clone + Send + Sync + 'static {
    /// Does the work of the step, as [`Step::run`] does.
    ///
    /// # Errors
    /// The same errors as [`Step::run`].
    fn run(&mut self, ctx: &Ctx) -> StepResult;
}

/// Makes a step of a [`BlockingStep`]: `.step("hash", Blocking(Hash::default()))`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocking<S>(pub S);
