//! What goes through the door of the engine: orders, which keep the order of the program and have an answer. What merges
//! are the [notifications](super::state::notifications).

use tokio::sync::{oneshot, watch};
use wfe_core::traits::{Claimed, Loaded};

use super::state::{notifications::Permit, outcome::Idle, shared::AtWork};

/// What a caller orders of the engine.
pub(in crate::engine) enum Order {
    /// Run this instance, which was stored just now.
    Start(Box<NewInstance>),
    /// Answer when nothing can happen any more by itself.
    Idle(oneshot::Sender<Idle>, Permit),
    /// End: let running bodies end within the grace time, then answer. Sent in [`Phase::Draining`].
    Stop(oneshot::Sender<()>),
}

/// An instance to run, as it was stored.
pub(in crate::engine) struct NewInstance {
    pub claimed: Claimed,
    pub loaded: Loaded,
    pub work: AtWork,
    pub permit: Permit,
}

/// How far the host is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// It runs.
    Running,
    /// No body begins any more; those that run may end.
    Draining,
    /// The grace time is over.
    Closing,
}

pub(in crate::engine) type PhaseWatch = watch::Receiver<Phase>;
