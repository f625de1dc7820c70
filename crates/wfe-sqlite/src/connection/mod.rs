//! From a request to the disk and back: the writer's thread, its batches, the readers, and the text that SQLite gets.

pub(crate) mod admission;
pub(crate) mod execute;
pub(crate) mod group_commit;
pub(crate) mod outcome;
pub(crate) mod reader;
pub(crate) mod sql_text;
pub(crate) mod thread;
pub(crate) mod writer;
