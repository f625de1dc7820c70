//! The kinds of steps, one a file.

mod for_each;
mod run_body;

pub(crate) use for_each::ForEach;
pub use for_each::ForEachProgress;
pub(crate) use run_body::RunBody;

pub(super) use for_each::Window;
