//! Sends requests to SQLite and returns their results: the writer's thread, its batches, the readers, and the query
//! text.

pub(crate) mod admission;
pub(crate) mod execute;
pub(crate) mod group_commit;
pub(crate) mod outcome;
pub(crate) mod reader;
pub(crate) mod sql_text;
pub(crate) mod thread;
pub(crate) mod writer;
