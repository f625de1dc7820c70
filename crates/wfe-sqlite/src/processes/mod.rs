//! How processes share one database file: who lives, whose turn it is to write, and who is told of what.

pub(crate) mod change_signal;
pub(crate) mod fair_lock;
pub(crate) mod freeze_detector;
pub(crate) mod lock_files;
pub(crate) mod owner_files;
pub(crate) mod owners;
