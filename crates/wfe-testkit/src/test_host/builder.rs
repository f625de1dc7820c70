use std::{
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::Duration,
};

use wfe::{Result, WorkflowHost, definition::AnyDefinition, host::HostBuilder, traits::PersistenceProvider};

use super::{Received, TestHost};
use crate::VirtualClock;

/// A poll interval longer than any test lasts. A host must notice every change without polling. If a test host polled,
/// it would also find a change that it had failed to notice, and the test would not reveal this failure.
const NEVER: Duration = Duration::from_hours(24 * 365 * 1000);

/// Configures and starts a [`TestHost`].
pub struct TestHostBuilder {
    providers: Vec<Arc<dyn PersistenceProvider>>,
    clock: Arc<VirtualClock>,
    definitions: Vec<AnyDefinition>,
    configure: Vec<Configure>,
}

type Configure = Box<dyn Fn(HostBuilder) -> HostBuilder + Send>;

impl TestHost {
    /// Configures a test host on this store. The store must use this clock too.
    pub fn builder(store: impl PersistenceProvider + 'static, clock: Arc<VirtualClock>) -> TestHostBuilder {
        Self::builder_shared(Arc::new(store), clock)
    }

    /// Like [`builder`](Self::builder), but for a store that the test also uses directly.
    #[must_use]
    pub fn builder_shared(store: Arc<dyn PersistenceProvider>, clock: Arc<VirtualClock>) -> TestHostBuilder {
        TestHostBuilder { providers: vec![store], clock, definitions: Vec::new(), configure: Vec::new() }
    }
}

impl TestHostBuilder {
    /// Adds a host that uses this provider. The provider must be a further one for the same store, opened as another
    /// process would open it. Instances can then move from host to host.
    #[must_use]
    pub fn beside(mut self, provider: Arc<dyn PersistenceProvider>) -> Self {
        self.providers.push(provider);
        self
    }

    /// Registers a definition on every host.
    #[must_use]
    pub fn define(mut self, definition: impl Into<AnyDefinition>) -> Self {
        self.definitions.push(definition.into());
        self
    }

    /// Changes the settings of the hosts. By default a test host never polls, and the jitter of its retry backoff is
    /// the same in each run.
    #[must_use]
    pub fn configure(mut self, change: impl Fn(HostBuilder) -> HostBuilder + Send + 'static) -> Self {
        self.configure.push(Box::new(change));
        self
    }

    /// Starts the hosts.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::register`] and [`WorkflowHost::start`].
    pub async fn start(self) -> Result<TestHost> {
        let store = self.providers[0].clone();
        let (mut hosts, mut receivers) = (Vec::new(), Vec::new());
        for provider in self.providers {
            let builder = WorkflowHost::builder_shared(provider)
                .clock(self.clock.clone())
                .poll_interval(NEVER)
                .seed(1)
                .in_test();
            let host = self.configure.iter().fold(builder, |builder, change| change(builder)).build();
            for definition in &self.definitions {
                host.register_any(definition.clone())?;
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
            received: Mutex::new(Received { receivers, events: Vec::new(), missed: 0 }),
        })
    }
}
