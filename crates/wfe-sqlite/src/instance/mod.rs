//! Instances in memory: the cached copy of a stored instance, and the difference between it and the instance
//! to store.

pub(crate) mod cache;
pub(crate) mod diff;
