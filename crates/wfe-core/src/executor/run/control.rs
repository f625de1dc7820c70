use super::{Env, Run};
use crate::{
    Result,
    executor::Lifecycle,
    models::{StatusChange, WorkflowStatus},
    steps::StepError,
    traits::{Control, ControlRequest, Ending, Intervention},
};

impl Run {
    /// Applies a control request of a caller. The next commit contains the effect of the request, and the number of the
    /// request. A request has no effect after the end of the instance.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn control(&mut self, request: ControlRequest, env: &mut Env<'_>) -> Result<()> {
        let ControlRequest { number, control, intervention } = request;
        self.pending.applied(number);
        if self.status.is_final() {
            return Ok(());
        }
        match control {
            Control::Suspend if self.status == WorkflowStatus::Runnable => {
                self.set_status(StatusChange::Suspend, None)?;
                self.notify(Lifecycle::Suspended, env);
                Ok(())
            }
            Control::Resume if self.status == WorkflowStatus::Suspended => {
                self.resume(intervention.as_ref(), env)
            }
            Control::Suspend | Control::Resume => Ok(()),
            Control::Cancel if self.is_closing() => Ok(()),
            Control::Cancel => self.close(Ending::Cancelled, None, env),
            Control::Terminate => self.end_early(Ending::Terminated, None, env),
        }
    }

    fn resume(&mut self, intervention: Option<&Intervention>, env: &mut Env<'_>) -> Result<()> {
        if let Some(fault) = self.fault.clone() {
            // The instance has not been repaired. It stays quarantined, and the reason is recorded again.
            self.pending.record_failure(fault.clone());
            return self.set_status(StatusChange::Suspend, Some(fault));
        }
        let done = match intervention {
            None => {
                self.set_resumed(env)?;
                self.retry_failed()?;
                Ok(())
            }
            Some(Intervention::Skip) => self.skip_failed(env)?,
            Some(Intervention::ResumeFrom(step)) => self.resume_from(step, env)?,
        };
        if let Err(why) = done {
            // The instance stays suspended, because continuing in another way than requested could do harm.
            let error = StepError::fatal(why).with_code(StepError::INTERVENTION);
            self.record_failure("", String::new(), 1, &error, env);
        }
        self.end_if_over(env)
    }

    /// Ends the suspension of the instance.
    pub(super) fn set_resumed(&mut self, env: &Env<'_>) -> Result<()> {
        self.set_status(StatusChange::Resume, None)?;
        self.notify(Lifecycle::Resumed, env);
        self.pending.listen();
        // Steps that ended during the suspension may have changed the data, but the conditions were not evaluated then.
        self.data.touch();
        Ok(())
    }
}
