//! The builder of definitions. Each file has the verbs of one subject.
//!
//! A verb that takes closures over the data exists twice: for the main path, and for a for-each, where each closure
//! takes the item as its last argument. One macro writes both, so they cannot differ.

/// Implements verbs for both places: `$verbs!` gets the item's type parameter, the place, the item's type as stored,
/// the reference to the item that a closure takes, and the functions that give closures of the main path an item.
macro_rules! at_both_places {
    ($verbs:ident) => {
        $verbs!([] Main, serde::de::IgnoredAny, (), super::on_data, super::on_left);
        $verbs!([T] Each<T>, T, (&T), super::on_item, super::on_left_and_item);
    };
}

mod bodies;
mod branches;
mod containers;
mod defaults;
mod external_tasks;
mod into_step;
mod modifiers;
mod place;
mod sides;
mod then_decide;
mod waits;

use std::{marker::PhantomData, time::Duration};

use serde::de::IgnoredAny;

use super::{
    AnyDefinition, Data, Definition, WorkflowName,
    draft::{Defaults, Draft},
};
use crate::{
    Result, WfeError,
    program::{Body, Output, RunBody, Verb},
};

use bodies::body_of;

pub use bodies::{AsyncBody, AsyncItemBody, BodyFuture, Items, Yields};
pub use branches::{Branches, Choice, Decision};
pub use defaults::Covers;
pub use into_step::{IntoStep, Task, item_task, task};
pub use place::{
    After, Awaits, Block, Branch, Each, FitsIn, HasBody, Loop, Main, OfActivity, OfChild, OfEvent, OfTask,
    OutputSet, Returns, Start, StructStep,
};
pub use then_decide::Gives;

use place::Drafts;

/// What the bodies of a definition need from the program: an `Arc`, or a struct of clients, pools and settings. The
/// engine clones it for each attempt.
pub trait App: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> App for T {}

/// Builds a [`Definition`], beginning with its main path. The verbs are the methods of [`Sequence`].
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wfe_core::definition::WorkflowBuilder;
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Order { skus: Vec<u32>, total: u32 }
///
/// let definition = WorkflowBuilder::<Order>::new("order", 1)
///     .for_each("price", |order| order.skus.clone(), |sku| {
///         sku.then("look-up", async |_, _, sku| Ok(sku * 10))
///             .output(|cents, order, _| order.total += cents)
///     })
///     .concurrent(8)
///     .then("charge", async |_, order| Ok(order.total))
///     .build()?;
/// # Ok::<(), wfe_core::WfeError>(())
/// ```
pub type WorkflowBuilder<D> = Sequence<D>;

/// Steps that follow one another: the main path of a definition ([`WorkflowBuilder`]), or a branch of a container.
///
/// A verb adds a step. The modifiers after it (`output`, `retry`, `timeout` and others) belong to the step that was
/// added last.
///
/// * `D` is the data of the instance.
/// * `P` is the place: [`Main`], or [`Each<T>`](Each) in a for-each. In a for-each, every closure takes the item as its
///   last argument.
/// * `A` is what [`with`](Self::with) gave the bodies: they find it in [`Ctx::app`](crate::steps::Ctx::app).
/// * `L` is what the last step leaves. It decides which modifiers there are.
///
/// Each step has a stable id, unique within the definition. Stored instances refer to steps by these ids, so an id must
/// stay the same when steps are added, moved or given another name. (For this reason, the builder does not derive ids
/// from positions: a new step would change the ids of all steps after it.)
///
/// Closures that compute conditions, keys, times or inputs must be quick, because they run on the engine's thread. If
/// one panics, the step fails, as if its body had panicked.
#[must_use = "a sequence of steps has no effect until it is built or returned to its container"]
pub struct Sequence<D, P = Main, A = (), L = Start> {
    parts: Box<Parts>,
    app: A,
    types: PhantomData<fn(D, P, L)>,
}

/// The untyped part of a sequence. It is boxed, so that a verb moves one pointer.
#[derive(Default)]
struct Parts {
    drafts: Vec<Draft>,
    /// The errors found so far. `build` returns the first one.
    problems: Vec<String>,
    id: String,
    version: u32,
    deadline: Option<Duration>,
    defaults: Defaults,
    is_main: bool,
}

impl<D> WorkflowBuilder<D> {
    /// Begins a definition with this id and version. Versions begin with 1. An instance runs the version that
    /// it was started with, until it ends.
    pub fn new(id: impl Into<String>, version: u32) -> Self
    where
        D: Data,
    {
        let parts = Parts { id: id.into(), version, is_main: true, ..Parts::default() };
        Self { parts: Box::new(parts), app: (), types: PhantomData }
    }
}

impl<D: Data> WorkflowName<D> {
    /// Begins the definition of this name, with a version, as [`WorkflowBuilder::new`] does.
    pub fn define(&self, version: u32) -> WorkflowBuilder<D> {
        WorkflowBuilder::new(self.name(), version)
    }
}

impl<D, P> Sequence<D, P> {
    /// Gives the bodies what they need from the program. They find it in [`ctx.app`](crate::steps::Ctx::app). It comes
    /// before the first step, so that every body has it: [`build`](Sequence::build) refuses it after a step.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// struct Bank;
    /// impl Bank {
    ///     async fn charge(&self, cents: u32) -> std::io::Result<u32> { Ok(cents) }
    /// }
    ///
    /// let definition = WorkflowBuilder::<u32>::new("pay", 1)
    ///     .with(Arc::new(Bank))
    ///     .then("charge", async |ctx, cents| Ok(ctx.app.charge(*cents).await?))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn with<A: App>(mut self, app: A) -> Sequence<D, P, A> {
        if let Some(draft) = self.parts.drafts.last_mut() {
            draft.problem(|| {
                "`with` comes after it; put `with` before the first step, so that every body has it".into()
            });
        }
        Sequence { parts: self.parts, app, types: PhantomData }
    }
}

impl<D: Data, A: App, L> Sequence<D, Main, A, L> {
    /// Limits the time that an instance may take from its start to its end. By default, there is no limit.
    ///
    /// An instance that takes longer is cancelled: its open sagas are compensated, and it fails with the code
    /// `deadline`. The deadline of a suspended instance takes effect when the instance is resumed.
    /// [`build`](Self::build) refuses a deadline of zero, and a deadline inside a container.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<u32>::new("quick", 1)
    ///     .deadline(Duration::from_hours(1))
    ///     .then("work", async |_, _| Ok(()))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn deadline(mut self, limit: Duration) -> Self {
        if limit.is_zero() {
            self.parts.problems.push("its deadline is 0; it must be longer".to_owned());
        }
        if !self.parts.is_main {
            let problem = "a branch has a deadline; the deadline belongs to the workflow as a whole, so set it outside \
                           of all containers";
            self.parts.problems.push(problem.to_owned());
        }
        self.parts.deadline = Some(limit);
        self
    }

    /// Checks the definition and returns it.
    ///
    /// # Errors
    /// [`InvalidDefinition`](crate::WfeError::InvalidDefinition), naming the step where there is one:
    ///
    /// * The definition's id is empty or longer than
    ///   [`LONGEST_DEFINITION_ID`](crate::limits::LONGEST_DEFINITION_ID), it begins with `wfe.`, its version is 0, or
    ///   it has no steps.
    /// * A step's id is empty, is used twice, or contains `/` or `#`.
    /// * A branch, a fallback or a compensation has no steps, or a step cannot be reached.
    /// * The target of a go-to does not exist, or is inside a container that the go-to is not in.
    /// * A limit, a timeout, an interval or a retry policy is out of range.
    /// * A step outside of a saga has a compensation.
    /// * A modifier was called twice for one step, or would have no effect.
    /// * [`with`](Self::with), or a setting for the whole definition, comes after the first step.
    pub fn build(self) -> Result<Definition<D>> {
        self.assemble(false).map(Definition::of)
    }

    /// Builds a definition of the engine itself, whose names begin with `wfe.`.
    ///
    /// # Errors
    /// Like [`build`](Self::build).
    #[doc(hidden)]
    pub fn build_own(self) -> Result<AnyDefinition> {
        self.assemble(true)
    }

    fn assemble(self, is_own: bool) -> Result<AnyDefinition> {
        let Parts { id, version, deadline, defaults, drafts, problems, .. } = *self.parts;
        if let Some(problem) = problems.into_iter().next() {
            return Err(WfeError::InvalidDefinition { definition: id, problem });
        }
        AnyDefinition::assemble::<D>(&id, version, deadline, drafts, &defaults, is_own)
    }
}

impl<D, P, A, L> Sequence<D, P, A, L> {
    /// Closes the last step: no modifier can follow it. The sequence has the same type after every verb then, so a loop
    /// can add steps.
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let mut steps = WorkflowBuilder::<u32>::new("chain", 1);
    /// for n in 1..=3 {
    ///     steps = steps.change(format!("add-{n}"), move |sum| *sum += n).closed();
    /// }
    /// let definition = steps.build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn closed(self) -> Sequence<D, P, A> {
        self.leaving()
    }

    /// The same sequence, whose last step leaves `M`.
    fn leaving<M>(self) -> Sequence<D, P, A, M> {
        Sequence { parts: self.parts, app: self.app, types: PhantomData }
    }

    /// Adds a step.
    fn push<M>(mut self, draft: Draft) -> Sequence<D, P, A, M> {
        self.parts.drafts.push(draft);
        self.leaving()
    }

    /// Adds a step without branches.
    fn leaf<M>(self, id: impl Into<String>, verb: Verb) -> Sequence<D, P, A, M> {
        self.push(Draft::new(id, verb))
    }

    /// Adds a step with a body.
    fn body<M>(mut self, id: impl Into<String>, body: Body) -> Sequence<D, P, A, M> {
        self.parts.push_body(id.into(), body);
        self.leaving()
    }

    /// Adds a container with one branch.
    fn container<M>(self, id: impl Into<String>, verb: Verb, branch: Vec<Draft>) -> Sequence<D, P, A, M> {
        self.push(Draft { branches: vec![branch], ..Draft::new(id, verb) })
    }

    /// Changes the last added step.
    fn last(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        let mut change = Some(change);
        self.parts.last(&mut |draft| {
            if let Some(change) = change.take() {
                change(draft);
            }
        });
        self
    }

    /// Calls a modifier of the last added step. `build` refuses a second call.
    fn once(mut self, modifier: &'static str, change: impl FnOnce(&mut Draft)) -> Self {
        let mut change = Some(change);
        self.parts.once(modifier, &mut |draft| {
            if let Some(change) = change.take() {
                change(draft);
            }
        });
        self
    }

    /// Calls a modifier that only one kind of step has. Several steps of a helper are one container, so they do not
    /// have it, whatever the last of them has left.
    fn own_once(mut self, modifier: &'static str, change: impl FnOnce(&mut Draft)) -> Self {
        self.parts.refuse_of_helper(modifier);
        self.once(modifier, change)
    }

    /// Like [`own_once`](Self::own_once), for a modifier that may be called again.
    fn own(mut self, modifier: &'static str, change: impl FnOnce(&mut Draft)) -> Self {
        self.parts.refuse_of_helper(modifier);
        self.last(change)
    }
}

// These are compiled once, and not for each closure of a definition.
impl Parts {
    fn push_body(&mut self, id: String, body: Body) {
        self.drafts.push(Draft::new(id, Verb::RunBody(RunBody { body })));
    }

    fn last(&mut self, change: &mut dyn FnMut(&mut Draft)) {
        match self.drafts.last_mut() {
            Some(draft) => change(draft),
            // Only a sequence without `After` has no last step, and modifiers need `After`.
            None => self.problems.push("a modifier comes before the first step".to_owned()),
        }
    }

    fn once(&mut self, modifier: &'static str, change: &mut dyn FnMut(&mut Draft)) {
        self.last(&mut |draft| {
            if draft.called.contains(&modifier) {
                draft.problem(|| {
                    format!(
                        "it has {modifier} twice, of which a helper may have set the first; keep one of them"
                    )
                });
            }
            draft.called.push(modifier);
            change(draft);
        });
    }

    fn refuse_of_helper(&mut self, modifier: &str) {
        self.last(&mut |draft| {
            if matches!(draft.verb, Verb::Block(_)) {
                draft.problem(|| {
                    format!(
                        "it consists of several steps, so it cannot have {modifier}; set it on one of them"
                    )
                });
            }
        });
    }

    fn set_output(&mut self, output: Output) {
        self.refuse_of_helper("`output`");
        let mut output = Some(output);
        self.last(&mut |draft| {
            if let Some(body) = body_of(draft) {
                body.output = output.take();
            }
        });
    }
}

impl<D, P, A: Clone, L> Sequence<D, P, A, L> {
    /// An empty branch of a container.
    fn inner<Q>(&self) -> Sequence<D, Q, A> {
        Sequence { parts: Box::default(), app: self.app.clone(), types: PhantomData }
    }

    /// The steps that this closure adds to a new branch.
    fn steps_of<Q, B: Branch<D, Q, A>>(&mut self, body: impl FnOnce(Sequence<D, Q, A>) -> B) -> Vec<Draft> {
        let Drafts { drafts, problems } = body(self.inner()).into_drafts();
        self.parts.problems.extend(problems);
        drafts
    }
}

/// Gives a closure over the data an item that it does not take.
fn on_data<D, R>(
    f: impl Fn(&D) -> R + Send + Sync + 'static,
) -> impl Fn(&D, &IgnoredAny) -> R + Send + Sync + 'static {
    move |data, _| f(data)
}

/// The counterpart of [`on_data`] in a for-each.
fn on_item<D, T, R>(
    f: impl Fn(&D, &T) -> R + Send + Sync + 'static,
) -> impl Fn(&D, &T) -> R + Send + Sync + 'static {
    f
}

/// Gives a closure that writes into the data an item that it does not take.
fn on_left<S, D>(
    f: impl Fn(S, &mut D) + Send + Sync + 'static,
) -> impl Fn(S, &mut D, &IgnoredAny) + Send + Sync + 'static {
    move |left, data, _| f(left, data)
}

/// The counterpart of [`on_left`] in a for-each.
fn on_left_and_item<S, D, T>(
    f: impl Fn(S, &mut D, &T) + Send + Sync + 'static,
) -> impl Fn(S, &mut D, &T) + Send + Sync + 'static {
    f
}
