use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Env, Lifecycle, Run};
use crate::{
    Result,
    definition::OnFailure,
    models::{ExecutionError, PointerChange, StatusChange},
    steps::{ItemFailure, StepError},
    traits::{Ending, StepFailure},
};

/// Attribute of a pointer that was tried again after a resume: how many attempts had failed before it.
pub(super) const FORGIVEN: &str = "forgiven";

impl Run {
    /// The pointer's body failed: it is tried again later, or what its policy says happens.
    pub(super) fn fail(&mut self, at: &str, error: &StepError, env: &mut Env<'_>) -> Result<()> {
        let node = self.node_of(at)?;
        let policy = node.policy.clone();
        let step = node.id.to_string();
        let pointer = self.live.edit(at)?;
        pointer.retry_count = pointer.retry_count.saturating_add(1);
        let attempt = pointer.retry_count;
        let forgiven = pointer.extension_attributes.get(FORGIVEN).and_then(Value::as_u64);
        let in_a_row = forgiven.map_or(attempt, |n| attempt.saturating_sub(u32::try_from(n).unwrap_or(0)));
        let failure = step_failure(&self.id, at, step, attempt, error, env.now);
        self.delta.failures.push(failure.clone());
        self.tell(Lifecycle::Error(Box::new(failure.clone())), env);

        if let Some(pause) = policy.retry.pause(in_a_row, error, (env.random)()) {
            return self.sleep(at, pause, env);
        }
        let pointer = self.live.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Fail)?;
        match policy.on_failure {
            OnFailure::Terminate => {
                pointer.active = false;
                pointer.end_time = Some(env.now);
                self.end_early(Ending::Failed, Some(failure), env)
            }
            OnFailure::Suspend => {
                // The pointer stays active: resumed, it is tried again.
                self.set_status(StatusChange::Suspend, Some(failure))?;
                self.tell(Lifecycle::Suspended, env);
                Ok(())
            }
            OnFailure::Continue => {
                let kept = ItemFailure { code: failure.code, causes: failure.causes, attempts: attempt };
                pointer.outcome = Some(serde_json::to_value(kept)?);
                self.go_on(at, env)
            }
        }
    }

    /// The pointer is looked at again after `pause`.
    pub(super) fn sleep(&mut self, at: &str, pause: Duration, env: &Env<'_>) -> Result<()> {
        let until = chrono::Duration::from_std(pause)
            .ok()
            .and_then(|pause| env.now.checked_add_signed(pause))
            // A pause beyond the calendar's end: the last time that a store can hold (nanoseconds in an i64).
            .unwrap_or_else(|| DateTime::from_timestamp_nanos(i64::MAX));
        let pointer = self.live.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Sleep)?;
        pointer.sleep_until = Some(until);
        self.sleeping.insert((until, at.to_owned()));
        Ok(())
    }
}

/// A failure with all that is known of it.
pub(super) fn step_failure(
    instance: &str,
    pointer: &str,
    step: String,
    attempt: u32,
    error: &StepError,
    now: DateTime<Utc>,
) -> StepFailure {
    StepFailure {
        error: ExecutionError {
            error_time: now,
            workflow_id: instance.to_owned(),
            execution_pointer_id: pointer.to_owned(),
            message: error.to_string(),
        },
        step,
        attempt,
        code: error.code().to_owned(),
        causes: error.chain().map(ToString::to_string).collect(),
    }
}
