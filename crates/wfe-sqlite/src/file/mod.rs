//! Checks and opens the database file, and guards it while it is open.

pub(crate) mod another;
pub(crate) mod first_page;
mod guard;
pub(crate) mod identity;
mod locks;
pub(crate) mod log;
mod loss;
pub(crate) mod network_fs;
pub(crate) mod open;
mod open_files;
pub(crate) mod preflight;
pub(crate) mod reading;
pub(crate) mod sidecar_names;
pub(crate) mod sidecars;
mod stat;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod wal_index;

pub(crate) use guard::{Guard, Hold, Watch};
pub(crate) use loss::Loss;
pub(crate) use wal_index::LastCommit;
