use std::{sync::Arc, time::Duration};

use wfe_core::clock::{Clock, SystemClock};

use crate::engine::steps::{
    middleware::{StepMiddleware, WorkflowMiddleware},
    slots::Limits,
};

/// How long before its due time an instance is claimed. Long enough to claim and read all instances that become due
/// at once, so that they are in memory when their time comes. Short enough that a host that dies holds few of them:
/// those are late by the poll interval of another host.
const CLAIM_AHEAD: Duration = Duration::from_secs(1);

/// What waits at once to be taken up by the engine, of orders and requests of the program. As many as enter a queue of the
/// store: more would wait there. Each is an instance in memory, or an id.
const PERMITS: usize = 1024;

/// A host's settings.
pub(crate) struct Options {
    pub clock: Arc<dyn Clock>,
    pub concurrent_steps: usize,
    pub concurrent_instances: usize,
    pub claim_ahead: Duration,
    pub permits: usize,
    pub poll_interval: Duration,
    pub grace: Duration,
    pub seed: Option<u64>,
    pub limits: Limits,
    pub step_middleware: Vec<Arc<dyn StepMiddleware>>,
    pub workflow_middleware: Vec<Arc<dyn WorkflowMiddleware>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            // Half of tokio's blocking threads: steps must not keep the program's own blocking work from running.
            concurrent_steps: 256,
            // Enough for ten thousand timers that are due in the same second. Each takes some 15 KB besides its data.
            concurrent_instances: 16_384,
            claim_ahead: CLAIM_AHEAD,
            permits: PERMITS,
            // Notifications need no poll, even those from other processes. The instances of a killed process wait
            // this long. A poll each second costs nothing measurable.
            poll_interval: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            seed: None,
            limits: Limits::default(),
            step_middleware: Vec::new(),
            workflow_middleware: Vec::new(),
        }
    }
}
