use std::sync::Arc;

use super::{Data, Inline, Item, OnFailure, Retry, Task, inline_item};
use crate::program::{Body, Policy};

/// What a for-each goes over, and how: one item after the other unless [`parallel`](Self::parallel) says otherwise.
///
/// The items are computed once, when the for-each begins, and stored; neither a crash nor a retry changes them.
/// `O` is the item of the for-each around this one (`()` on the main path), `T` its own.
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
///         // Listed by a body of its own.
///         each_from(inline(|_, tree: Arc<Tree>| async move { Ok(vec![format!("{}/a", tree.root)]) })).parallel(4),
///         |folder| {
///             folder.for_each(
///                 "files",
///                 // From the folder, the item of the for-each around.
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

/// Over items taken from the data. The closure must be quick; [`each_from`] is for what takes time.
pub fn each<D: Data, O: Item, T: Item>(
    items: impl Fn(&D) -> Vec<T> + Send + Sync + 'static,
) -> Each<D, O, T> {
    each_in(move |data, _: &O| items(data))
}

/// As [`each`], for a for-each inside another one: the closure gets the outer item too.
pub fn each_in<D: Data, O: Item, T: Item>(
    items: impl Fn(&D, &O) -> Vec<T> + Send + Sync + 'static,
) -> Each<D, O, T> {
    let items = Arc::new(items);
    each_from(inline_item(move |_, data: Arc<D>, outer: O| {
        let items = items.clone();
        async move { Ok(items(&data, &outer)) }
    }))
}

/// Over items that a body of its own computes: listing a folder, say. The body is a step like any other, with its
/// retries; its output closures are not called.
#[must_use]
pub fn each_from<D: Data, O: Item, T: Item>(
    items: Task<Vec<T>, D, O, Inline<Vec<T>, D, O>>,
) -> Each<D, O, T> {
    Each { items, limit: 1 }
}

impl<D: Data, O: Item, T: Item> Each<D, O, T> {
    /// At most this many items at once; 0 is refused when the definition is built.
    #[must_use]
    pub fn parallel(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// What people call the for-each; by default its id.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.items.name = Some(name.into());
        self
    }

    /// Whether computing the items is tried again after a failure; by default never.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.items.policy.retry = retry;
        self
    }

    /// What happens when the items could not be computed; by default the instance ends as failed.
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
