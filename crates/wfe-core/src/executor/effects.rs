//! Effects: what the host does after a commit is stored.

use tokio_util::sync::CancellationToken;

use super::{Job, LifecycleEvent};

/// What the host does after a commit is stored, and not before.
#[derive(Default)]
pub struct Effects {
    /// Bodies to run. Report the end of each to [`Run::ended`](super::Run::ended); if one is dropped without a result,
    /// to [`Run::body_over`](super::Run::body_over).
    pub jobs: Vec<Job>,
    /// Items to read. Hand them to [`Run::items`](super::Run::items).
    pub requests: Vec<ItemRequest>,
    /// Whether to look for events: the store may have events for waits that the commit opened, that were passed over
    /// until now, or whose time limit has passed. If the `Run` goes on, read what the store has and hand its deliveries
    /// to [`Run::deliver`](super::Run::deliver). If it was released, acquire the instance again (the store refuses if
    /// no event is there).
    pub listen: bool,
    /// The open waits for which to look; `None`: all of them.
    pub waits: Option<Vec<String>>,
    /// Ids of the events that the commit consumed. They can be marked as processed, unless another wait needs them
    /// ([`finish_event`](crate::traits::StepStore::finish_event)).
    pub consumed: Vec<String>,
    /// Other instances that have something to do now: children that were begun or requested to end, and the parent of a
    /// child that has ended. The engine finds them without this too, but later.
    pub wakes: Vec<String>,
    /// Whether more follows without any input: advance and commit again at once.
    pub again: bool,
    /// Lifecycle events to publish, in this order: those of the instance, and the starts of its children.
    pub events: Vec<LifecycleEvent>,
    /// Tokens to fire: those of bodies whose results are no longer wanted.
    pub cancelled: Vec<CancellationToken>,
    /// `Some` if the commit released the instance: the `Run` is done. The inner value is when to look at the instance
    /// again, in milliseconds; `None`: it waits for something other than time, or has ended.
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
