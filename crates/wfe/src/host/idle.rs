use wfe_core::Result;

use super::workflow_host::WorkflowHost;
use crate::engine::Idle;

impl WorkflowHost {
    /// Waits until the host is idle: no step body, no step middleware and no
    /// [`WorkflowMiddleware::ended`](crate::middleware::WorkflowMiddleware::ended) runs, all results are stored, and
    /// the store holds nothing due that this host could claim. An idle host does nothing until time passes or an
    /// external call, event or answer arrives. The host determines this exactly, not by waiting for a while, so that
    /// tests know when to advance their virtual clock.
    ///
    /// A body or a middleware that waits for an external system keeps the host from being idle. A store that fails also
    /// keeps the host from being idle. A start that still waits for its middleware does not count. In a body or a
    /// middleware, this call never returns.
    ///
    /// # Errors
    /// * [`Closed`](wfe_core::WfeError::Closed): the host was not started, or it ended (by [`stop`](Self::stop), or
    ///   with the runtime on which it was started).
    /// * [`Unusable`](wfe_core::WfeError::Unusable): the host has ended because its store is lost.
    pub async fn idle(&self) -> Result<Idle> {
        self.engine().wait_idle().await
    }
}
