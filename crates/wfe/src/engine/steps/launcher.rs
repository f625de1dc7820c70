//! Passes bodies from the engine's thread to the program's runtime.
//!
//! A task of the program's runtime takes the bodies from a queue and starts a task for each of them. If the engine's
//! thread started these tasks itself, it would allocate their memory, and a thread of the program would free it: with the
//! usual allocators, the threads then wait for each other. Several bodies also need only one wake-up of the runtime.
//!
//! A blocking body does not come this way, unless a middleware surrounds it: it must start even if bodies that never
//! yield keep all threads of the program.

use std::{convert::Infallible, mem, sync::Mutex};

use tokio::{runtime::Handle, sync::Notify};
use wfe_core::sync::lock;

use super::runner::Begun;

/// The queue. Each body in the queue holds its slots, so the queue is as short as the number of slots.
#[derive(Default)]
pub(in crate::engine) struct Launcher {
    queue: Mutex<Vec<Begun>>,
    arrived: Notify,
}

impl Launcher {
    /// Starts the body soon.
    pub fn launch(&self, body: Begun) {
        lock(&self.queue).push(body);
        self.arrived.notify_one();
    }

    /// Starts the bodies, for ever. Runs on the program's runtime, which is `runtime`.
    pub async fn run(&self, runtime: &Handle) -> Infallible {
        let mut bodies = Vec::new();
        loop {
            self.arrived.notified().await;
            mem::swap(&mut *lock(&self.queue), &mut bodies);
            bodies.drain(..).for_each(|body| body.start(runtime));
        }
    }
}
