use std::sync::Arc;

use super::{Data, Inline, Item, OnFailure, Retry, Task, inline_item};
use crate::program::{Body, Policy};

/// The items of a for-each, and the number of items that run concurrently. [`each`], [`each_in`] and
/// [`each_from`] create an `Each`.
///
/// By default, the items run one after the other. With [`parallel`](Self::parallel), several items run
/// concurrently. The items are computed once, when the for-each starts, and stored, so neither a crash nor a
/// retry changes them. `O` is the item type of the enclosing for-each (`()` on the main path), and `T` is the
/// item type of this for-each.
///
/// ```
/// use std::sync::Arc;
/// use wfe_core::definition::{WorkflowBuilder, each_from, each_in, inline, inline_item};
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Tree { root: String }
///
/// let definition = WorkflowBuilder::<Tree>::new("count", 1)
///     .for_each(
///         "folders",
///         // A step body lists the folders.
///         each_from(inline(|_, tree: Arc<Tree>| async move { Ok(vec![format!("{}/a", tree.root)]) })).parallel(4),
///         |folder| {
///             folder.for_each(
///                 "files",
///                 // The files depend on the folder, which is the item of the outer for-each.
///                 each_in(|_: &Tree, folder: &String| vec![format!("{folder}/1"), format!("{folder}/2")]),
///                 |file| file.then("read", inline_item(|_, _: Arc<Tree>, file: String| async move { Ok(file.len()) })),
///             )
///         },
///     )
///     .build()?;
/// # Ok::<(), wfe_core::WfeError>(())
/// ```
pub struct Each<D, O, T> {
    pub(super) items: Task<Vec<T>, D, O, Inline<Vec<T>, D, O>>,
    pub(super) limit: usize,
}

/// Takes the items from the data. The closure must be quick; for longer work, use [`each_from`].
pub fn each<D: Data, O: Item, T: Item>(
    items: impl Fn(&D) -> Vec<T> + Send + Sync + 'static,
) -> Each<D, O, T> {
    each_in(move |data, _: &O| items(data))
}

/// Takes the items of a nested for-each from the data and from the item of the outer for-each. The closure must
/// be quick; for longer work, use [`each_from`].
pub fn each_in<D: Data, O: Item, T: Item>(
    items: impl Fn(&D, &O) -> Vec<T> + Send + Sync + 'static,
) -> Each<D, O, T> {
    let items = Arc::new(items);
    each_from(inline_item(move |_, data: Arc<D>, outer: O| {
        let items = items.clone();
        async move { Ok(items(&data, &outer)) }
    }))
}

/// Computes the items with the body of a task, such as one that lists a folder. The body runs like the body of
/// any step, with the task's retry policy. Output closures of the task are not called.
#[must_use]
pub fn each_from<D: Data, O: Item, T: Item>(
    items: Task<Vec<T>, D, O, Inline<Vec<T>, D, O>>,
) -> Each<D, O, T> {
    Each { items, limit: 1 }
}

impl<D: Data, O: Item, T: Item> Each<D, O, T> {
    /// Runs up to `limit` items concurrently. Building the definition fails if the limit is 0.
    #[must_use]
    pub fn parallel(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the display name of the for-each. By default, the name is the step's id.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.items.name = Some(name.into());
        self
    }

    /// Sets the retry policy for computing the items. By default, there is no retry.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.items.policy.retry = retry;
        self
    }

    /// Sets what happens when the items cannot be computed. By default, the instance fails.
    #[must_use]
    pub fn on_failure(mut self, behaviour: OnFailure) -> Self {
        self.items.policy.on_failure = Some(behaviour);
        self
    }

    pub(super) fn into_parts(self) -> (Body, usize, Policy, Option<String>) {
        let (policy, name) = (self.items.policy.clone(), self.items.name.clone());
        (self.items.into_items(), self.limit, policy, name)
    }
}
