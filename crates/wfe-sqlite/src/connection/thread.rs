//! Threads of the store. Each thread has its own runtime, so its work does not depend on the caller's runtime.

use std::{
    convert::Infallible,
    io,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot};
use wfe_core::{Result, WfeError, sync::lock};

/// Notifies when a thread has ended.
pub(crate) struct Ended {
    end: Mutex<mpsc::Receiver<Infallible>>,
    runtime: Handle,
}

impl Ended {
    /// The thread's runtime, with timers enabled.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits until the thread ends, at most for `longest`. `false` means that the thread still runs.
    pub(crate) fn wait(&self, longest: Duration) -> bool {
        // No holder of this lock can panic.
        let end = lock(&self.end);
        matches!(end.recv_timeout(longest), Err(mpsc::RecvTimeoutError::Disconnected))
    }
}

/// Waits for this time on a separate thread, because the caller's runtime may have no timer, or a virtual
/// clock.
pub(crate) async fn pause(time: Duration) {
    let (passed, has_passed) = oneshot::channel();
    let sleep = move || {
        thread::sleep(time);
        // The send fails if the caller no longer waits.
        let _ = passed.send(());
    };
    match thread::Builder::new().name("wfe-sqlite-pause".to_owned()).spawn(sleep) {
        // An error of the channel means that the thread has already ended, which also ends the wait.
        Ok(_) => drop(has_passed.await),
        // Blocking this thread is better than not waiting.
        Err(_) => thread::sleep(time),
    }
}

/// Starts a thread that runs `body` on a runtime of its own.
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
