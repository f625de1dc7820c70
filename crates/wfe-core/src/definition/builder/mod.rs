//! The builder. Its verbs are told apart by what they are about, one file each.

mod branching;
mod external_tasks;
mod go_to;
mod modifiers;
mod saga;
mod steps;
mod waiting;

use std::{marker::PhantomData, time::Duration};

use super::{Data, Definition, Item, draft::Draft};
use crate::{Result, WfeError, program::Verb};

pub use branching::{Branches, Choice, Decision};

/// Builds a [`Definition`]: the main path, step by step. Its verbs are those of every [`Sequence`].
///
/// Each step has a stable id, unique within the definition: stored instances find their place by it, so it stays the
/// same when steps are added, moved or renamed. (An id made up from the position would change with every step put in
/// before it; that is why there are none.)
///
/// Closures in a definition take the data and the item of the for-each around the step (`()` on the main path). Those that
/// decide something (conditions, keys, times, mappings) must be quick: they run on the engine's thread. If one panics,
/// the step has failed, as if its body had.
///
/// ```
/// use std::sync::Arc;
/// use serde::{Deserialize, Serialize};
/// use wfe_core::definition::{WorkflowBuilder, each, inline, inline_item};
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Order { skus: Vec<u32>, total: u32 }
///
/// let definition = WorkflowBuilder::<Order>::new("order", 1)
///     .for_each("price", each(|order: &Order| order.skus.clone()).parallel(8), |sku| {
///         sku.then(
///             "look-up",
///             inline_item(|_, _, sku: u32| async move { Ok(sku * 10) })
///                 .output(|cents, order: &mut Order| order.total += cents),
///         )
///     })
///     .then("charge", inline(|_, order: Arc<Order>| async move { Ok(order.total) }))
///     .build()?;
/// # Ok::<(), wfe_core::WfeError>(())
/// ```
pub type WorkflowBuilder<D> = Sequence<D, (), Main>;

/// Steps that follow one another: the main path ([`WorkflowBuilder`]), or the body of a container. `I` is the item at
/// hand.
pub struct Sequence<D, I, At = Inside> {
    at: At,
    drafts: Vec<Draft>,
    /// What was asked for and makes no sense; told when the definition is built.
    problems: Vec<String>,
    types: PhantomData<fn(D, I)>,
}

/// Where a [`Sequence`] stands: inside of a container.
pub struct Inside(());

/// Where a [`Sequence`] stands: it is the main path.
pub struct Main {
    id: String,
    version: u32,
    deadline: Option<Duration>,
}

impl<D: Data> WorkflowBuilder<D> {
    /// Begins a definition. An instance runs the version that it was started with; versions begin with 1.
    pub fn new(id: impl Into<String>, version: u32) -> Self {
        let at = Main { id: id.into(), version, deadline: None };
        Self { at, drafts: Vec::new(), problems: Vec::new(), types: PhantomData }
    }

    /// How long an instance may take from its start to its end; by default as long as it likes. One that takes longer is
    /// cancelled, open sagas are undone, and it ends as failed with the code `deadline`. Zero is refused when the
    /// definition is built. A suspended instance meets its deadline when it is resumed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("quick", 1)
    ///     .deadline(Duration::from_hours(1))
    ///     .then("work", inline(|_, _| async { Ok(()) }))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        if limit.is_zero() {
            self.problems.push("its deadline is 0, it must be longer".to_owned());
        }
        self.at.deadline = Some(limit);
        self
    }

    /// The finished definition, checked.
    ///
    /// # Errors
    /// [`InvalidDefinition`](crate::WfeError::InvalidDefinition), naming the step: an id is empty, used twice, or has
    /// `/` or `#` in it; a body has no steps; a step cannot be reached; a go-to leads to no step, or into something that
    /// it is not in; a limit, an interval or a retry policy makes no sense; there is a compensation without a saga;
    /// something that is said would have no effect (a second fallback, say); the definition's id is empty or longer than
    /// [`LONGEST_DEFINITION_ID`](crate::limits::LONGEST_DEFINITION_ID); the version is 0; or there are no steps.
    pub fn build(self) -> Result<Definition> {
        let Main { id, version, deadline } = self.at;
        if let Some(problem) = self.problems.into_iter().next() {
            return Err(WfeError::InvalidDefinition { definition: id, problem });
        }
        Definition::assemble::<D>(&id, version, deadline, self.drafts)
    }
}

impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// Adds a step.
    fn push(mut self, draft: Draft) -> Self {
        self.drafts.push(draft);
        self
    }

    /// Adds a step without branches.
    fn leaf(self, id: impl Into<String>, verb: Verb) -> Self {
        self.push(Draft::new(id, verb))
    }

    /// The steps of a body, built by its closure.
    fn body<T: Item>(&mut self, body: impl FnOnce(Sequence<D, T>) -> Sequence<D, T>) -> Vec<Draft> {
        let body = body(Sequence::inside());
        self.problems.extend(body.problems);
        body.drafts
    }

    /// Adds a container with one body.
    fn container<T: Item>(
        mut self,
        id: impl Into<String>,
        verb: Verb,
        body: impl FnOnce(Sequence<D, T>) -> Sequence<D, T>,
    ) -> Self {
        let mut draft = Draft::new(id, verb);
        draft.branches.push(self.body(body));
        self.push(draft)
    }
}

impl<D, I> Sequence<D, I> {
    /// The steps that this closure adds, and what makes no sense about them.
    pub(in crate::definition) fn built(body: impl FnOnce(Self) -> Self) -> (Vec<Draft>, Vec<String>) {
        let body = body(Self::inside());
        (body.drafts, body.problems)
    }

    pub(crate) fn inside() -> Self {
        Self { at: Inside(()), drafts: Vec::new(), problems: Vec::new(), types: PhantomData }
    }
}
