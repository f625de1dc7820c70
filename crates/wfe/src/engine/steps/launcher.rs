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

use super::runner::AdmittedBody;

/// The queue. Each body in the queue holds its slots, so the queue is as short as the number of slots.
pub(in crate::engine) struct Launcher {
    /// `None` once the program's runtime has shut down: then no body can run.
    queue: Mutex<Option<Vec<AdmittedBody>>>,
    arrived: Notify,
}

impl Default for Launcher {
    fn default() -> Self {
        Self { queue: Mutex::new(Some(Vec::new())), arrived: Notify::new() }
    }
}

impl Launcher {
    /// Puts the body into the queue. The program's runtime starts it. If the runtime has shut down, the body is dropped, and
    /// its report says so.
    pub fn launch(&self, body: AdmittedBody) {
        if let Some(queue) = &mut *lock(&self.queue) {
            queue.push(body);
            self.arrived.notify_one();
        }
    }

    /// Starts the bodies, for ever. Runs on the program's runtime, which is `runtime`.
    pub async fn run(&self, runtime: &Handle) -> Infallible {
        // The runtime drops this future when it shuts down.
        let _closes = Closes(self);
        let mut bodies = Vec::new();
        loop {
            self.arrived.notified().await;
            if let Some(queue) = &mut *lock(&self.queue) {
                mem::swap(queue, &mut bodies);
            }
            bodies.drain(..).for_each(|body| body.start(runtime));
        }
    }
}

/// Drops the bodies in the queue, and all later ones, when it is dropped.
struct Closes<'a>(&'a Launcher);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        // Not under the lock: a report of a dropped body wakes its instance.
        let bodies = lock(&self.0.queue).take();
        drop(bodies);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_queue_is_dropped_with_the_program_s_runtime() {
        let launcher = Launcher::default();
        assert!(launcher.run(&Handle::current()).now_or_never().is_none());
        // The future was dropped, as the runtime drops it. Bodies that come now would wait for ever.
        assert!(lock(&launcher.queue).is_none());
    }
}
