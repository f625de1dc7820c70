use std::collections::BTreeMap;

use super::AnyDefinition;
use crate::{Result, WfeError};

/// The definitions that are registered with a host, by id and version.
#[derive(Debug, Default)]
pub struct Registry {
    definitions: BTreeMap<String, BTreeMap<u32, AnyDefinition>>,
}

impl Registry {
    /// Adds a definition.
    ///
    /// # Errors
    /// [`InvalidDefinition`](WfeError::InvalidDefinition): a definition with this id and version is already
    /// registered.
    pub fn register(&mut self, definition: impl Into<AnyDefinition>) -> Result<()> {
        let definition = definition.into();
        let versions = self.definitions.entry(definition.id().to_owned()).or_default();
        if versions.contains_key(&definition.version()) {
            return Err(WfeError::InvalidDefinition {
                definition: definition.id().to_owned(),
                problem: format!("version {} is already registered", definition.version()),
            });
        }
        versions.insert(definition.version(), definition);
        Ok(())
    }

    /// The definition with this id and version, or `None` if it is not registered.
    #[must_use]
    pub fn get(&self, id: &str, version: u32) -> Option<&AnyDefinition> {
        self.definitions.get(id)?.get(&version)
    }

    /// The definition with this id and the highest version, or `None` if no definition with this id is
    /// registered.
    #[must_use]
    pub fn newest(&self, id: &str) -> Option<&AnyDefinition> {
        self.definitions.get(id)?.values().next_back()
    }

    /// The definition with this id and this version. If `version` is `None`, the definition with this id and
    /// the highest version. Returns `None` if no such definition is registered.
    #[must_use]
    pub fn find(&self, id: &str, version: Option<u32>) -> Option<&AnyDefinition> {
        version.map_or_else(|| self.newest(id), |version| self.get(id, version))
    }

    /// The id and the version of every registered definition.
    #[must_use]
    pub fn keys(&self) -> Vec<(String, u32)> {
        let all = self.definitions.values().flat_map(BTreeMap::values);
        all.map(|d| (d.id().to_owned(), d.version())).collect()
    }
}
