//! An instance in memory: the copy that was read, and the difference to what is to be stored.

pub(crate) mod cache;
pub(crate) mod diff;
