//! Threads of the store. Each thread has its own runtime, so its work does not depend on the caller's runtime.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Handle, Runtime},
    sync::{oneshot, watch},
};
use wfe_core::{Result, WfeError, sync::lock};

/// Notifies when all threads that have one of its [`Alive`]s have ended.
pub(crate) struct Ended {
    end: Mutex<mpsc::Receiver<Infallible>>,
    is_running: watch::Receiver<()>,
}

/// Is kept by a thread as long as it runs.
#[derive(Clone)]
pub(crate) struct Alive {
    _blocking: mpsc::Sender<Infallible>,
    _waiting: watch::Sender<()>,
}

/// Creates the two ends of a notification.
pub(crate) fn ended() -> (Alive, Ended) {
    let ((blocking, end), (waiting, is_running)) = (mpsc::channel(), watch::channel(()));
    (Alive { _blocking: blocking, _waiting: waiting }, Ended { end: Mutex::new(end), is_running })
}

impl Ended {
    /// Waits until the threads have ended.
    pub(crate) async fn wait(&self) {
        // The channel has no messages. It fails when the last sender is gone.
        while self.is_running.clone().changed().await.is_ok() {}
    }

    /// Blocks this thread until the threads have ended, at most for `longest`. `false` means that one of them still
    /// runs.
    pub(crate) fn wait_blocking(&self, longest: Duration) -> bool {
        // No holder of this lock can panic.
        let end = lock(&self.end);
        matches!(end.recv_timeout(longest), Err(mpsc::RecvTimeoutError::Disconnected))
    }
}

/// A thread that never blocks, and whose runtime has a timer. The thread ends when this value is dropped.
pub(crate) struct Timer {
    runtime: Handle,
    _end: oneshot::Sender<Infallible>,
}

impl Timer {
    pub(crate) fn start() -> Result<Self> {
        let (end, is_over) = oneshot::channel::<Infallible>();
        let (alive, _) = ended();
        // The channel has no message: it fails when the sender is dropped.
        let runtime = start("wfe-sqlite-timer", alive, |runtime| drop(runtime.block_on(is_over)))?;
        Ok(Self { runtime, _end: end })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
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

/// Waits for a future. The future is boxed: `Runtime::block_on` is compiled in several units of code, each of which would
/// contain the code of the future, and of all that it awaits, if it named the type of the future.
pub(crate) fn block_on<'a, T>(runtime: &Runtime, future: impl Future<Output = T> + 'a) -> T {
    let future: Pin<Box<dyn Future<Output = T> + 'a>> = Box::pin(future);
    runtime.block_on(future)
}

/// Starts a thread that has a runtime of its own, on which it may wait for futures. Returns the runtime's handle.
pub(crate) fn start(
    name: &str,
    alive: Alive,
    body: impl FnOnce(&Runtime) + Send + 'static,
) -> Result<Handle> {
    let failed = |what: &str, error: io::Error| WfeError::Storage {
        message: format!("cannot start the {what} of {name}"),
        source: Some(Box::new(error)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| failed("runtime", error))?;
    let handle = runtime.handle().clone();
    let work = move || {
        body(&runtime);
        drop((runtime, alive));
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| failed("thread", error))?;
    Ok(handle)
}
