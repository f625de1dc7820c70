use std::sync::Arc;

use async_trait::async_trait;
use wfe_core::{
    Result,
    traits::{Owner, PersistenceProvider},
};

use crate::VirtualClock;

/// How the suite gets at the store under test.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Where one store lives: a temporary folder, a database on a server, `()` for a store in memory. Dropped when the
    /// case is over, which is the moment to clean up.
    type Place: Send + Sync + 'static;

    /// A new, empty place that no other case uses.
    ///
    /// # Errors
    /// Whatever keeps it from being made; the case fails with it.
    async fn place(&self) -> Result<Self::Place>;

    /// Opens the store in this place, creating it if the place is empty. Its time must come from `clock`.
    ///
    /// Without [`lasts`](Self::lasts) and [`is_shared`](Self::is_shared) it is called once for each place.
    ///
    /// # Errors
    /// Whatever the store answers; the case fails with it.
    async fn open(
        &self,
        place: &Self::Place,
        clock: Arc<VirtualClock>,
    ) -> Result<Arc<dyn PersistenceProvider>>;

    /// Whether what is stored outlives its provider. Then the suite drops a provider, opens another one in the same
    /// place, and expects everything to be there.
    fn lasts(&self) -> bool {
        false
    }

    /// Whether two providers, as of two processes, may be open in one place at once. Then the suite opens several and
    /// lets them compete.
    fn is_shared(&self) -> bool {
        false
    }

    /// Makes it so in this place as if the process of this owner had died just now, and not as if it had been dropped: what
    /// the process leaves behind lies there, and nobody holds it. `false`: that cannot be made here, which is the default;
    /// then the rules about deaths are passed over.
    ///
    /// # Errors
    /// Whatever keeps it from being made so; the case fails with it.
    async fn kill(&self, _place: &Self::Place, owner: Owner) -> Result<bool> {
        drop(owner);
        Ok(false)
    }

    /// Whether the store tells hosts of what others stored ([`news`](wfe_core::traits::StepStore::news) and
    /// [`requested`](wfe_core::traits::StepStore::requested)), rather than leaving it to their polls.
    fn tells_news(&self) -> bool {
        false
    }
}
