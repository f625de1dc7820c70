use std::{any::Any, fmt, time::Duration};

/// Fencing token: the right to write an instance. A claim or a start gives it out, and every
/// [`commit_step`](super::StepStore::commit_step) is checked against it. Every change of owner raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// A host, registered as a possible owner of this store's instances, for as long as this value lives.
///
/// Any number of owners, in one process or several, may work on one store. An instance has at most one owner at
/// a time. Every change of owner raises its fencing token, and a commit under an older token writes nothing.
///
/// * An owner is *dead* when this value was dropped or its process ended. Others see that at once; nothing has
///   to be written.
/// * An owner is *frozen* when an observer, by its own monotonic clock, has seen no commit of its instances and
///   no [`heartbeat`](super::StepStore::heartbeat) for its [`lease`](Self::lease): its process was suspended,
///   or hangs. An observer that was suspended itself counts only the time in which it looked.
///
/// The instances of a dead or frozen owner become due, and others can claim them.
pub struct Owner {
    id: u64,
    lease: Option<Duration>,
    _alive: Box<dyn Any + Send + Sync>,
}

impl Owner {
    /// For stores: an owner known by `id`, alive until `alive` is dropped, and without a lease.
    pub fn new(id: u64, alive: impl Any + Send + Sync) -> Self {
        Self { id, lease: None, _alive: Box::new(alive) }
    }

    /// For stores: the same owner with a [`lease`](Self::lease).
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// Unique among all owners that this store has ever had.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How long the owner may give no sign of life before others take over its instances. Every commit of one
    /// of its instances is such a sign. If none comes for a third of the lease, send a
    /// [`heartbeat`](super::StepStore::heartbeat). `None`: in this store, owners do not count as frozen, only
    /// as dead.
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
