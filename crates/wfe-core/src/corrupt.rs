use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use crate::{WfeError, logging};

/// So many corrupt values are told apart: far more than anybody mends one by one, in memory that nobody notices.
const MOST: usize = 4096;

/// For stores and hosts: which corrupt values were reported already. One that is met again and again, by every read of many
/// rows, is to be reported once.
///
/// Its size is bounded: after 4096 values, no further one counts as new, which it logs once.
#[derive(Debug, Default)]
pub struct CorruptValues(Mutex<HashSet<u64>>);

impl CorruptValues {
    /// Whether this is a [`Corrupt`](WfeError::Corrupt) value of which nobody has asked this before, by its table, column and
    /// row.
    pub fn is_new(&self, error: &WfeError) -> bool {
        let WfeError::Corrupt { table, column, row, .. } = error else { return false };
        let mut hasher = DefaultHasher::new();
        (table, column, row).hash(&mut hasher);
        // Nothing panics while holding it; if it did, the set would still be whole.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.len() < MOST && known.insert(hasher.finish());
        if is_new && known.len() == MOST {
            logging::error!("{MOST} corrupt values were reported; further ones are left out without a word");
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
    fn a_value_is_new_once_and_so_many_are_told_apart() {
        let known = CorruptValues::default();
        assert!(known.is_new(&corrupt(0, "a")) && !known.is_new(&corrupt(0, "a")));
        assert!(known.is_new(&corrupt(0, "b")), "another column of the same row");
        assert!(!known.is_new(&WfeError::Cancelled));
        let new = (0..2 * MOST).filter(|row| known.is_new(&corrupt(*row, "a"))).count();
        assert_eq!(new, MOST - 2);
    }
}
