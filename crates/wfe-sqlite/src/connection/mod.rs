//! Runs requests on SQLite and returns their results: the writer's thread, its batches, and the readers.

pub(crate) mod admission;
pub(crate) mod aside;
pub(crate) mod execute;
pub(crate) mod group_commit;
pub(crate) mod outcome;
pub(crate) mod queue;
pub(crate) mod reader;
pub(crate) mod refusal;
pub(crate) mod thread;
pub(crate) mod writer;
