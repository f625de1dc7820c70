use std::{any::Any, fmt, time::Duration};

/// Fencing token: the right to write an instance. A claim or a start issues the token, and every
/// [`commit_step`](super::StepStore::commit_step) is checked against it. Every change of owner raises the
/// token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// A host that is registered as a possible owner of this store's instances, for as long as this value lives.
///
/// Any number of owners, in one process or several, may work on one store. An instance has at most one owner at
/// a time. Every change of owner raises the instance's fencing token, and a commit with an older token writes
/// nothing.
///
/// * An owner is *dead* when this value was dropped or its process ended. Other hosts notice a dead owner at
///   once, although nothing is written.
/// * An owner is *unresponsive* (frozen) when, for the duration of its [`lease`](Self::lease), an observer has
///   seen neither a commit of the owner's instances nor a [`heartbeat`](super::StepStore::heartbeat). An owner
///   becomes unresponsive when its process is suspended or hangs. The observer measures the time with its own
///   monotonic clock. An observer that was suspended itself counts only the time in which it was observing.
///
/// The instances of a dead or unresponsive owner become due, and other owners can claim them.
pub struct Owner {
    id: u64,
    lease: Option<Duration>,
    _alive: Box<dyn Any + Send + Sync>,
}

impl Owner {
    /// For implementations of stores: an owner with this `id` and without a lease. The owner is alive until
    /// `alive` is dropped.
    pub fn new(id: u64, alive: impl Any + Send + Sync) -> Self {
        Self { id, lease: None, _alive: Box::new(alive) }
    }

    /// For implementations of stores: the same owner with a [`lease`](Self::lease).
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// The id of the owner, which is unique among all owners that this store has ever had.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The longest time without a sign of life of this owner. After this time, other owners take over its
    /// instances. Every commit of one of its instances is a sign of life. If there is no commit for a third of
    /// the lease, send a [`heartbeat`](super::StepStore::heartbeat). `None` means that owners of this store can
    /// be dead, but never count as unresponsive.
    #[must_use]
    pub fn lease(&self) -> Option<Duration> {
        self.lease
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").field("id", &self.id).field("lease", &self.lease).finish_non_exhaustive()
    }
}
