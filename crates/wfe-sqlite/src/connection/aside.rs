//! Long work on the database: on a thread and a connection of its own, so that neither commits nor reads wait for it. Its caller
//! follows it and can end it; if the caller's future is dropped, the work ends too.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::{
    runtime::{Handle, Runtime},
    sync::oneshot,
};
use wfe_core::{Result, WfeError};
use wfe_sqlite_handle::LentHandle;

use crate::connection::thread;

/// How often the caller is asked whether the work is to continue.
const TICK: Duration = Duration::from_millis(100);

/// Whether work is to end.
#[derive(Default)]
pub(crate) struct Cancel {
    is_cancelled: Arc<AtomicBool>,
}

impl Cancel {
    fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
    }

    /// Interrupts the statements of this connection if the work is to end.
    pub(crate) fn interrupts(&self, handle: &mut LentHandle<'_>) {
        handle.end_when(Arc::clone(&self.is_cancelled));
    }

    /// # Errors
    /// [`Cancelled`](WfeError::Cancelled): the work is to end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled.load(Ordering::SeqCst) { Err(WfeError::Cancelled) } else { Ok(()) }
    }

    /// The error of the work: of its own, unless the work was to end.
    pub(crate) fn or(&self, error: WfeError) -> WfeError {
        self.check().err().unwrap_or(error)
    }
}

/// Cancels the work when it is dropped.
struct Following(Arc<Cancel>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs `work` on a new thread. `follow` is called again and again meanwhile; if it returns `Break`, the work ends.
///
/// # Errors
/// Those of the work. [`Cancelled`](WfeError::Cancelled): `follow` has ended it.
pub(crate) async fn run<T: Send + 'static>(
    timer: &Handle,
    name: &str,
    mut follow: impl FnMut() -> ControlFlow<()>,
    work: impl FnOnce(&Runtime, &Cancel) -> Result<T> + Send + 'static,
) -> Result<T> {
    if follow().is_break() {
        return Err(WfeError::Cancelled);
    }
    let following = Following(Arc::default());
    let cancel = Arc::clone(&following.0);
    let (reply, mut answer) = oneshot::channel();
    let (alive, _) = thread::ended();
    thread::start(name, alive, move |runtime| {
        // The send fails if the caller no longer waits.
        let _ = reply.send(work(runtime, &cancel));
    })?;
    loop {
        let tick = timer.spawn(tokio::time::sleep(TICK));
        match select(answer, tick).await {
            Either::Left((done, tick)) => {
                tick.abort();
                return done
                    .map_err(|_| WfeError::Persistence("long work of the store panicked".to_owned()))?;
            }
            Either::Right((_, waiting)) => {
                answer = waiting;
                if follow().is_break() {
                    // The work cleans up first.
                    following.0.cancel();
                }
            }
        }
    }
}
