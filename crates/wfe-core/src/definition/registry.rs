use std::collections::BTreeMap;

use super::Definition;
use crate::{Result, WfeError};

/// The definitions that a host knows, by id and version.
#[derive(Debug, Default)]
pub struct Registry {
    definitions: BTreeMap<String, BTreeMap<u32, Definition>>,
}

impl Registry {
    /// Adds a definition.
    ///
    /// # Errors
    /// [`InvalidDefinition`](WfeError::InvalidDefinition): one of this id and version is there already.
    pub fn register(&mut self, definition: Definition) -> Result<()> {
        let versions = self.definitions.entry(definition.id().to_owned()).or_default();
        if versions.contains_key(&definition.version()) {
            return Err(WfeError::InvalidDefinition {
                definition: definition.id().to_owned(),
                problem: format!("version {} is registered already", definition.version()),
            });
        }
        versions.insert(definition.version(), definition);
        Ok(())
    }

    /// The definition of this id and version.
    #[must_use]
    pub fn get(&self, id: &str, version: u32) -> Option<&Definition> {
        self.definitions.get(id)?.get(&version)
    }

    /// The newest version of this id.
    #[must_use]
    pub fn newest(&self, id: &str) -> Option<&Definition> {
        self.definitions.get(id)?.values().next_back()
    }

    /// The definition of this id and version, or (`None`) of its newest version.
    #[must_use]
    pub fn find(&self, id: &str, version: Option<u32>) -> Option<&Definition> {
        version.map_or_else(|| self.newest(id), |version| self.get(id, version))
    }

    /// Id and version of every definition.
    #[must_use]
    pub fn keys(&self) -> Vec<(String, u32)> {
        let all = self.definitions.values().flat_map(BTreeMap::values);
        all.map(|d| (d.id().to_owned(), d.version())).collect()
    }
}
