use std::{sync::Arc, time::Duration};

use wfe_core::{clock::Clock, traits::PersistenceProvider};

use crate::{
    WorkflowHost,
    engine::{Options, Retention, StepMiddleware, WorkflowMiddleware},
};

/// Configures and builds a [`WorkflowHost`].
///
/// ```
/// use std::time::Duration;
/// use wfe::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let host = WorkflowHost::builder(SqliteStore::new(":memory:").await?)
///     .concurrent_steps(64)
///     .concurrent_instances_of("import", 10) // further instances wait in the store
///     .concurrent_bodies_of("import", "upload", 2) // across all instances
///     .claim_ahead(Duration::from_millis(500))
///     .poll_interval(Duration::from_millis(200)) // the work of a killed process is taken over this soon
///     .seed(7) // retry backoff has the same jitter in each run
///     .grace(Duration::from_secs(5))
///     .build();
/// # host.stop().await
/// # }
/// ```
pub struct HostBuilder {
    provider: Arc<dyn PersistenceProvider>,
    options: Options,
    /// `None` means the default, which depends on the clock.
    claim_ahead: Option<Duration>,
}

impl HostBuilder {
    pub(crate) fn new(provider: Arc<dyn PersistenceProvider>) -> Self {
        Self { provider, options: Options::default(), claim_ahead: None }
    }

    /// Sets the clock. Default: the system's clock. With another clock, the default of
    /// [`claim_ahead`](Self::claim_ahead) is zero, so that tests that advance a virtual clock see each instance
    /// claimed exactly when it is due.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = clock;
        self.options.claim_ahead = Duration::ZERO;
        self
    }

    /// Sets how many step bodies run at once. Default: 256; minimum: 1. A body that was cancelled or timed out keeps
    /// its slot for at most one more second, unless it blocks its thread. A body that blocks its thread keeps its
    /// slot until it returns ([`Ctx::cancellation`](wfe_core::steps::Ctx::cancellation)).
    #[must_use]
    pub fn concurrent_steps(mut self, limit: usize) -> Self {
        self.options.concurrent_steps = limit.max(1);
        self
    }

    /// Sets how many instances with work to do are in memory at once. Default: 16,384; minimum: 1. Further instances
    /// wait in the store. Sleeping instances do not count.
    #[must_use]
    pub fn concurrent_instances(mut self, limit: usize) -> Self {
        self.options.concurrent_instances = limit.max(1);
        self
    }

    /// Sets how long before its due time this host claims an instance. An instance that was claimed ahead continues
    /// the moment it is due, even if thousands of instances are due at the same time. Default: 1 s; with a custom
    /// [clock](Self::clock): zero, which means that nothing is claimed ahead.
    ///
    /// Instances claimed ahead count towards [`concurrent_instances`](Self::concurrent_instances) and may take up to
    /// half of its slots. While an instance is claimed ahead, the host is not [idle](WorkflowHost::idle). Instances
    /// of a definition with its own [limit](Self::concurrent_instances_of) are not claimed ahead; while such a
    /// definition is registered, the host queries the store again at each due time. If this process is killed,
    /// another host takes over the instances that were claimed ahead. They are then late by at most the poll interval
    /// of that host.
    #[must_use]
    pub fn claim_ahead(mut self, time: Duration) -> Self {
        self.claim_ahead = Some(time);
        self
    }

    /// Sets how many instances of this definition, in all its versions together, this host works on at once. Default:
    /// no limit besides [`concurrent_instances`](Self::concurrent_instances); minimum: 1. Further instances wait in
    /// the store. Instances that sleep or wait do not count. Control requests are applied even when the limit is
    /// reached.
    #[must_use]
    pub fn concurrent_instances_of(mut self, definition: impl Into<String>, limit: usize) -> Self {
        self.options.limits.set_instances(definition.into(), limit);
        self
    }

    /// Sets how many bodies of this step run at once on this host, across all instances. Default: no limit besides
    /// [`concurrent_steps`](Self::concurrent_steps); minimum: 1. Further bodies wait in memory and take no slots from
    /// other steps.
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

    /// Adds a middleware that runs around the body of every step. The middleware added first is the outermost.
    #[must_use]
    pub fn step_middleware(mut self, middleware: impl StepMiddleware) -> Self {
        self.options.step_middleware.push(Arc::new(middleware));
        self
    }

    /// Adds a middleware that is called before an instance is started and after an instance has ended. The middleware
    /// added first is the outermost.
    #[must_use]
    pub fn workflow_middleware(mut self, middleware: impl WorkflowMiddleware) -> Self {
        self.options.workflow_middleware.push(Arc::new(middleware));
        self
    }

    /// Sets how often the host polls the store. Default: 1 s; minimum: 1 ms; measured on the monotonic clock. The
    /// poll finds the instances of processes that have crashed. On a store without
    /// [`news`](wfe_core::traits::StepStore::news) it also finds what other processes have stored. The host's own
    /// work does not depend on the poll.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.options.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets how long [`WorkflowHost::stop`] waits for running steps, and for the activities that
    /// [workers](crate::external_tasks::Worker) of this host are working on. Default: 30 s. The grace time is real time
    /// under every [`clock`](Self::clock): a host stops without a test advancing its virtual clock.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Removes instances that have ended, and processed events, when this policy no longer keeps them. Default: everything is
    /// kept, and nothing is read for it.
    ///
    /// The policy is applied at [intervals](Retention::every), the first time one interval after the start, in small batches
    /// with long rests: the store is at most a tenth busy with it. Of several hosts that have a policy, only one applies its
    /// own. Give all hosts of a store the same policy. Each run that has removed something logs one line with the counts.
    /// [`WorkflowHost::start`] returns [`Unsupported`](wfe_core::WfeError::Unsupported) if the store has no management interface.
    #[must_use]
    pub fn retain(mut self, policy: Retention) -> Self {
        self.options.retention = policy;
        self
    }

    /// Seeds the jitter of retry backoff, which makes it repeatable.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Says that the host runs in a test: to wait for an end without a host that runs is an error, and not only a
    /// warning.
    #[doc(hidden)]
    #[must_use]
    pub fn in_test(mut self) -> Self {
        self.options.is_test = true;
        self
    }

    /// Builds the host, which runs nothing until [`WorkflowHost::start`].
    #[must_use]
    pub fn build(mut self) -> WorkflowHost {
        self.options.claim_ahead = self.claim_ahead.unwrap_or(self.options.claim_ahead);
        WorkflowHost::assemble(self.provider, self.options)
    }
}
