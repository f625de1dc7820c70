use std::{sync::Arc, time::Duration};

use wfe_core::{clock::Clock, traits::PersistenceProvider};

use crate::{
    WorkflowHost,
    engine::{
        state::options::Options,
        steps::middleware::{StepMiddleware, WorkflowMiddleware},
    },
};

/// Builds a [`WorkflowHost`] with settings of its own.
///
/// ```
/// use std::time::Duration;
/// use wfe::WorkflowHost;
/// use wfe_sqlite::SqlitePersistenceProvider;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let host = WorkflowHost::builder(SqlitePersistenceProvider::new(":memory:").await?)
///     .concurrent_steps(64)
///     .concurrent_instances_of("import", 10) // at once; others wait in the store
///     .concurrent_bodies_of("import", "upload", 2) // over all instances
///     .claim_ahead(Duration::from_millis(500))
///     .poll_interval(Duration::from_millis(200)) // so soon is a killed process's work taken over
///     .seed(7) // the same retry backoff in each run
///     .grace(Duration::from_secs(5))
///     .build();
/// # host.stop().await
/// # }
/// ```
pub struct HostBuilder {
    provider: Arc<dyn PersistenceProvider>,
    options: Options,
    /// `None`: it depends on the clock.
    claim_ahead: Option<Duration>,
}

impl HostBuilder {
    pub(crate) fn new(provider: Arc<dyn PersistenceProvider>) -> Self {
        Self { provider, options: Options::default(), claim_ahead: None }
    }

    /// Where time comes from; by default the system's clock. Under another one nothing is claimed ahead by default
    /// ([`claim_ahead`](Self::claim_ahead)): tests that turn a clock by hand see each due time as it is.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = clock;
        self.options.claim_ahead = Duration::ZERO;
        self
    }

    /// How many step bodies run at once; by default 256, at least 1. One that nobody wants any more has its place for a second
    /// more at most, but one that blocks its thread has it until it ends
    /// ([`Ctx::cancellation`](wfe_core::steps::Ctx::cancellation)).
    #[must_use]
    pub fn concurrent_steps(mut self, limit: usize) -> Self {
        self.options.concurrent_steps = limit.max(1);
        self
    }

    /// How many instances with something to do are held in memory at once; by default 16 384, at least 1. Others wait
    /// in the store; sleeping instances do not count.
    #[must_use]
    pub fn concurrent_instances(mut self, limit: usize) -> Self {
        self.options.concurrent_instances = limit.max(1);
        self
    }

    /// How long before an instance becomes due this host takes it from the store, so that it goes on in the very moment,
    /// also if thousands become due together; by default 1 s, under a [clock](Self::clock) of your own zero: not before.
    ///
    /// Such instances count as held in memory and as at work ([`WorkflowHost::idle`]), and take at most half of the places
    /// there ([`concurrent_instances`](Self::concurrent_instances)). Those of a definition with places of its own are not
    /// taken ahead; as long as one is registered, each due time is looked after once more when it comes. Of a
    /// process that is killed, what was taken ahead is late by as much as the poll of another one.
    #[must_use]
    pub fn claim_ahead(mut self, time: Duration) -> Self {
        self.claim_ahead = Some(time);
        self
    }

    /// How many instances of this definition, whatever their version, this host works on at once; by default as many as
    /// of all, at least 1. Others wait in the store. Those that sleep or wait do not count. An instance of which somebody
    /// asks something is taken up all the same.
    #[must_use]
    pub fn concurrent_instances_of(mut self, definition: impl Into<String>, limit: usize) -> Self {
        self.options.limits.set_instances(definition.into(), limit);
        self
    }

    /// How many bodies of this step run at once in this host, over all its instances; by default as many as of all, at
    /// least 1. Others wait in memory, and take no place from other steps.
    #[must_use]
    pub fn concurrent_bodies_of(
        mut self,
        definition: impl Into<String>,
        step: impl Into<String>,
        limit: usize,
    ) -> Self {
        self.options.limits.set_bodies(definition.into(), step.into(), limit);
        self
    }

    /// Runs around the body of every step. The first one is the outermost.
    #[must_use]
    pub fn step_middleware(mut self, middleware: impl StepMiddleware) -> Self {
        self.options.step_middleware.push(Arc::new(middleware));
        self
    }

    /// Is told when instances are started, and when they have ended. The first one is the outermost.
    #[must_use]
    pub fn workflow_middleware(mut self, middleware: impl WorkflowMiddleware) -> Self {
        self.options.workflow_middleware.push(Arc::new(middleware));
        self
    }

    /// How often the store is asked for what this host has not heard of: instances whose process died, and what
    /// others stored on a store without [`news`](wfe_core::traits::StepStore::news). By default 1 s, at least 1 ms; measured by
    /// the monotonic clock. What this host does itself needs no poll.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.options.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// How long [`WorkflowHost::stop`] waits for running steps, and for what workers work on
    /// ([`Worker`](crate::Worker)); by default 30 s. Always real time, whatever the
    /// [`clock`](Self::clock): nobody has to move a virtual one for a host to stop.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Makes the random part of retry backoff repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// The host; [`WorkflowHost::start`] brings it to life.
    #[must_use]
    pub fn build(mut self) -> WorkflowHost {
        self.options.claim_ahead = self.claim_ahead.unwrap_or(self.options.claim_ahead);
        WorkflowHost::assemble(self.provider, self.options)
    }
}
