//! Threads of the store's own, each with a runtime of its own: what runs there waits for no caller.

use std::{io, thread};

use wfe_core::{Result, WfeError};

/// Starts a thread with a runtime of its own for `body`.
pub(crate) fn start<F>(name: &str, body: F) -> Result<()>
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
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || runtime.block_on(body()))
        .map_err(|error| failed("thread", error))?;
    Ok(())
}
