//! The step whose body runs in the current task or thread. A virtual clock reads it: a test waits until the body of a step
//! sleeps.

use std::sync::Arc;

use super::Execution;

tokio::task_local! {
    static CURRENT: Arc<Execution>;
}

/// Runs a future as the body of this step.
pub(crate) async fn within<F: Future>(execution: Arc<Execution>, body: F) -> F::Output {
    CURRENT.scope(execution, body).await
}

/// Runs a closure as the body of this step.
pub(crate) fn within_blocking<T>(execution: Arc<Execution>, body: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(execution, body)
}

/// The stable id of the step whose body calls this function, or `None` outside of bodies. Tasks and threads that a body
/// starts are outside of it.
#[doc(hidden)]
#[must_use]
pub fn current_step() -> Option<Arc<str>> {
    CURRENT.try_with(|execution| execution.step.clone()).ok()
}
