//! Coordinates the processes that share one database file: finds out which owners are alive, decides which process
//! writes next, and notifies hosts of commits.

pub(crate) mod change_signal;
pub(crate) mod fair_lock;
mod file_events;
pub(crate) mod freeze_detector;
pub(crate) mod host_card;
pub(crate) mod lock_files;
pub(crate) mod owner_files;
pub(crate) mod owner_liveness;
