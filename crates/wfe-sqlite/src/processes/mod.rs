//! How processes share one database file: who lives, whose turn it is to write, and who is told of what.

pub(crate) mod change_signal;
pub(crate) mod fair_lock;
pub(crate) mod freeze_detector;
pub(crate) mod lock_files;
pub(crate) mod owner_files;
pub(crate) mod owners;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one of them can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
