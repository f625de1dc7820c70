//! How an instance ends.

use super::{Env, Run};
use crate::executor::reopening::Stopped;
use crate::{
    Result,
    executor::Lifecycle,
    models::{StatusChange, WorkflowStatus},
    steps::StepError,
    traits::{Ending, StepFailure},
};

impl Run {
    /// Completes the instance if nothing is left to do.
    pub(super) fn end_if_over(&mut self, env: &mut Env<'_>) -> Result<()> {
        // A suspended instance ends when it is resumed.
        if self.status != WorkflowStatus::Runnable || self.pointers.any_active() {
            return Ok(());
        }
        self.end_well(env)
    }

    /// Completes the instance. Pointers that are still live are cancelled.
    pub(super) fn end_well(&mut self, env: &mut Env<'_>) -> Result<()> {
        self.set_status(StatusChange::Complete, None)?;
        self.ending = Some(Ending::Completed);
        self.pending.set_complete_time(env.now);
        self.cancel_all(false, env)?;
        self.notify(Lifecycle::Completed, env);
        Ok(())
    }

    pub(super) fn set_status(&mut self, change: StatusChange, cause: Option<StepFailure>) -> Result<()> {
        self.status = self.status.after(change)?;
        self.cause = cause;
        self.pending.set_status(self.status);
        Ok(())
    }

    /// Ends the instance early: running bodies are notified, and live pointers are cancelled.
    pub(super) fn end_early(
        &mut self,
        ending: Ending,
        cause: Option<StepFailure>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        self.set_status(StatusChange::Terminate, cause)?;
        self.ending = Some(ending);
        self.pending.set_complete_time(env.now);
        // Only a failed or cancelled instance can be retried.
        self.cancel_all(matches!(ending, Ending::Failed | Ending::Cancelled), env)?;
        self.notify(Lifecycle::Terminated { ending }, env);
        Ok(())
    }

    /// Ends the instance because the step of the pointer `at` has failed for good.
    pub(super) fn end_as_failed(
        &mut self,
        at: &str,
        failure: StepFailure,
        error: &StepError,
        env: &mut Env<'_>,
    ) -> Result<()> {
        self.keep_stopped(at, &Stopped::failed())?;
        self.end_early(Ending::Failed, Some(failure), env)?;
        self.is_fatal = !error.is_retryable();
        Ok(())
    }
}
