use std::{ops::Deref, sync::Arc};

use wfe_core::{
    CorruptValues, Result, WfeError, logging,
    traits::{PersistenceProvider, StepStore},
};

use super::{Guarantees, engine_store::EngineStore, loss::Loss};

/// The store of a host, and what has become known of it. It dereferences to the engine's trait.
pub(crate) struct StoreAccess {
    /// The plain traits, for calls that the engine's trait does not have. Their answers go through
    /// [`Loss::seen`].
    pub provider: Arc<dyn PersistenceProvider>,
    /// The engine's trait.
    pub steps: Arc<dyn StepStore>,
    pub loss: Arc<Loss>,
    pub guarantees: Guarantees,
    /// Which corrupt rows were logged.
    corrupt: CorruptValues,
}

impl StoreAccess {
    pub fn new(provider: Arc<dyn PersistenceProvider>) -> Self {
        let loss = Arc::<Loss>::default();
        let (store, guarantees) = EngineStore::new(provider.clone(), loss.clone());
        Self { provider, steps: Arc::new(store), loss, guarantees, corrupt: CorruptValues::default() }
    }

    /// One of many rows; `None`: it does not decode, and was logged, once.
    pub fn sound<T>(&self, row: Result<T>) -> Result<Option<T>> {
        match row {
            Ok(row) => Ok(Some(row)),
            Err(error @ WfeError::Corrupt { .. }) => {
                if self.corrupt.is_new(&error) {
                    logging::error!(%error, "a stored row does not decode; it is left out");
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Deref for StoreAccess {
    type Target = dyn StepStore;

    fn deref(&self) -> &Self::Target {
        &*self.steps
    }
}
