//! How processes share one database file: which owners are alive, which process writes next, and how hosts are notified of
//! commits.

pub(crate) mod change_signal;
pub(crate) mod fair_lock;
pub(crate) mod freeze_detector;
pub(crate) mod lock_files;
pub(crate) mod owner_files;
pub(crate) mod owners;
