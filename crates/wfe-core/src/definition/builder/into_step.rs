//! Steps that are values: structs, and what helper functions return.

use super::{
    After, App, AsyncBody, AsyncItemBody, Block, BodyFuture, Each, FitsIn, Main, OutputSet, Returns,
    Sequence, StructStep, WorkflowBuilder,
    place::{Drafts, IntoDrafts},
};
use crate::{
    definition::{
        Data, Item,
        draft::{Draft, put_under},
    },
    program::{self, Body, RunBody, Verb, Work},
    steps::{Blocking, BlockingStep, Ctx, IntoNext, Step, StepError},
};

/// A step that is a value: a struct that implements [`Step`], a [`Blocking`] struct, or what a helper function returns.
///
/// `P` is where the step fits: [`Main`] fits everywhere, [`Each<T>`](Each) only in a for-each over items of type `T`.
///
/// A function that returns `impl IntoStep<D>` lets its callers add the modifiers that every step has. To let them add
/// `output` too, it says what the step leaves: `impl IntoStep<D, Left = Returns<u32>>`.
///
/// ```
/// use wfe_core::{
///     definition::{IntoStep, Retry, WorkflowBuilder, task},
///     steps::StepError,
/// };
///
/// /// A helper function makes a step; its id comes from `.step(id, …)`.
/// fn limited(most: u32) -> impl IntoStep<u32> {
///     task::<u32>()
///         .call(move |_, n| if *n > most { Err(StepError::fatal("too many")) } else { Ok(()) })
///         .retry(Retry::never())
/// }
///
/// let definition = WorkflowBuilder::<u32>::new("check", 1).step("limit", limited(10)).build()?;
/// # Ok::<(), wfe_core::WfeError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step",
    label = "expected a struct that implements `Step` (async, `Clone`), or a helper's `impl IntoStep<…>`",
    note = "a closure or an `async fn` goes into `.then(id, async |ctx, data| …)`, `.call`, `.blocking` or `.change`",
    note = "a struct with a synchronous `run` implements `BlockingStep`, and goes into `.step(id, Blocking(…))`"
)]
pub trait IntoStep<D, P = Main> {
    /// What the step leaves for its modifiers.
    type Left: After;

    #[doc(hidden)]
    fn into_steps(self, _: Sealed) -> Steps;
}

/// Keeps programs from calling the methods of sealed traits.
#[doc(hidden)]
pub struct Sealed(());

/// The untyped steps of an [`IntoStep`].
#[doc(hidden)]
pub struct Steps(Drafts);

impl<D, P, A, L: After> IntoStep<D, P> for Sequence<D, P, A, L> {
    type Left = L;

    fn into_steps(self, _: Sealed) -> Steps {
        Steps(self.into_drafts())
    }
}

// Without `do_not_recommend`, the message would be *`X: Step` is not satisfied*, whatever X is.
#[diagnostic::do_not_recommend]
impl<D: Data, S: Step> IntoStep<D> for S {
    type Left = StructStep<S>;

    fn into_steps(self, _: Sealed) -> Steps {
        one(Body::new(false, move |ctx, data, item, inputs| {
            let mut step = self.clone();
            inputs.iter().try_for_each(|set| set(&mut step, data, item))?;
            Ok(Work::Async(Box::pin(async move {
                let next = step.run(&ctx).await?;
                Ok((next, Box::new(step) as program::Left))
            })))
        }))
    }
}

impl<D: Data, S: BlockingStep> IntoStep<D> for Blocking<S> {
    type Left = StructStep<Self>;

    fn into_steps(self, _: Sealed) -> Steps {
        one(Body::new(true, move |ctx, data, item, inputs| {
            let mut step = self.clone();
            inputs.iter().try_for_each(|set| set(&mut step, data, item))?;
            Ok(Work::Blocking(Box::new(move || {
                let next = step.0.run(&ctx)?;
                Ok((next, Box::new(step) as program::Left))
            })))
        }))
    }
}

fn one(body: Body) -> Steps {
    let drafts = vec![Draft::new("", Verb::RunBody(RunBody { body }))];
    Steps(Drafts { drafts, problems: Vec::new() })
}

impl<D: Data, P, A: App, L> Sequence<D, P, A, L> {
    /// Adds a step that is a value: a struct that implements [`Step`], a [`Blocking`] struct, or what a helper function
    /// returned as `impl IntoStep<…>`.
    ///
    /// Several steps of a helper become one container, a [`block`](Self::block).
    ///
    /// **Ids.** The steps inside a helper get ids that begin with the given one: under the id `ship`, the helper's step
    /// `pack` is the step `ship.pack`. This includes the steps of its fallbacks and compensations. The first of several
    /// steps, which [`task`] has made without an id, is `ship.1`. So a definition can use a helper several times, each
    /// time under an id of its own. Inside the helper, [`go_to`](Self::go_to) and
    /// [`Ctx::results`](crate::steps::Ctx::results) take the helper's own ids; outside of it, the full ids count. Stored
    /// instances refer to the full ids, so both parts must stay the same.
    pub fn step<S: IntoStep<D, Q>, Q: FitsIn<P>>(
        mut self,
        id: impl Into<String>,
        step: S,
    ) -> Sequence<D, P, A, S::Left> {
        let Steps(Drafts { mut drafts, problems }) = step.into_steps(Sealed(()));
        self.parts.problems.extend(problems);
        let id = id.into();
        put_under(&id, &mut drafts);
        match drafts.pop() {
            Some(only) if drafts.is_empty() => self.push(only),
            last => {
                drafts.extend(last);
                self.container(id, Verb::Block(program::Block), drafts)
            }
        }
    }

    /// Adds a container whose steps run one after the other. A cancel condition or a compensation after it belongs
    /// to all of them together. A retry policy, a fallback or an `on_failure` does not cover the failures of the steps
    /// inside, so [`build`](Sequence::build) refuses it; a [saga](Sequence::saga) has all of these.
    pub fn block<B: super::Branch<D, P, A>>(
        mut self,
        id: impl Into<String>,
        body: impl FnOnce(Sequence<D, P, A>) -> B,
    ) -> Sequence<D, P, A, Block> {
        let branch = self.steps_of(body);
        self.container(id, Verb::Block(program::Block), branch)
    }
}

/// The beginning of a step that is a value. [`task`] and [`item_task`] make it.
#[must_use = "a task has no effect until it has a body and is a step"]
pub struct Task<D, P = Main, A = ()>(Sequence<D, P, A>);

/// Begins a step that is a value, for data of type `D`: `task::<Order>().then(async |ctx, order| …)`.
///
/// A helper function returns it as `impl IntoStep<Order>`, with its modifiers; its id comes from `.step(id, …)`.
pub fn task<D: Data>() -> Task<D> {
    Task(WorkflowBuilder::new("", 1).inner())
}

/// Like [`task`], for a step in a for-each over items of type `T`: its closures take the item as their last argument.
pub fn item_task<D: Data, T: Item>() -> Task<D, Each<T>> {
    Task(WorkflowBuilder::new("", 1).inner())
}

impl<D, P> Task<D, P> {
    /// Gives the body what it needs from the program, as [`Sequence::with`] does.
    pub fn with<A: App>(self, app: A) -> Task<D, P, A> {
        Task(self.0.with(app))
    }
}

macro_rules! tasks {
    ([$($t:ident)?] $place:ty, ($($by:ty)?), $body:path) => {
        impl<D: Data, A: App, $($t: Item)?> Task<D, $place, A> {
            /// A step with an asynchronous body, like [`Sequence::then`].
            pub fn then<R: IntoNext + Send + 'static, Fut: BodyFuture<R>>(
                self,
                body: impl $body,
            ) -> Sequence<D, $place, A, Returns<R>> {
                self.0.then("", body)
            }

            /// A step with a quick synchronous body, like [`Sequence::call`].
            pub fn call<R: IntoNext + Send + 'static>(
                self,
                body: impl Fn(&Ctx<A>, &D $(, $by)?) -> Result<R, StepError> + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Returns<R>> {
                self.0.call("", body)
            }

            /// A step with a body that blocks its thread, like [`Sequence::blocking`].
            pub fn blocking<R: IntoNext + Send + 'static>(
                self,
                body: impl Fn(&Ctx<A>, &D $(, $by)?) -> Result<R, StepError> + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, Returns<R>> {
                self.0.blocking("", body)
            }

            /// A step that only changes the data, like [`Sequence::change`].
            pub fn change(
                self,
                change: impl Fn(&mut D $(, $by)?) + Send + Sync + 'static,
            ) -> Sequence<D, $place, A, OutputSet> {
                self.0.change("", change)
            }
        }
    };
}

tasks!([] Main, (), AsyncBody<A, D, Fut>);
tasks!([T] Each<T>, (&T), AsyncItemBody<A, D, T, Fut>);
