use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use wfe_core::logging;

/// Which definitions that stored instances need, and that are not registered here, have been reported.
#[derive(Default)]
pub(in crate::engine) struct Unregistered(Mutex<HashSet<(String, u32)>>);

impl Unregistered {
    /// This instance needs this definition, which is not registered here. It is logged once for each definition and
    /// version, however many instances need it: they all wait for the same.
    pub fn report(&self, definition: &str, version: u32, instance: &str) {
        // Nothing panics while holding it; if it did, the set would still be whole.
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.insert((definition.to_owned(), version)) {
            drop(reported);
            logging::warn!(
                definition,
                version,
                instance,
                "instances wait for a definition that is not registered with this host"
            );
        }
    }
}
