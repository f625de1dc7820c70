use std::sync::Arc;

use futures_util::future::BoxFuture;
use wfe::{Outcome, Result, definition::AnyDefinition, host::HostBuilder, traits::PersistenceProvider};

use super::words::Story;
use crate::{
    TestHost, VirtualClock,
    conformance::{
        Harness,
        checked::{Checked, Stop, unmet},
    },
};

/// The environment of one scenario: its own empty place, its own clock, and one or more hosts.
pub(super) struct Stage {
    pub clock: Arc<VirtualClock>,
    place: Box<dyn AnyPlace>,
    hosts: usize,
}

type Store = Arc<dyn PersistenceProvider>;

impl Stage {
    pub async fn new<H: Harness>(harness: Arc<H>, hosts: usize) -> Result<Self> {
        if hosts > 1 && !harness.is_shared() {
            let problem = "only a store that is shared can have several hosts".to_owned();
            return Err(wfe::WfeError::Invalid(problem));
        }
        let place = harness.place().await?;
        let place = Box::new(Bound { harness, place });
        Ok(Self { clock: Arc::new(VirtualClock::default()), place, hosts })
    }

    /// Starts the hosts, with these definitions.
    pub async fn host<const N: usize>(&self, definitions: [AnyDefinition; N]) -> Checked<TestHost> {
        self.host_with(definitions, |builder| builder, |store| store).await
    }

    /// Starts the hosts for a scenario in which instances wait for something external; otherwise like
    /// [`host`](Self::host). Skips the scenario if the store implements only the base traits (those of
    /// `PersistenceProvider`).
    pub async fn host_that_waits<const N: usize>(
        &self,
        definitions: [AnyDefinition; N],
    ) -> Checked<TestHost> {
        let host = self.host(definitions).await?;
        if host.store().clone().step_store().is_none() {
            return Err(Stop::Skipped("the store has no step store"));
        }
        Ok(host)
    }

    /// Starts the hosts with these settings, and with another store that wraps each store; otherwise like
    /// [`host`](Self::host).
    pub async fn host_with<const N: usize>(
        &self,
        definitions: [AnyDefinition; N],
        configure: impl Fn(HostBuilder) -> HostBuilder + Send + 'static,
        over: impl Fn(Store) -> Store,
    ) -> Checked<TestHost> {
        let store = over(self.place.open(self.clock.clone()).await?);
        let mut builder = TestHost::builder_shared(store, self.clock.clone()).configure(configure);
        for _ in 1..self.hosts {
            builder = builder.beside(over(self.place.open(self.clock.clone()).await?));
        }
        for definition in definitions {
            builder = builder.define(definition);
        }
        Ok(builder.start().await?)
    }

    /// Skips the scenario if a host detects changes by other hosts only by polling, because the hosts of scenarios
    /// never poll.
    pub fn must_be_notified(&self) -> Checked<()> {
        if self.hosts == 1 || self.place.tells_news() {
            Ok(())
        } else {
            Err(Stop::Skipped("the store does not notify hosts of changes by others"))
        }
    }

    /// Skips the scenario if the contents of the store do not outlive their provider.
    pub fn must_last(&self) -> Checked<()> {
        if self.place.lasts() {
            Ok(())
        } else {
            Err(Stop::Skipped("the contents of the store do not outlive their provider"))
        }
    }
}

/// Runs the instance until it has completed, and returns its data.
#[track_caller]
pub(super) fn completed<'a>(host: &'a TestHost, id: &'a str) -> impl Future<Output = Checked<Story>> + 'a {
    let at = std::panic::Location::caller();
    async move {
        match host.run_to_end::<Story>(id).await {
            Ok(Outcome::Completed(story)) => Ok(story),
            other => unmet(&format!("at {at}: it ended as {other:?}")),
        }
    }
}

/// Runs the instance until it has completed, and returns the words that it wrote, joined by spaces.
#[track_caller]
pub(super) fn words<'a>(host: &'a TestHost, id: &'a str) -> impl Future<Output = Checked<String>> + 'a {
    let story = completed(host, id);
    async move { Ok(story.await?.words.join(" ")) }
}

/// A harness with one of its places. The trait hides their types, so that scenarios are compiled once, and not once for
/// each store.
trait AnyPlace: Send + Sync {
    fn open(&self, clock: Arc<VirtualClock>) -> BoxFuture<'_, Result<Store>>;
    fn lasts(&self) -> bool;
    fn tells_news(&self) -> bool;
}

struct Bound<H: Harness> {
    harness: Arc<H>,
    place: H::Place,
}

impl<H: Harness> AnyPlace for Bound<H> {
    fn open(&self, clock: Arc<VirtualClock>) -> BoxFuture<'_, Result<Store>> {
        self.harness.open(&self.place, clock)
    }

    fn lasts(&self) -> bool {
        self.harness.lasts()
    }

    fn tells_news(&self) -> bool {
        self.harness.tells_news()
    }
}
