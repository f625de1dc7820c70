//! Locks the mutexes that protect WFE's own state.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, even after a thread has panicked while it held the lock.
///
/// Use this function only for state that is consistent after each statement that changes it. If other code, for
/// example a user's `Drop` or `Clone`, then panics while the lock is held, the state is still consistent. So later
/// calls can use the state, and need not panic too.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_whose_holder_panicked_is_given_with_what_it_holds() {
        let mutex = Mutex::new(1);
        let panicked = std::panic::catch_unwind(|| {
            *lock(&mutex) = 2;
            let _held = lock(&mutex);
            panic!("meant to happen");
        });
        assert!(panicked.is_err() && mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 2);
    }
}
