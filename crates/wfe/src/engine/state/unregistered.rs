use std::{collections::HashSet, sync::Mutex};

use wfe_core::{logging, sync::lock};

/// Which definitions that stored instances need, and that are not registered here, have been reported.
#[derive(Default)]
pub(in crate::engine) struct Unregistered(Mutex<HashSet<(String, u32)>>);

impl Unregistered {
    /// This instance needs this definition, which is not registered here. It is logged once for each definition and
    /// version, however many instances need it: they all wait for the same.
    pub fn report(&self, definition: &str, version: u32, instance: &str) {
        let mut reported = lock(&self.0);
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
