//! The engine's own thread: which instances are at work, when to look at others, and each one's actor.
//!
//! Of what a user writes, only what is quick runs here: output closures, retry predicates, and the data's and errors' own
//! `Clone`, `Serialize` and the like. Bodies, inputs and factories do not, so that a step which never yields stops
//! neither commits nor timers.

mod dispatcher;
pub(crate) mod instance;
pub(crate) mod isolation;
pub(crate) mod state;
pub(crate) mod steps;

pub(crate) use crate::engine::instance::prefetch::Hold;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};
use wfe_core::{
    BoxError, Result, WfeError,
    definition::BodyEnd,
    traits::{Claimed, Loaded, Owner},
};

use crate::engine::state::{
    outcome::Idle,
    shared::{AtWork, Shared},
};

/// What a host asks of its engine.
pub(crate) enum Command {
    /// Run this instance, which was started just now.
    Run(Box<Begin>),
    /// Somebody asked something of this instance.
    Wake(String),
    /// An instance was stored for which there was no room.
    Look,
    /// Definitions were registered: stored instances may wait for them.
    Registered,
    /// It is not known whether the store gave this host an instance that nobody here works on.
    Doubt,
    /// Tell when nothing can happen any more by itself.
    Idle(oneshot::Sender<Idle>),
    /// End: let running bodies end within the grace time, then answer. Sent in [`Phase::Draining`].
    Stop(oneshot::Sender<()>),
}

/// An instance to run, as it was stored.
pub(crate) struct Begin {
    pub claimed: Claimed,
    pub loaded: Loaded,
    pub work: AtWork,
}

/// What an actor is told.
pub(crate) enum Mail {
    /// The body of this pointer, and the job of this number, began then; its time is limited.
    Begun(String, u64, DateTime<Utc>),
    /// The body of this pointer ended. If it `goes_on`, that is said of its attempt only: a blocking one, for which the
    /// middleware around it has not waited.
    Ended { pointer: String, end: BodyEnd, goes_on: bool },
    /// The body of the job of this number is over without a result: it never began, or was dropped, with the program's
    /// runtime, or because it went on for too long after nobody wanted it any more; or it has gone on after its attempt.
    NotRun(u64),
    /// Items that were asked for by the `Run` that was opened as the `asker`-th: they, or why they cannot be read, from the one
    /// at the position `from` on.
    Items { asker: u64, container: String, from: u64, read: Result<Vec<serde_json::Value>> },
    /// Look at the stored instance: somebody asked something of it.
    Look,
}

/// How far the host is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It runs.
    Running,
    /// No body begins any more; those that run may end.
    Draining,
    /// The grace time is over.
    Closing,
}

/// Starts the engine's thread, and gives its runtime. It ends when it is stopped, or when the last sender of commands
/// or the program's runtime is gone.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    commands: mpsc::UnboundedReceiver<Command>,
    phase: watch::Sender<Phase>,
) -> Result<Handle> {
    let steps = Handle::try_current().map_err(|e| WfeError::Other(e.into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| failed("the engine's runtime could not be made", e))?;
    let engine = runtime.handle().clone();
    let work = move || {
        let asked = runtime.block_on(dispatcher::run(shared, owner, commands, phase, steps));
        // Nothing of the engine is left when it says so: a program that ends then closes its store by dropping it.
        drop(runtime);
        if let Some(asked) = asked {
            // It fails only if whoever asked has gone away.
            let _unheard = asked.send(());
        }
    };
    let thread = std::thread::Builder::new().name("wfe-engine".to_owned()).spawn(work);
    thread.map(|_| engine).map_err(|e| failed("the engine's thread could not be started", e))
}

fn failed(message: &str, source: std::io::Error) -> WfeError {
    let source: BoxError = source.into();
    WfeError::Storage { message: message.to_owned(), source: Some(source) }
}

pub(crate) type PhaseWatch = watch::Receiver<Phase>;
