use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use wfe_core::{
    Result, WfeError,
    traits::{Owner, PersistenceProvider},
};

use super::Harness;
use crate::{Layer, Layered, VirtualClock};

/// A harness whose stores consist of two providers that are open in the same place. Calls alternate between the two
/// providers: each call goes to the one that did not receive the previous call.
///
/// The suite then fails if a provider keeps something in memory that the other provider would have to know, such as a
/// counter or an owner, or if it uses a copy in memory that is out of date. The stores of the wrapped harness must be
/// [shared](Harness::is_shared).
#[derive(Debug, Clone)]
pub struct Turns<H>(pub H);

#[async_trait]
impl<H: Harness> Harness for Turns<H> {
    type Place = H::Place;

    async fn place(&self) -> Result<H::Place> {
        self.0.place().await
    }

    async fn open(&self, place: &H::Place, clock: Arc<VirtualClock>) -> Result<Arc<dyn PersistenceProvider>> {
        if !self.0.is_shared() {
            return Err(WfeError::Invalid(
                "only a store that is shared can be opened twice to take turns".into(),
            ));
        }
        let providers =
            [self.0.open(place, Arc::clone(&clock)).await?, self.0.open(place, Arc::clone(&clock)).await?];
        Ok(Arc::new(Layered(InTurn { providers, calls: AtomicUsize::new(0) })))
    }

    async fn kill(&self, place: &H::Place, owner: Owner) -> Result<bool> {
        self.0.kill(place, owner).await
    }

    fn lasts(&self) -> bool {
        self.0.lasts()
    }

    fn is_shared(&self) -> bool {
        self.0.is_shared()
    }

    fn tells_news(&self) -> bool {
        self.0.tells_news()
    }
}

struct InTurn {
    providers: [Arc<dyn PersistenceProvider>; 2],
    calls: AtomicUsize,
}

impl Layer for InTurn {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.providers[self.calls.fetch_add(1, Ordering::Relaxed) % 2]
    }

    // This method is called before each call, so it must not advance the alternation.
    fn has_step_store(&self) -> bool {
        self.providers.iter().all(|provider| provider.clone().step_store().is_some())
    }

    fn supports_scheduled_commands(&self) -> bool {
        self.providers.iter().all(|provider| provider.supports_scheduled_commands())
    }
}
