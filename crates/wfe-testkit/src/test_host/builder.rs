use std::{
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::Duration,
};

use wfe::{HostBuilder, Result, WorkflowHost, definition::Definition, traits::PersistenceProvider};

use super::{TestHost, Told};
use crate::VirtualClock;

/// Longer than any test lets pass: what a host does, it does at once and by itself, and a poll would hide that it does not.
const NEVER: Duration = Duration::from_hours(24 * 365 * 1000);

/// Builds a [`TestHost`].
pub struct TestHostBuilder {
    providers: Vec<Arc<dyn PersistenceProvider>>,
    clock: Arc<VirtualClock>,
    definitions: Vec<Definition>,
    configure: Vec<Configure>,
}

type Configure = Box<dyn Fn(HostBuilder) -> HostBuilder + Send>;

impl TestHost {
    /// On this store, whose time comes from this clock.
    pub fn builder(store: impl PersistenceProvider + 'static, clock: Arc<VirtualClock>) -> TestHostBuilder {
        Self::builder_shared(Arc::new(store), clock)
    }

    /// As [`builder`](Self::builder), for a store that the test uses too.
    #[must_use]
    pub fn builder_shared(store: Arc<dyn PersistenceProvider>, clock: Arc<VirtualClock>) -> TestHostBuilder {
        TestHostBuilder { providers: vec![store], clock, definitions: Vec::new(), configure: Vec::new() }
    }
}

impl TestHostBuilder {
    /// One more host, on this provider: the same store opened once more, as by another process. Work moves between them.
    #[must_use]
    pub fn beside(mut self, provider: Arc<dyn PersistenceProvider>) -> Self {
        self.providers.push(provider);
        self
    }

    /// Registers a definition, with every host.
    #[must_use]
    pub fn define(mut self, definition: Definition) -> Self {
        self.definitions.push(definition);
        self
    }

    /// Settings of the host; by default it polls never, and its random numbers repeat.
    #[must_use]
    pub fn configure(mut self, change: impl Fn(HostBuilder) -> HostBuilder + Send + 'static) -> Self {
        self.configure.push(Box::new(change));
        self
    }

    /// The host, started.
    ///
    /// # Errors
    /// Those of [`WorkflowHost::register`] and [`WorkflowHost::start`].
    pub async fn start(self) -> Result<TestHost> {
        let store = self.providers[0].clone();
        let (mut hosts, mut receivers) = (Vec::new(), Vec::new());
        for provider in self.providers {
            let builder =
                WorkflowHost::builder_shared(provider).clock(self.clock.clone()).poll_interval(NEVER).seed(1);
            let host = self.configure.iter().fold(builder, |builder, change| change(builder)).build();
            for definition in &self.definitions {
                host.register(definition.clone())?;
            }
            receivers.push(host.lifecycle());
            hosts.push(host);
        }
        for host in &hosts {
            host.start().await?;
        }
        Ok(TestHost {
            hosts,
            store,
            clock: self.clock,
            turns: AtomicUsize::new(0),
            told: Mutex::new(Told { receivers, events: Vec::new(), missed: 0 }),
        })
    }
}
