use tokio::sync::oneshot;
use wfe_core::Result;

use super::workflow_host::WorkflowHost;
use crate::engine::{command::Command, state::outcome::Idle};

impl WorkflowHost {
    /// Resolves once nothing can happen here before time passes or something comes from outside: no body runs, all results
    /// are stored, and nothing in the store is due that this host could take up. It is found out, not guessed by waiting:
    /// tests with a virtual clock move it then.
    ///
    /// A body that waits for something outside keeps the host from being idle. So does a store that fails.
    ///
    /// # Errors
    /// * [`Closed`](wfe_core::WfeError::Closed): the host does not run, or ends meanwhile, by [`stop`](Self::stop) or with the
    ///   runtime that it was started on.
    /// * [`Unusable`](wfe_core::WfeError::Unusable): it has ended because its store is lost.
    pub async fn idle(&self) -> Result<Idle> {
        let (answer, idle) = oneshot::channel();
        self.tell(Command::Idle(answer));
        idle.await.map_err(|_| self.0.shared.loss.or_closed())
    }
}
