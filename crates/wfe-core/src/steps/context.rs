use std::{collections::HashMap, fmt, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Attributes, Awaitable, Compensated, ItemFailure, Results, StepError, WaitedFor};
use crate::traits::StepStore;

/// The context of one attempt of a step: which instance and step the body runs for, its idempotency key, its
/// stored state, and its cancellation token. A `Ctx` is owned, and cheap to clone.
///
/// `A` is the type of what the definition was [given](crate::definition::Sequence::with) for its bodies, or `()` if it
/// was given nothing.
#[derive(Clone)]
pub struct Ctx<A = ()> {
    /// What the program gave the definition with [`with`](crate::definition::Sequence::with): pools, clients, settings.
    pub app: A,
    execution: Arc<Execution>,
    cancelled: CancellationToken,
    store: Option<Arc<dyn StepStore>>,
}

/// The instance, the step and the execution pointer that a body runs for, with the data that the body can read
/// from them.
#[derive(Debug, Default)]
pub(crate) struct Execution {
    pub instance: Arc<str>,
    pub definition: Arc<str>,
    pub version: u32,
    pub reference: Option<Arc<str>>,
    pub step: Arc<str>,
    /// If a helper function made the step: the full ids of the helper's for-eaches, by their ids inside the helper.
    pub for_eaches: Option<Arc<HashMap<String, Arc<str>>>>,
    pub pointer: String,
    pub attempt: u32,
    pub key: String,
    pub state: Option<Value>,
    pub event: Option<Value>,
    /// What `event` is the result of.
    pub waited_for: Option<WaitedFor>,
    pub compensated: Option<Compensated>,
    pub failure: Option<ItemFailure>,
    pub attributes: Attributes,
}

impl Ctx {
    pub(crate) fn new(
        execution: Arc<Execution>,
        cancelled: CancellationToken,
        store: Option<Arc<dyn StepStore>>,
    ) -> Self {
        Self { app: (), execution, cancelled, store }
    }

    /// Returns the same context with this application state. The engine calls it for bodies. Tests of a body can call
    /// it too.
    #[must_use]
    pub fn with<A>(self, app: A) -> Ctx<A> {
        let Self { app: (), execution, cancelled, store } = self;
        Ctx { app, execution, cancelled, store }
    }

    /// A context without an instance, for calling a step's body in a test. It is the first attempt, it is never
    /// cancelled, and it has neither a reference nor results.
    ///
    /// ```
    /// # use wfe_core::steps::{Ctx, StepError};
    /// async fn charge(ctx: Ctx, cents: u32) -> Result<String, StepError> {
    ///     if cents == 0 { Err(StepError::fatal("nothing to charge")) } else { Ok(ctx.idempotency_key()) }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// assert_eq!(charge(Ctx::detached("charge"), 5).await.unwrap(), "detached/charge");
    /// assert!(charge(Ctx::detached("charge"), 0).await.is_err());
    /// # }
    /// ```
    #[must_use]
    pub fn detached(step_id: &str) -> Self {
        let execution = Execution {
            instance: "detached".into(),
            definition: "detached".into(),
            version: 1,
            step: step_id.into(),
            pointer: step_id.into(),
            attempt: 1,
            key: format!("detached/{step_id}"),
            ..Execution::default()
        };
        Self::new(Arc::new(execution), CancellationToken::new(), None)
    }
}

impl<A> Ctx<A> {
    /// The id of the instance that the step belongs to.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.execution.instance
    }

    /// The id of the definition that the instance runs.
    #[must_use]
    pub fn definition_id(&self) -> &str {
        &self.execution.definition
    }

    /// The version of the definition that the instance runs.
    #[must_use]
    pub fn definition_version(&self) -> u32 {
        self.execution.version
    }

    /// The instance's reference: the key that made its start idempotent. The caller of the start chose the
    /// reference; for an instance that a schedule started, the reference names the tick. `None` if the instance
    /// was started without a reference, or is a child workflow.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.execution.reference.as_deref()
    }

    /// The step's stable id.
    #[must_use]
    pub fn step_id(&self) -> &str {
        &self.execution.step
    }

    /// The idempotency key of this execution of the step. Pass it to external systems to make side effects
    /// idempotent.
    ///
    /// The key is the same in all attempts of the execution: after a failed attempt, after a crash, and after a
    /// `resume` of an instance that [`OnFailure::Suspend`](crate::definition::OnFailure::Suspend) has suspended. An
    /// external worker that does an activity for the step gets the same key.
    ///
    /// Another execution of the step has another key. These begin another execution:
    ///
    /// * another iteration of a loop,
    /// * a go-to that leads back to the step,
    /// * another round of a saga, for each step in the saga,
    /// * a `retry` of a failed instance, for the step that has failed,
    /// * a `resume_from`, for the step from which the instance resumes and for those behind it that ran before,
    /// * another instance, which a `restart` begins too.
    ///
    /// If the answer to a request was lost, an external system may have done its work under the earlier key. It does not
    /// recognise the repetition under another key. A step for which this matters passes a key of its own, such as the
    /// number of the order, or has `OnFailure::Suspend`.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.execution.key.clone()
    }

    /// The state that the body stored with [`Next::Keep`](super::Next::Keep) or
    /// [`Next::Persist`](super::Next::Persist) earlier in this execution of the step. `None` if the body has
    /// stored no state in this execution.
    ///
    /// # Errors
    /// The stored state cannot be read as a `T`. The error is fatal.
    pub fn state<T: DeserializeOwned>(&self) -> Result<Option<T>, StepError> {
        read(self.execution.state.as_ref())
    }

    /// The result of the wait that ended before this run of the body, whatever it was for: the event's data, or the
    /// worker's result. `None` if the body did not wait for an event or an activity before this run.
    ///
    /// # Errors
    /// The result cannot be read as a `T`. The error is fatal.
    pub fn event<T: DeserializeOwned>(&self) -> Result<Option<T>, StepError> {
        read(self.execution.event.as_ref())
    }

    /// What the body has waited for: the data of this event, or the worker's result of this activity. `None` if the wait
    /// that ended before this run was for something else, or if there was none.
    ///
    /// ```
    /// use wfe_core::definition::{Event, WorkflowBuilder};
    /// use wfe_core::steps::Next;
    ///
    /// const SIGNED: Event<String> = Event::new("signed");
    ///
    /// let definition = WorkflowBuilder::<u32>::new("sign", 1)
    ///     .then("sign", async |ctx, contract| match ctx.received(SIGNED)? {
    ///         None => Ok(Next::wait_for_event(SIGNED, contract.to_string())),
    ///         Some(by) => Next::outcome(&by),
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    ///
    /// # Errors
    /// What was received cannot be read as the type of the event or of the activity. The error is fatal.
    #[expect(clippy::needless_pass_by_value, reason = "callers write a constant: `received(SIGNED)`")]
    pub fn received<W: Awaitable>(&self, what: W) -> Result<Option<W::Value>, StepError> {
        match &self.execution.waited_for {
            Some(waited_for) if what.is(waited_for) => self.event(),
            _ => Ok(None),
        }
    }

    /// The step that this step compensates: its outcome or its failure, and its stored state. `None` if this step is not
    /// part of a compensation.
    #[must_use]
    pub fn compensated(&self) -> Option<&Compensated> {
        self.execution.compensated.as_ref()
    }

    /// The failure that this fallback handles. `None` if this step is not part of a fallback.
    #[must_use]
    pub fn failure(&self) -> Option<&ItemFailure> {
        self.execution.failure.as_ref()
    }

    /// The number of this attempt, from 1. An attempt that a crash interrupted is not counted.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.execution.attempt
    }

    /// The cancellation token of this attempt. The host cancels it when the result of the attempt is no longer
    /// needed:
    ///
    /// * The instance was cancelled or terminated, or it ended in another branch.
    /// * The step was cancelled: by its cancel condition, by a go-to out of its container, or because its saga
    ///   failed.
    /// * The attempt has reached its [time limit](crate::definition::Sequence::timeout).
    /// * The host is stopping, and its grace period is over.
    ///
    /// When the token is cancelled, the step has not completed, so its side effects are compensated only by
    /// [`compensate_even_if_failed`](crate::definition::Sequence::compensate_even_if_failed). Check the token before a
    /// side effect that cannot be reverted, and pass the [idempotency key](Self::idempotency_key) along with the effect.
    ///
    /// The instance does not wait for a body whose token was cancelled, with two exceptions. The next body of
    /// the same step waits until the cancelled body has ended, no matter whether a retry, a go-to or an
    /// operator starts the next body. So a process never runs two attempts of a step at once. The compensation
    /// of the step also waits until the cancelled body has ended.
    ///
    /// One second (of real time) after the token was cancelled, the host drops an asynchronous body that is
    /// still running, together with the step's struct and the middleware that wraps the body. The body ends at
    /// its current `await`, and its slot becomes available. A body that never awaits, or that blocks its
    /// thread, cannot be dropped: it keeps its thread and its slot until it ends. The host logs a warning about
    /// such a body.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// The results of a finished for-each of this instance, in order of completion. The results are read page
    /// by page.
    ///
    /// `for_each` is the stable id of the for-each. In a [helper function](crate::definition::Sequence::step), it is the
    /// id inside of the helper. The for-each must be on the main path, or precede or contain this step within the same
    /// iteration.
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<u64>::new("sum", 1)
    ///     .for_each("squares", |n| (1..=*n).collect(), |one| one.then("square", async |_, _, n| Ok(n * n)))
    ///     .concurrent(8)
    ///     .then("add", async |ctx, _| {
    ///         let (mut sum, mut squares) = (0, ctx.results::<u64>("squares"));
    ///         while let Some(square) = squares.next().await? {
    ///             sum += square.result.ok().flatten().and_then(|n| n.as_u64()).unwrap_or(0);
    ///         }
    ///         Ok(sum)
    ///     })
    ///     .output(|sum, n| *n = sum)
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn results<T: DeserializeOwned>(&self, for_each: &str) -> Results<T> {
        let inside = self.execution.for_eaches.as_ref().and_then(|inside| inside.get(for_each));
        Results::new(
            self.store.clone(),
            self.execution.instance.clone(),
            self.execution.pointer.clone(),
            inside.map_or(for_each, |full| full),
        )
    }
}

impl<A> Ctx<A> {
    pub(super) fn attributes(&self) -> &Attributes {
        &self.execution.attributes
    }
}

fn read<T: DeserializeOwned>(value: Option<&Value>) -> Result<Option<T>, StepError> {
    let read = value.map(T::deserialize).transpose();
    read.map_err(|e| StepError::fatal(e).with_code(StepError::UNREADABLE))
}

impl<A> fmt::Debug for Ctx<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx").field("execution", &self.execution).finish_non_exhaustive()
    }
}
