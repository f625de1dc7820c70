//! The state that all parts of an engine share.

pub(in crate::engine) mod completions;
pub(in crate::engine) mod heartbeat;
pub(in crate::engine) mod host_card;
pub(in crate::engine) mod notifications;
pub(in crate::engine) mod options;
pub(in crate::engine) mod outcome;
pub(in crate::engine) mod retention;
pub(in crate::engine) mod shared;
pub(in crate::engine) mod start_barrier;
pub(in crate::engine) mod unprocessed;
pub(in crate::engine) mod unregistered;
