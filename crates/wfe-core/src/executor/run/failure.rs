//! The consequences of the last failed attempt of a step.

use chrono::{DateTime, Utc};

use super::{Env, Run};
use crate::{
    Result,
    executor::Lifecycle,
    models::{ExecutionError, PointerChange, PointerStatus, StatusChange, attributes},
    program::OnFailure,
    steps::{ItemFailure, StepError},
    traits::{StepFailure, StoredFailure},
};

impl Run {
    /// Records a failure in the pending commit, publishes it as a lifecycle event, and returns it.
    pub(in crate::executor) fn record_failure(
        &mut self,
        at: &str,
        step: String,
        attempt: u32,
        error: &StepError,
        env: &Env<'_>,
    ) -> StepFailure {
        let failure = step_failure(&self.id, at, step, attempt, error, env.now);
        self.pending.record_failure(failure.clone());
        self.notify(Lifecycle::Error(Box::new(failure.clone())), env);
        failure
    }

    /// Applies the step's failure behaviour, because the pointer gets no further attempt.
    pub(super) fn fail_for_good(
        &mut self,
        at: &str,
        failure: StepFailure,
        error: &StepError,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let node = self.node_of(at)?;
        let (on_failure, fallback, is_saga) = (node.on_failure, node.fallback, node.verb.is_saga());
        let attempts = self.pointers.get(at)?.retry_count;
        let item_failure =
            ItemFailure { code: failure.code.clone(), causes: failure.causes.clone(), attempts };
        let kept = serde_json::to_value(&item_failure)?;
        match on_failure {
            // If the instance is retried, its saga may be compensated later. The step then begins as another pointer.
            OnFailure::Continue | OnFailure::Fail => self.log_unfinished(at, item_failure)?,
            OnFailure::Compensate => {
                if let Some(saga) = self.sagas_around(at)?.first() {
                    self.log_cut_short_beside(saga, at)?;
                }
                self.log_unfinished(at, item_failure)?;
            }
            // The step gets another attempt after a resume.
            OnFailure::Suspend => {}
        }
        if on_failure == OnFailure::Continue
            && let Some(fallback) = fallback
        {
            return self.begin_fallback(at, fallback, kept);
        }
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Fail)?;
        match on_failure {
            OnFailure::Fail => {
                self.deactivate(at, env)?;
                self.end_as_failed(at, failure, error, env)
            }
            OnFailure::Suspend => {
                // The pointer stays active: it gets another attempt when the instance is resumed.
                self.set_status(StatusChange::Suspend, Some(failure))?;
                self.notify(Lifecycle::Suspended, env);
                Ok(())
            }
            OnFailure::Continue => {
                pointer.outcome = Some(kept);
                if is_saga {
                    pointer.status = pointer.status.after(PointerChange::Compensate)?;
                }
                self.proceed(at, env)
            }
            OnFailure::Compensate => {
                pointer.outcome = Some(kept);
                self.deactivate(at, env)?;
                match self.sagas_around(at)?.into_iter().next() {
                    Some(saga) => self.saga_failed(&saga, failure, error, env),
                    // A definition with this failure behaviour outside of a saga is refused. So the step was inside a
                    // saga when it began.
                    None => self.end_as_failed(at, failure, error, env),
                }
            }
        }
    }

    /// Stores a failure in the saga's pointer. The failure is the cause of the saga's next round. The pointer of the
    /// failed step has the failure too, but is no longer live.
    pub(super) fn note_retried_for(&mut self, saga: &str, failure: &StepFailure) -> Result<()> {
        let failure = serde_json::to_value(StoredFailure(failure.clone()))?;
        self.pointers.edit(saga)?.set(attributes::RETRIED_FOR, failure);
        Ok(())
    }

    /// Makes the failed pointers pending again, after a resume.
    pub(super) fn retry_failed(&mut self) -> Result<()> {
        for id in self.pointers.in_status(&[PointerStatus::Failed]) {
            if !self.pointers.get(&id)?.active {
                continue;
            }
            let pointer = self.pointers.edit(&id)?;
            pointer.status = pointer.status.after(PointerChange::Wake)?;
            self.reset_retries(&id)?;
            self.pending.enqueue(id);
        }
        Ok(())
    }
}

/// Builds the record of a failure.
pub(super) fn step_failure(
    instance: &str,
    pointer: &str,
    step: String,
    attempt: u32,
    error: &StepError,
    now: DateTime<Utc>,
) -> StepFailure {
    let causes = error.causes();
    StepFailure {
        error: ExecutionError {
            error_time: now,
            workflow_id: instance.to_owned(),
            execution_pointer_id: pointer.to_owned(),
            message: causes.first().cloned().unwrap_or_default(),
        },
        step,
        attempt,
        code: error.code().to_owned(),
        causes,
    }
}
