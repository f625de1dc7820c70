//! Starts the tasks of the engine, as boxed futures.
//!
//! The compiler puts the code of an `async` block, and of all that it awaits, into each of its units of code that names the
//! type of the block. The functions of tokio that run a future are several such units. A boxed future is named once.
//! Without the boxes, this crate takes a third more time to compile.

use std::pin::Pin;

use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, task::JoinHandle};

/// Boxes a future. Unlike in an `async` block, the type of the future is named in this function alone.
pub(super) fn boxed<'a, T>(future: impl Future<Output = T> + 'a) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(future)
}

/// Starts a task on the current runtime.
pub(super) fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    let future: BoxFuture<'static, T> = Box::pin(future);
    tokio::spawn(future)
}

/// Starts a task on this runtime.
pub(super) fn spawn_on<T: Send + 'static>(
    runtime: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let future: BoxFuture<'static, T> = Box::pin(future);
    runtime.spawn(future)
}
