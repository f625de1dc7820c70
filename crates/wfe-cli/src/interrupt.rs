//! Ctrl-C: a first one ends the command where that is safe, a second one ends it at once.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use crate::failure::Exit;

/// Whether the command was asked to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_set: AtomicBool,
    rings: Notify,
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
                watched.0.rings.notify_waiters();
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
        let rings = self.0.rings.notified();
        tokio::pin!(rings);
        rings.as_mut().enable();
        if !self.is_set() {
            rings.await;
        }
    }
}
