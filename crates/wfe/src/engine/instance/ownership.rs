//! The ownership of an instance by this host.

use std::time::Duration;

use wfe_core::traits::Fence;

use super::commit;
use crate::engine::{message::PhaseWatch, state::shared::Shared};

/// The ownership of an instance by this host: the fencing token, and the reading of the monotonic clock when the
/// ownership was last confirmed. If the instance runs as a suspect, `suspect` is the number of its ticket.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Ownership {
    pub(super) fence: Fence,
    pub(super) seen: Duration,
    pub suspect: Option<u64>,
}

impl Ownership {
    /// Whether the ownership may be lost. A process that was unresponsive for the duration of its lease has lost its
    /// instances. The process could start the next body without noticing this, because there may be nothing to commit
    /// before the body starts. The limit is half of the lease, because the lease runs from a sign of life that is older
    /// than the last confirmation. The last confirmation may be older than this limit only because the store is slow.
    /// In this case, the heartbeats show whether the host was unresponsive meanwhile.
    pub fn may_be_lost(&self, shared: &Shared) -> bool {
        let now = shared.options.clock.monotonic();
        shared.owner().and_then(|owner| owner.lease()).is_some_and(|lease| {
            now.saturating_sub(self.seen) >= lease / 2 && !shared.heartbeats.is_steady(self.seen, now, lease)
        })
    }

    /// Whether this host still owns the instance. The store is read only if the ownership may be lost. If this read
    /// fails, the ownership counts as lost.
    pub async fn lasts(&self, shared: &Shared, phase: &PhaseWatch, id: &str) -> bool {
        if !self.may_be_lost(shared) {
            return true;
        }
        let pending = commit::pending(shared, phase, id, Some(&[])).await;
        pending.is_some_and(|pending| pending.is_ok_and(|pending| pending.fence == self.fence))
    }
}
