//! The orders to the engine: messages that keep the order in which the program sent them, and that get a reply.
//! Messages that merge are [notifications](super::state::notifications) instead.

use tokio::sync::{oneshot, watch};
use wfe_core::traits::{Claimed, Loaded};

use super::state::{notifications::Permit, outcome::Idle, shared::AtWork};

/// An order of a caller to the engine.
pub(in crate::engine) enum Order {
    /// Runs this new instance, which is already stored.
    Start(Box<NewInstance>),
    /// Sends a reply when the host is idle: when nothing more can happen automatically.
    Idle(oneshot::Sender<Idle>, Permit),
    /// Ends the engine: waits until the running bodies have ended, but no longer than the grace time, and then replies.
    /// Sent in [`Phase::Draining`].
    Stop(oneshot::Sender<()>),
}

/// A new instance that the engine has to run, in the state in which it was stored.
pub(in crate::engine) struct NewInstance {
    pub claimed: Claimed,
    pub loaded: Loaded,
    pub work: AtWork,
    pub permit: Permit,
}

/// The phase of the host between its start and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Phase {
    /// The host runs.
    Running,
    /// No more bodies start; running bodies may finish.
    Draining,
    /// The grace time is over.
    Closing,
}

pub(in crate::engine) type PhaseWatch = watch::Receiver<Phase>;
