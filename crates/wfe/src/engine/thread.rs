//! The thread of an engine.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use tokio::{runtime, sync::watch};
use wfe_core::{BoxError, Result, WfeError, traits::Owner};

use super::{channel::Receiver, dispatcher, message::Phase, state::shared::Shared, task};

/// Starts the engine's thread and returns its runtime. The thread ends when the engine is stopped, or when the host
/// or the program's runtime is dropped.
pub(super) fn spawn(
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    phase: watch::Sender<Phase>,
    questions: BoxStream<'static, ()>,
) -> Result<runtime::Handle> {
    let steps = runtime::Handle::try_current().map_err(|e| WfeError::Other(e.into()))?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| failed("the engine's runtime could not be made", e))?;
    let engine = runtime.handle().clone();
    let work = move || {
        let receiver = Receiver::new(shared.channel.clone());
        let engine = dispatcher::run(shared, owner, receiver, phase, steps, questions);
        let stopped = runtime.block_on(task::boxed(engine));
        // The engine's runtime is dropped before `stop` returns: a program that ends after `stop` closes its store by
        // dropping the store.
        drop(runtime);
        if let Some(answer) = stopped {
            // Sending fails only if the caller no longer waits.
            let _gone = answer.send(());
        }
    };
    let thread = std::thread::Builder::new().name("wfe-engine".to_owned()).spawn(work);
    thread.map(|_| engine).map_err(|e| failed("the engine's thread could not be started", e))
}

fn failed(message: &str, source: std::io::Error) -> WfeError {
    let source: BoxError = source.into();
    WfeError::Storage { message: message.to_owned(), source: Some(source) }
}
