use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use wfe_core::{
    CorruptValues, Result, WfeError, logging,
    traits::{PersistenceProvider, StepStore},
};

use super::{Guarantees, engine_store::EngineStore, faults::Faults, loss::Loss};

/// The store of a host. This type also records whether the store is lost, and which corrupt rows were already logged.
/// It dereferences to [`StepStore`], the trait that the engine uses.
pub(crate) struct StoreAccess {
    /// The provider, for calls that [`StepStore`] does not have. Callers pass the results of these
    /// calls to [`Loss::seen`].
    pub provider: Arc<dyn PersistenceProvider>,
    /// The store as a [`StepStore`], the trait that the engine uses.
    pub steps: Arc<dyn StepStore>,
    pub loss: Arc<Loss>,
    pub guarantees: Guarantees,
    /// The corrupt rows that were already logged.
    faults: Arc<Faults>,
    corrupt: CorruptValues,
}

impl StoreAccess {
    pub fn new(provider: Arc<dyn PersistenceProvider>) -> Self {
        let loss = Arc::<Loss>::default();
        let faults = Arc::<Faults>::default();
        let (store, guarantees) = EngineStore::new(provider.clone(), loss.clone(), faults.clone());
        Self { provider, steps: Arc::new(store), loss, guarantees, faults, corrupt: CorruptValues::default() }
    }

    /// For how long commits of instances have failed, if they fail at the moment.
    pub fn commits_fail_since(&self) -> Option<Duration> {
        self.faults.fails_since("commit_step", Instant::now())
    }

    /// Returns the row if it decodes. If the row is corrupt, this logs the error once and returns `None`, so that the
    /// other rows can still be used.
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
