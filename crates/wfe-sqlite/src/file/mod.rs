//! The database file while it is open: is it still the one that was opened, and does nobody take its log away?

mod guard;
#[cfg(unix)]
mod index;
#[cfg(unix)]
mod locks;
mod loss;
#[cfg(unix)]
mod seen;
#[cfg(unix)]
mod stat;
#[cfg(all(test, target_os = "linux"))]
mod tests;

pub(crate) use guard::{Guard, Hold, Watch};
pub(crate) use loss::Loss;
