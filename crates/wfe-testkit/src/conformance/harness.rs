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
    /// It is dropped when the case has ended; clean up in its `Drop`.
    type Place: Send + Sync + 'static;

    /// Creates a new, empty place that no other case uses.
    ///
    /// # Errors
    /// Any error, if the place could not be created. The case fails with this error.
    async fn place(&self) -> Result<Self::Place>;

    /// Opens the store in this place, and creates it if the place is empty. The store must take its time from
    /// `clock`.
    ///
    /// It is called once for each place, unless [`lasts`](Self::lasts) or [`is_shared`](Self::is_shared) is true.
    ///
    /// # Errors
    /// Any error, if the store could not be opened. The case fails with this error.
    async fn open(
        &self,
        place: &Self::Place,
        clock: Arc<VirtualClock>,
    ) -> Result<Arc<dyn PersistenceProvider>>;

    /// Whether the contents of a store outlive its provider. If so, the suite also drops a provider, opens another
    /// one in the same place, and expects all contents to be there.
    fn lasts(&self) -> bool {
        false
    }

    /// Whether several providers may be open in one place at once, each of which represents a process. If so, the suite
    /// also opens several providers and lets them compete.
    fn is_shared(&self) -> bool {
        false
    }

    /// Simulates that the process of this owner has just been killed: the process has left its files behind, and holds
    /// no locks. (A dropped owner would have cleaned up.) Returns false if the harness cannot simulate this, which is
    /// the default. The cases about deaths of processes are then skipped.
    ///
    /// # Errors
    /// Any error, if the death could not be simulated. The case fails with this error.
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
