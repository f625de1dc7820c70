//! Effects: the actions of the host after a commit is stored.

use tokio_util::sync::CancellationToken;

use super::{Job, LifecycleEvent};

/// The actions that the host carries out after a commit is stored, and not before.
#[derive(Default)]
pub struct Effects {
    /// Bodies to run. Report the end of each body to [`Run::ended`](super::Run::ended). If a body is dropped without a
    /// result, report that to [`Run::body_over`](super::Run::body_over).
    pub jobs: Vec<Job>,
    /// Items to read. Pass the items to [`Run::items`](super::Run::items).
    pub requests: Vec<ItemRequest>,
    /// Whether to read events from the store. The store may have events for waits that the commit opened, for waits
    /// whose events were held back until now (for example, during a suspension), or for waits whose time limit has
    /// passed. If the `Run` continues, read the deliveries from the store and pass them to
    /// [`Run::deliver`](super::Run::deliver). If the `Run` was released, acquire the instance again; the store refuses
    /// this if it has no event for the instance.
    pub listen: bool,
    /// The subscriptions whose events are to be read. `None` means all open subscriptions.
    pub waits: Option<Vec<String>>,
    /// Ids of the events that the commit consumed. These events can be marked as processed, unless another wait needs
    /// them ([`finish_event`](crate::traits::StepStore::finish_event)).
    pub consumed: Vec<String>,
    /// Other instances that have work to do now: children that were started or requested to end, and the parent if this
    /// instance has ended. Without this list, the engine would also find these instances, but later.
    pub wakes: Vec<String>,
    /// Whether the `Run` can continue without further input. If so, advance and commit again immediately.
    pub again: bool,
    /// Lifecycle events to publish, in this order: the events of the instance, and the starts of its children.
    pub events: Vec<LifecycleEvent>,
    /// Tokens to cancel: the tokens of bodies whose results are no longer wanted.
    pub cancelled: Vec<CancellationToken>,
    /// `Some` if the commit released the instance; the `Run` is then finished. The inner value is the next due time of
    /// the instance, in milliseconds since the Unix epoch. An inner `None` means that the instance has no due time: it
    /// waits for something other than a time, or has ended.
    pub released: Option<Option<i64>>,
}

/// Items that a for-each, or a saga that is being compensated, needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRequest {
    /// The key under which the items are stored: a pointer, or an entry of a saga log.
    pub container: String,
    /// Position of the first item.
    pub from: u64,
    /// The maximum number of items.
    pub limit: usize,
}
