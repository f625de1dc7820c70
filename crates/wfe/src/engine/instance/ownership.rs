//! That an instance is this host's.

use std::time::Duration;

use wfe_core::traits::Fence;

use super::commit;
use crate::engine::{message::PhaseWatch, state::shared::Shared};

/// That an instance is this host's: with this fencing token, and when that was last seen, by the monotonic clock; and by
/// which number it runs as a suspect, if it is one.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Ownership {
    pub(super) fence: Fence,
    pub(super) seen: Duration,
    pub suspect: Option<u64>,
}

impl Ownership {
    /// A process that was frozen for its lease has lost what it owned, and no commit may come between here and the next body,
    /// which would show it. Half of the lease, since it runs from a sign of life that is older than what was seen. That long ago
    /// is also when a slow store was asked; then it counts whether the host was frozen meanwhile.
    pub fn may_be_lost(&self, shared: &Shared) -> bool {
        let now = shared.options.clock.monotonic();
        shared.owner().and_then(|owner| owner.lease()).is_some_and(|lease| {
            now.saturating_sub(self.seen) >= lease / 2 && !shared.heartbeats.is_steady(self.seen, now, lease)
        })
    }

    /// Whether the instance is still this host's. The store is read only if it may not be; if that fails, it
    /// counts as not.
    pub async fn lasts(&self, shared: &Shared, phase: &PhaseWatch, id: &str) -> bool {
        if !self.may_be_lost(shared) {
            return true;
        }
        let pending = commit::pending(shared, phase, id, Some(&[])).await;
        pending.is_some_and(|pending| pending.is_ok_and(|pending| pending.fence == self.fence))
    }
}
