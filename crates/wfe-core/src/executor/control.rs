use super::{Env, Lifecycle, Run};
use crate::{
    Result,
    models::{ExecutionError, StatusChange, WorkflowStatus},
    traits::{Control, ControlRequest, Ending, Intervention, StepFailure},
};

impl Run {
    /// Somebody asked for something. Its effect is part of the next commit, which names the request. After the end of
    /// the instance nothing changes.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn control(&mut self, request: ControlRequest, env: &mut Env<'_>) -> Result<()> {
        let ControlRequest { number, control, intervention } = request;
        self.delta.applied = Some(number);
        if self.status.is_final() {
            return Ok(());
        }
        if let Some(intervention) = &intervention {
            self.refuse(intervention, env);
            return Ok(());
        }
        match control {
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

    /// This engine does not know how to go on in that way. Going on in another one could do harm: nothing changes, and
    /// the failure that is stored says why.
    fn refuse(&mut self, intervention: &Intervention, env: &Env<'_>) {
        let message =
            format!("this host cannot go on by {intervention:?}: resume the instance, or cancel it");
        self.delta.failures.push(StepFailure {
            error: ExecutionError {
                error_time: env.now,
                workflow_id: self.id.to_string(),
                execution_pointer_id: String::new(),
                message: message.clone(),
            },
            step: String::new(),
            attempt: 1,
            code: "intervention".to_owned(),
            causes: vec![message],
        });
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
