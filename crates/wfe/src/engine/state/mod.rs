//! What all parts of an engine share.

pub(crate) mod claim_count;
pub(crate) mod completions;
pub(crate) mod heartbeat;
pub(crate) mod notifications;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod shared;
pub(crate) mod start_barrier;
pub(crate) mod unregistered;
