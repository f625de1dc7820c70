//! What is to be done once a commit is stored.

use tokio_util::sync::CancellationToken;

use super::{Job, LifecycleEvent};

/// What is to be done once a commit is stored, and not before.
#[derive(Default)]
pub struct Effects {
    /// Bodies to run. Each one's end goes to [`Run::ended`](super::Run::ended); of one that is dropped without a result, to
    /// [`Run::body_over`](super::Run::body_over).
    pub jobs: Vec<Job>,
    /// Items to read. They go to [`Run::items`](super::Run::items).
    pub requests: Vec<ItemRequest>,
    /// Events may be there for waits that the commit has opened, that were passed over until now, or whose time limit has
    /// passed: if the `Run` goes
    /// on, read what the store has and hand its deliveries to [`Run::deliver`](super::Run::deliver); if it was released, acquire the
    /// instance again (which comes to nothing if no event is there).
    pub listen: bool,
    /// For which of the open waits they may be there; `None`: for any of them.
    pub waits: Option<Vec<String>>,
    /// Ids of the events that the commit consumed: they can be marked as processed, unless another wait needs them
    /// ([`finish_event`](StepStore::finish_event)).
    pub consumed: Vec<String>,
    /// Other instances that have something to do now: children that were begun or asked to end, the parent of one that has
    /// ended. They are found without this too, but later.
    pub wakes: Vec<String>,
    /// More follows by itself: commit again at once, whatever else happens.
    pub again: bool,
    /// To publish, in this order: what has happened to the instance, and the starts of children.
    pub events: Vec<LifecycleEvent>,
    /// Tokens of bodies whose results are no longer wanted, to fire.
    pub cancelled: Vec<CancellationToken>,
    /// The commit gave the ownership back: the `Run` is done. Inside, when to look at the instance again, in
    /// milliseconds (`None`: it waits for something other than time, or has ended).
    pub released: Option<Option<i64>>,
}

/// Items that a for-each, or a saga that is undone, needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRequest {
    /// Under what they are stored: a pointer, or an entry of a log.
    pub container: String,
    /// Position of the first one.
    pub from: u64,
    /// How many at most.
    pub limit: usize,
}
