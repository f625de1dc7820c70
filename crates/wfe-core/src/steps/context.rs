use std::{fmt, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Compensated, ItemFailure, Results, StepError};
use crate::traits::StepStore;

/// What a step's body is told about its run. Owned and cheap to clone.
#[derive(Clone)]
pub struct Ctx {
    place: Arc<Place>,
    cancelled: CancellationToken,
    store: Option<Arc<dyn StepStore>>,
}

/// Where a body runs.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub instance: Arc<str>,
    pub definition: Arc<str>,
    pub version: u32,
    pub reference: Option<Arc<str>>,
    pub step: Arc<str>,
    pub pointer: String,
    pub attempt: u32,
    pub key: String,
    pub state: Option<Value>,
    pub event: Option<Value>,
    pub compensated: Option<Compensated>,
    pub failure: Option<ItemFailure>,
}

impl Ctx {
    pub(crate) fn new(
        place: Arc<Place>,
        cancelled: CancellationToken,
        store: Option<Arc<dyn StepStore>>,
    ) -> Self {
        Self { place, cancelled, store }
    }

    /// A context outside of any instance, to call a step's body in a test: first attempt, never cancelled, no reference, no
    /// results.
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
        let place = Place {
            instance: "detached".into(),
            definition: "detached".into(),
            version: 1,
            step: step_id.into(),
            pointer: step_id.into(),
            attempt: 1,
            key: format!("detached/{step_id}"),
            ..Place::default()
        };
        Self::new(Arc::new(place), CancellationToken::new(), None)
    }

    /// The instance that the step belongs to.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.place.instance
    }

    /// The definition that the instance runs.
    #[must_use]
    pub fn definition_id(&self) -> &str {
        &self.place.definition
    }

    /// The version of that definition.
    #[must_use]
    pub fn definition_version(&self) -> u32 {
        self.place.version
    }

    /// The instance's reference: the key that whoever started it gave, which made the start idempotent; of an instance that
    /// a schedule started, the tick. `None`: it was started without one, or is a child workflow.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.place.reference.as_deref()
    }

    /// The step's stable id.
    #[must_use]
    pub fn step_id(&self) -> &str {
        &self.place.step
    }

    /// The same over all attempts of this visit of the step, also after a crash; another one in each iteration of a
    /// loop, in each round of a saga, at each visit after a go-to, and in each instance. What the step does outside can be
    /// made to happen once by it. A worker outside that does an activity for the step is told the same one.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.place.key.clone()
    }

    /// What the body left to itself with [`Next::Keep`](super::Next::Keep) or [`Next::Persist`](super::Next::Persist) in
    /// this visit of the step; `None`: nothing yet.
    ///
    /// # Errors
    /// It is of another type. The error is fatal.
    pub fn state<T: DeserializeOwned>(&self) -> Result<Option<T>, StepError> {
        read(self.place.state.as_ref())
    }

    /// What the body waited for: the event's data, or the worker's result; `None`: this run is not due to that.
    ///
    /// # Errors
    /// It is of another type. The error is fatal.
    pub fn event<T: DeserializeOwned>(&self) -> Result<Option<T>, StepError> {
        read(self.place.event.as_ref())
    }

    /// In a compensating step: the completed step that it compensates; `None` in any other step.
    #[must_use]
    pub fn compensated(&self) -> Option<&Compensated> {
        self.place.compensated.as_ref()
    }

    /// In a fallback: why the step in whose place it runs has failed. `None`: this is no fallback.
    #[must_use]
    pub fn failure(&self) -> Option<&ItemFailure> {
        self.place.failure.as_ref()
    }

    /// Which attempt this is, from 1. A run that a crash cut short is not counted.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.place.attempt
    }

    /// Fires when the result is no longer wanted: the instance was cancelled or terminated, or has ended or failed in another
    /// branch; a cancel condition took the step away, a go-to left the container around it, or the saga around it has failed;
    /// the attempt had its time; or the host has waited for its whole grace time.
    ///
    /// What it has done outside by then is not undone: it has not completed. Look here before an effect that cannot be taken
    /// back, and give the [idempotency key](Self::idempotency_key) along with it. After that nothing waits for the end of
    /// the body but the next body of the same step (another attempt, a visit after a go-to or by hand, the next round of
    /// a saga), so that no two of them run at once in a process, and the compensation of the step itself.
    ///
    /// A second after that (of real time) the host drops an asynchronous body that still goes on, at the `await` where it
    /// stands, with the step's struct and the middleware around it: it takes no place from others any more. A body that
    /// never awaits, and one that blocks its thread, nobody can drop: until it ends it keeps its thread, and its place
    /// among those that may run at once, which is logged.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// The results of a finished for-each of this instance, in order of completion, read page by page.
    ///
    /// `for_each` is the stable id of the for-each: one on the main path, or one around or before this step within
    /// the same iteration.
    ///
    /// ```
    /// use wfe_core::{
    ///     definition::{WorkflowBuilder, each, inline, inline_item},
    ///     steps::Ctx,
    /// };
    ///
    /// let definition = WorkflowBuilder::<u64>::new("sum", 1)
    ///     .for_each("squares", each(|n: &u64| (1..=*n).collect::<Vec<_>>()).parallel(8), |one| {
    ///         one.then("square", inline_item(|_, _, n: u64| async move { Ok(n * n) }))
    ///     })
    ///     .then(
    ///         "add",
    ///         inline(|ctx: Ctx, _| async move {
    ///             let (mut sum, mut squares) = (0, ctx.results::<u64>("squares"));
    ///             while let Some(square) = squares.next().await? {
    ///                 sum += square.result.ok().flatten().and_then(|n| n.as_u64()).unwrap_or(0);
    ///             }
    ///             Ok(sum)
    ///         })
    ///         .output(|sum, n| *n = *sum),
    ///     )
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn results<T: DeserializeOwned>(&self, for_each: &str) -> Results<T> {
        Results::new(self.store.clone(), self.place.instance.clone(), self.place.pointer.clone(), for_each)
    }
}

fn read<T: DeserializeOwned>(value: Option<&Value>) -> Result<Option<T>, StepError> {
    let read = value.map(T::deserialize).transpose();
    read.map_err(|e| StepError::fatal(e).with_code(StepError::UNREADABLE))
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx").field("place", &self.place).finish_non_exhaustive()
    }
}
