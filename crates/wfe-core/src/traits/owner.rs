use std::{any::Any, fmt, time::Duration};

/// Who may write an instance: given out with every change of owner, checked inside every
/// [`commit_step`](super::StepStore::commit_step). It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// A host that may own instances of this store, for as long as this value lives.
///
/// Dropping it, or the death of its process, makes everything it owned claimable by others; nothing has to be
/// written for that. A process that stands still, frozen or hung, does not die: its instances become claimable when it
/// has given no sign of life for its [`lease`](Self::lease).
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

    /// How long the owner may give no sign of life before others take over what it owns. Every commit of an instance
    /// that it owns is such a sign; where none comes for a third of this, send a
    /// [`heartbeat`](super::StepStore::heartbeat). `None`: this store judges by life and death alone.
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
