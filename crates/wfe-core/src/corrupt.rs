use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
};

use crate::sync::lock;
use crate::{WfeError, logging};

/// The largest number of values that are remembered. An operator would repair far fewer values one by one, and
/// the memory for this many values is negligible.
const MOST: usize = 4096;

/// The corrupt values that were already reported. Stores and hosts use this set to report each corrupt value
/// only once, even if many reads find the value.
///
/// The set remembers at most 4096 values. When the set becomes full, one log entry says so. From then on, no
/// value counts as new.
#[derive(Debug, Default)]
pub struct CorruptValues(Mutex<HashSet<u64>>);

impl CorruptValues {
    /// Whether this is a [`Corrupt`](WfeError::Corrupt) error for a value that was not reported yet. The value
    /// is identified by its table, column and row. The call marks the value as reported.
    pub fn is_new(&self, error: &WfeError) -> bool {
        let WfeError::Corrupt { table, column, row, .. } = error else { return false };
        let mut hasher = DefaultHasher::new();
        (table, column, row).hash(&mut hasher);
        // No code panics while it holds the lock. Even if such code panicked, the set would still be
        // consistent.
        let mut known = lock(&self.0);
        let is_new = known.len() < MOST && known.insert(hasher.finish());
        if is_new && known.len() == MOST {
            logging::error!("{MOST} corrupt values were reported; further ones are not reported");
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrupt(row: usize, column: &'static str) -> WfeError {
        WfeError::Corrupt { table: "t", column, row: row.to_string(), message: String::new(), source: None }
    }

    #[test]
    fn a_value_is_new_once_until_the_set_is_full() {
        let known = CorruptValues::default();
        assert!(known.is_new(&corrupt(0, "a")) && !known.is_new(&corrupt(0, "a")));
        assert!(known.is_new(&corrupt(0, "b")), "another column of the same row");
        assert!(!known.is_new(&WfeError::Cancelled));
        let new = (0..2 * MOST).filter(|row| known.is_new(&corrupt(*row, "a"))).count();
        assert_eq!(new, MOST - 2);
    }
}
