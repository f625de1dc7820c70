use std::sync::Arc;

use async_trait::async_trait;
use wfe_core::{
    Result,
    traits::{Owner, PersistenceProvider},
};

use crate::VirtualClock;

/// Opens the store under test for a suite.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Where one store keeps its contents: a temporary folder, a database on a server, or `()` for a store in memory.
    /// The place is dropped when the case has ended. Implement `Drop` for this type to clean up.
    type Place: Send + Sync + 'static;

    /// Creates a new, empty place that no other case uses.
    ///
    /// # Errors
    /// Return an error if the place cannot be created. The case fails with this error.
    async fn place(&self) -> Result<Self::Place>;

    /// Opens the store in this place, and creates the store if the place is empty. The store must take its time from
    /// `clock`.
    ///
    /// This method is called once for each place. It is called more often only if [`lasts`](Self::lasts) or
    /// [`is_shared`](Self::is_shared) is true.
    ///
    /// # Errors
    /// Return an error if the store cannot be opened. The case fails with this error.
    async fn open(
        &self,
        place: &Self::Place,
        clock: Arc<VirtualClock>,
    ) -> Result<Arc<dyn PersistenceProvider>>;

    /// Whether the contents of a store outlive its provider. If so, some cases drop a provider, open another provider
    /// in the same place, and expect to find all contents there.
    fn lasts(&self) -> bool {
        false
    }

    /// Whether several providers may be open in one place at the same time. Each provider represents a process. If so,
    /// some cases open several providers and let them compete.
    fn is_shared(&self) -> bool {
        false
    }

    /// Simulates that the process of this owner has just been killed: the files of the process still exist, but the
    /// process holds no locks any more. (If the owner were only dropped, it would remove its files.) Returns false if
    /// the harness cannot simulate this; the default implementation does so. The cases about deaths of processes are
    /// then skipped.
    ///
    /// # Errors
    /// Return an error if the simulation fails. The case fails with this error.
    async fn kill(&self, _place: &Self::Place, owner: Owner) -> Result<bool> {
        drop(owner);
        Ok(false)
    }

    /// Whether the store notifies hosts of changes by other hosts ([`news`](wfe_core::traits::StepStore::news) and
    /// [`requested`](wfe_core::traits::StepStore::requested)), so that hosts need not poll for them.
    fn tells_news(&self) -> bool {
        false
    }
}
