//! What a host asks of its engine.

use tokio::sync::oneshot;
use wfe_core::traits::{Claimed, Loaded};

use crate::engine::state::{outcome::Idle, shared::AtWork};

/// What a host asks of its engine.
pub(crate) enum Command {
    /// Run this instance, which was started just now.
    Run(Box<Begin>),
    /// Somebody asked something of this instance.
    Wake(String),
    /// An instance was stored for which there was no room.
    Look,
    /// Definitions were registered: stored instances may wait for them.
    Registered,
    /// It is not known whether the store gave this host an instance that nobody here works on.
    Doubt,
    /// Tell when nothing can happen any more by itself.
    Idle(oneshot::Sender<Idle>),
    /// End: let running bodies end within the grace time, then answer. Sent in [`Phase::Draining`](super::message::Phase::Draining).
    Stop(oneshot::Sender<()>),
}

/// An instance to run, as it was stored.
pub(crate) struct Begin {
    pub claimed: Claimed,
    pub loaded: Loaded,
    pub work: AtWork,
}
