use super::{Env, Lifecycle, Run};
use crate::{
    Result,
    models::{StatusChange, WorkflowStatus},
    traits::{Control, ControlRequest, Ending},
};

impl Run {
    /// Somebody asked for something. Its effect is part of the next commit, which names the request. After the end of
    /// the instance nothing changes.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn control(&mut self, request: ControlRequest, env: &mut Env<'_>) -> Result<()> {
        self.delta.applied = Some(request.number);
        if self.status.is_final() {
            return Ok(());
        }
        match request.control {
            Control::Suspend if self.status == WorkflowStatus::Runnable => {
                self.set_status(StatusChange::Suspend, None)?;
                self.tell(Lifecycle::Suspended, env);
                Ok(())
            }
            Control::Resume if self.status == WorkflowStatus::Suspended => self.resume(env),
            Control::Suspend | Control::Resume => Ok(()),
            Control::Cancel if self.is_closing() => Ok(()),
            Control::Cancel => self.close(Ending::Cancelled, None, env),
            Control::Terminate => self.end_early(Ending::Terminated, None, env),
        }
    }

    fn resume(&mut self, env: &mut Env<'_>) -> Result<()> {
        if let Some(fault) = self.fault.clone() {
            // Nothing was mended since: it stays parked, and says why again.
            self.delta.failures.push(fault.clone());
            return self.set_status(StatusChange::Suspend, Some(fault));
        }
        self.set_status(StatusChange::Resume, None)?;
        self.tell(Lifecycle::Resumed, env);
        self.delta.listen = true;
        self.try_failed_again()?;
        self.end_if_over(env)
    }
}
