//! The engine's own thread: which instances are at work, when to look at others, and each one's actor.
//!
//! Of what a user writes, only what is quick runs here: output closures, retry predicates, and the data's and errors' own
//! `Clone`, `Serialize` and the like. Bodies, inputs and factories do not, so that a step which never yields stops
//! neither commits nor timers.

pub(crate) mod command;
mod dispatcher;
pub(crate) mod instance;
pub(crate) mod isolation;
pub(crate) mod message;
pub(crate) mod schedule;
pub(crate) mod state;
pub(crate) mod steps;

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use wfe_core::{BoxError, Result, WfeError, traits::Owner};

use crate::engine::{command::Command, message::Phase, state::shared::Shared};

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
