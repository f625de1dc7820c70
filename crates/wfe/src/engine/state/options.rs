use std::{sync::Arc, time::Duration};

use wfe_core::clock::{Clock, SystemClock};

use crate::engine::steps::{
    middleware::{StepMiddleware, WorkflowMiddleware},
    slots::Limits,
};

/// How long before it is due an instance is claimed: time enough to claim and read what becomes due all at once, so that it
/// is at hand when its time comes; short enough that few are held when the host dies, which are late then by as much as
/// the poll of another one.
const CLAIM_AHEAD: Duration = Duration::from_secs(1);

/// A host's settings.
pub(crate) struct Options {
    pub clock: Arc<dyn Clock>,
    pub concurrent_steps: usize,
    pub concurrent_instances: usize,
    pub claim_ahead: Duration,
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
            // Enough for ten thousand timers that come due in one second; each takes some 15 KB, and its data.
            concurrent_instances: 16_384,
            claim_ahead: CLAIM_AHEAD,
            // Wake-ups need no poll, also those that other processes cause. This is how long the instances of a killed
            // process wait; a look each second costs nothing measurable.
            poll_interval: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            seed: None,
            limits: Limits::default(),
            step_middleware: Vec::new(),
            workflow_middleware: Vec::new(),
        }
    }
}
