//! What the store knows of an instance in memory: as it was read, and what has changed in it since.

pub(crate) mod cache;
pub(crate) mod diff;
