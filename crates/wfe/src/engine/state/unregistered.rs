use std::{collections::HashSet, sync::Mutex};

use wfe_core::{logging, sync::lock};

/// Records which missing definitions have been reported: definitions that stored instances need but that are not
/// registered here.
#[derive(Default)]
pub(in crate::engine) struct Unregistered(Mutex<HashSet<(String, u32)>>);

impl Unregistered {
    /// Reports that this instance needs this definition, which is not registered here. The warning is logged once for
    /// each definition and version, however many instances need the definition.
    pub fn report(&self, definition: &str, version: u32, instance: &str) {
        let mut reported = lock(&self.0);
        if reported.insert((definition.to_owned(), version)) {
            drop(reported);
            logging::warn!(
                wfe.definition.id = definition,
                wfe.definition.version = version,
                wfe.instance.id = instance,
                "instances wait for a definition that is not registered with this host"
            );
        }
    }
}
