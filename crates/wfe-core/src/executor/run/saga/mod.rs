//! Sagas: the log of completed steps, and their compensation.

pub(super) mod awaiting;
pub(in crate::executor) mod closing;
pub(super) mod compensate;
pub(in crate::executor) mod log;
pub(in crate::executor) mod state;
