//! The builder of definitions. Each file contains the builder methods of one subject.

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

/// Builds a [`Definition`], beginning with its main path. The methods of [`Sequence`] add the steps.
///
/// Each step has a stable id, unique within the definition. Stored instances refer to steps by these ids, so an
/// id must stay the same when steps are added, moved or given another name. (For this reason, the builder does
/// not derive ids from positions: a new step would change the ids of all steps after it.)
///
/// Closures in a definition get the data and the item of the enclosing for-each (`()` on the main path).
/// Closures that compute conditions, keys, times or inputs must be quick, because they run on the engine's
/// thread. If a closure panics, the step fails, as if its body had panicked.
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

/// A sequence of steps: the main path ([`WorkflowBuilder`]), or a branch of a container. `D` is the data of the
/// instance, and `I` is the item of the enclosing for-each (`()` on the main path).
pub struct Sequence<D, I, At = Inside> {
    at: At,
    drafts: Vec<Draft>,
    /// The errors found so far. `build` returns the first error.
    problems: Vec<String>,
    types: PhantomData<fn(D, I)>,
}

/// Marks a [`Sequence`] that is inside a container.
pub struct Inside(());

/// Marks the [`Sequence`] that is the main path.
pub struct Main {
    id: String,
    version: u32,
    deadline: Option<Duration>,
}

impl<D: Data> WorkflowBuilder<D> {
    /// Begins a definition with this id and version. Versions begin with 1. An instance runs the version that
    /// it was started with, until it ends.
    pub fn new(id: impl Into<String>, version: u32) -> Self {
        let at = Main { id: id.into(), version, deadline: None };
        Self { at, drafts: Vec::new(), problems: Vec::new(), types: PhantomData }
    }

    /// Limits the time that an instance may take from its start to its end. By default, there is no limit.
    ///
    /// An instance that takes longer is cancelled: its open sagas are compensated, and it fails with the code
    /// `deadline`. The deadline of a suspended instance takes effect when the instance is resumed.
    /// [`build`](Self::build) refuses a deadline of zero.
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
            self.problems.push("its deadline is 0; it must be longer".to_owned());
        }
        self.at.deadline = Some(limit);
        self
    }

    /// Checks the definition and returns it.
    ///
    /// # Errors
    /// [`InvalidDefinition`](crate::WfeError::InvalidDefinition), which names the step if a step causes the
    /// error:
    ///
    /// * The definition's id is empty or longer than
    ///   [`LONGEST_DEFINITION_ID`](crate::limits::LONGEST_DEFINITION_ID), its version is 0, or it has no steps.
    /// * A step's id is empty, is used twice, or contains `/` or `#`.
    /// * A branch, a fallback or a compensation has no steps, or a step cannot be reached.
    /// * The target of a go-to does not exist, or is inside a container that the go-to is not in.
    /// * A limit, a timeout, an interval or a retry policy is out of range.
    /// * A step outside of a saga has a compensation.
    /// * A setting would have no effect, such as the first of two fallbacks.
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

    /// Returns the steps that this closure adds to a new branch.
    fn body<T: Item>(&mut self, body: impl FnOnce(Sequence<D, T>) -> Sequence<D, T>) -> Vec<Draft> {
        let body = body(Sequence::inside());
        self.problems.extend(body.problems);
        body.drafts
    }

    /// Adds a container with one branch.
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
    /// Returns the steps that this closure adds to a new branch, and the errors found in them.
    pub(in crate::definition) fn built(body: impl FnOnce(Self) -> Self) -> (Vec<Draft>, Vec<String>) {
        let body = body(Self::inside());
        (body.drafts, body.problems)
    }

    pub(crate) fn inside() -> Self {
        Self { at: Inside(()), drafts: Vec::new(), problems: Vec::new(), types: PhantomData }
    }
}
