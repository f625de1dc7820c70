//! Ctrl-C: a first one ends the command where that is safe, a second one ends it at once.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use crate::failure::{Exit, Failure, Result};

/// Whether the command was asked to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_set: AtomicBool,
    notify: Notify,
}

impl Interrupt {
    /// Watches for Ctrl-C, and for the signal by which services are stopped.
    pub(crate) fn watch() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let (mut interrupts, mut terminations) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let interrupt = Self::default();
        let watched = interrupt.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                if watched.0.is_set.swap(true, Ordering::Relaxed) {
                    std::process::exit(Exit::Interrupted as i32);
                }
                watched.0.notify.notify_waiters();
            }
        });
        Ok(interrupt)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::Relaxed)
    }

    /// Ends a long call once the command was asked to end.
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        if self.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Returns when the command is asked to end.
    pub(crate) async fn wait(&self) {
        let notified = self.0.notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.is_set() {
            notified.await;
        }
    }

    /// Runs a read that may block for as long as nobody types, on a thread of its own.
    ///
    /// # Errors
    /// Those of the read; [`Exit::Interrupted`] if the command is asked to end before. The read then goes on without a
    /// reader of its result, which does not keep the process.
    pub(crate) async fn or<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        tokio::select! {
            biased;
            () = self.wait() => Err(Failure::silent(Exit::Interrupted)),
            read = tokio::task::spawn_blocking(read) => {
                read.map_err(|error| Failure::new(Exit::Unusable, format!("cannot read: {error}")))?
            }
        }
    }
}
