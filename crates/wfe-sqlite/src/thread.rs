//! Threads of the store's own, each with a runtime of its own: what runs there waits for no caller.

use std::{
    convert::Infallible,
    io,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tokio::runtime::Handle;
use wfe_core::{Result, WfeError};

/// Tells when a thread has ended.
pub(crate) struct Ended {
    end: Mutex<mpsc::Receiver<Infallible>>,
    runtime: Handle,
}

impl Ended {
    /// The thread's runtime, which has a clock.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits for the end of the thread, but not longer than this. `false`: it goes on.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        // Nothing that holds it can panic.
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(end.recv_timeout(longest), Err(mpsc::RecvTimeoutError::Disconnected))
    }
}

/// Starts a thread with a runtime of its own for `body`.
pub(crate) fn start<F>(name: &str, body: F) -> Result<Ended>
where
    F: AsyncFnOnce() + Send + 'static,
{
    let failed = |what: &str, error: io::Error| WfeError::Storage {
        message: format!("cannot start the {what} of {name}"),
        source: Some(Box::new(error)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| failed("runtime", error))?;
    let (alive, ended) = mpsc::channel();
    let handle = runtime.handle().clone();
    let work = move || {
        runtime.block_on(body());
        drop(alive);
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| failed("thread", error))?;
    Ok(Ended { end: Mutex::new(ended), runtime: handle })
}
