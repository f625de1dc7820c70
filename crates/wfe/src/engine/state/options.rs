use std::{sync::Arc, time::Duration};

use wfe_core::clock::{Clock, SystemClock};

use crate::engine::{
    state::retention::Retention,
    steps::{
        middleware::{StepMiddleware, WorkflowMiddleware},
        slots::Limits,
    },
};

/// An instance is claimed this long before it is due. The time is long enough to claim and read all instances that
/// become due at the same moment, so that they are in memory by then. The time is also short,
/// so a host holds only a few such instances at any moment. If the host crashes, these instances are late by the poll
/// interval of another host.
const CLAIM_AHEAD: Duration = Duration::from_secs(1);

/// How many orders and requests of the program may wait for the engine at once. The number equals the capacity of a
/// queue of the store, since further orders would only wait in that queue. Each order holds an instance in memory, and
/// each request holds an id.
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
    pub retention: Retention,
    pub step_middleware: Vec<Arc<dyn StepMiddleware>>,
    pub workflow_middleware: Vec<Arc<dyn WorkflowMiddleware>>,
    /// Whether the host runs in a test. A wait that nothing can end is an error then.
    pub is_test: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            // The default is half of tokio's blocking threads, so that steps leave threads for the program's own
            // blocking work.
            concurrent_steps: 256,
            // This is enough for ten thousand timers that are due in the same second. Each instance takes about 15 KB
            // besides its data.
            concurrent_instances: 16_384,
            claim_ahead: CLAIM_AHEAD,
            permits: PERMITS,
            // Notifications need no poll, even those from other processes. The poll is for the instances of a killed
            // process, which wait this long. A poll each second has no measurable cost.
            poll_interval: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            seed: None,
            limits: Limits::default(),
            retention: Retention::new(),
            step_middleware: Vec::new(),
            workflow_middleware: Vec::new(),
            is_test: false,
        }
    }
}
