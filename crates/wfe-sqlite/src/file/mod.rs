//! The database file while it is open: is it still the one that was opened, and does nobody take its log away?

pub(crate) mod companions;
pub(crate) mod first_page;
mod guard;
pub(crate) mod identity;
#[cfg(unix)]
mod index;
#[cfg(unix)]
mod locks;
pub(crate) mod log;
mod loss;
pub(crate) mod network_fs;
pub(crate) mod open;
pub(crate) mod preflight;
#[cfg(unix)]
mod seen;
pub(crate) mod sidecars;
#[cfg(unix)]
mod stat;
#[cfg(all(test, target_os = "linux"))]
mod tests;

pub(crate) use guard::{Guard, Hold, Watch};
pub(crate) use loss::Loss;
