use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use wfe_core::logging;

/// Which definitions that stored instances need, and that are not registered here, have been told of.
#[derive(Default)]
pub(crate) struct Missing(Mutex<HashSet<(String, u32)>>);

impl Missing {
    /// This instance needs this definition, which is not registered here. It is told once for each definition and version,
    /// however many instances need it: they all wait for the same.
    pub fn tell(&self, definition: &str, version: u32, instance: &str) {
        // Nothing panics while holding it; if it did, the set would still be whole.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert((definition.to_owned(), version)) {
            drop(told);
            logging::warn!(
                definition,
                version,
                instance,
                "instances wait for a definition that is not registered with this host"
            );
        }
    }
}
