use std::{marker::PhantomData, sync::Arc};

use super::{Body, Data, Definition, Each, Item, Policy, Task, program::Draft, task::Source};
use crate::{
    Result,
    executor::{ForEach, Primitive, RunBody},
};

/// Builds a [`Definition`]: the main path, step by step.
///
/// Each step has a stable id, unique within the definition: stored instances find their place by it, so it stays the
/// same when steps are added, moved or renamed. (An id made up from the position would change with every step put in
/// before it; that is why there are none.)
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
pub struct WorkflowBuilder<D> {
    id: String,
    version: u32,
    main: Sequence<D, ()>,
}

/// Steps that follow one another: the main path, or the body of a container. `I` is the item at hand.
pub struct Sequence<D, I> {
    drafts: Vec<Draft>,
    types: PhantomData<fn(D, I)>,
}

impl<D: Data> WorkflowBuilder<D> {
    /// Begins a definition. An instance runs the version that it was started with.
    pub fn new(id: impl Into<String>, version: u32) -> Self {
        Self { id: id.into(), version, main: Sequence::new() }
    }

    /// Then this step.
    #[must_use]
    pub fn then<S: Send + 'static, K: Source<S, D, ()>>(
        mut self,
        id: impl Into<String>,
        task: Task<S, D, (), K>,
    ) -> Self {
        self.main = self.main.then(id, task);
        self
    }

    /// Then the steps of `body`, once for each item.
    #[must_use]
    pub fn for_each<T: Item>(
        mut self,
        id: impl Into<String>,
        items: Each<D, (), T>,
        body: impl FnOnce(Sequence<D, T>) -> Sequence<D, T>,
    ) -> Self {
        self.main = self.main.for_each(id, items, body);
        self
    }

    /// The finished definition, checked.
    ///
    /// # Errors
    /// [`InvalidDefinition`](crate::WfeError::InvalidDefinition), naming the step: an id is empty, used twice, or has
    /// `/` or `#` in it; a for-each has no steps or a limit of 0; a retry policy makes no sense; there are no steps.
    pub fn build(self) -> Result<Definition> {
        Definition::assemble::<D>(&self.id, self.version, self.main.drafts)
    }
}

impl<D: Data, I: Item> Sequence<D, I> {
    fn new() -> Self {
        Self { drafts: Vec::new(), types: PhantomData }
    }

    /// Then this step.
    #[must_use]
    pub fn then<S: Send + 'static, K: Source<S, D, I>>(
        mut self,
        id: impl Into<String>,
        task: Task<S, D, I, K>,
    ) -> Self {
        let (policy, name) = (task.policy.clone(), task.name.clone());
        let primitive = Arc::new(RunBody::new(task.into_body()));
        self.drafts.push(Draft { id: id.into(), name, policy, primitive, branches: Vec::new() });
        self
    }

    /// Then the steps of `body`, once for each item.
    #[must_use]
    pub fn for_each<T: Item>(
        mut self,
        id: impl Into<String>,
        items: Each<D, I, T>,
        body: impl FnOnce(Sequence<D, T>) -> Sequence<D, T>,
    ) -> Self {
        let (source, limit, policy, name): (Body, usize, Policy, Option<String>) = items.into_parts();
        let primitive: Arc<dyn Primitive> = Arc::new(ForEach::new(source, limit));
        let branches = vec![body(Sequence::new()).drafts];
        self.drafts.push(Draft { id: id.into(), name, policy, primitive, branches });
        self
    }
}
