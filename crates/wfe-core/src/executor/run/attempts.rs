//! The attempts of a step: how many attempts have failed, and whether another attempt follows after a backoff.

use chrono::{DateTime, Utc};

use super::{Env, Run};
use crate::{
    Result,
    models::{ExecutionPointer, PointerStatus, attributes},
    program::OnFailure,
    steps::StepError,
    traits::StepFailure,
};

/// What follows a failed attempt of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Another attempt, at this time. `None` means at once, or that it has begun already.
    Attempt(Option<DateTime<Utc>>),
    /// The step's fallback.
    Fallback,
    /// The next step: the instance continues without the failed one.
    Continue,
    /// The compensation of the saga around the step.
    Compensate,
    /// Nothing until the instance is resumed.
    Suspend,
    /// The end of the instance.
    Fail,
}

impl Follows {
    /// The word that stands for it in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attempt(_) => "retry",
            Self::Fallback => "fallback",
            Self::Continue => "continue",
            Self::Compensate => "compensate",
            Self::Suspend => "suspend",
            Self::Fail => "fail",
        }
    }
}

impl Run {
    /// Handles a failed attempt: the pointer gets another attempt after its backoff, or the step fails for good.
    pub(super) fn fail(&mut self, at: &str, error: &StepError, env: &mut Env<'_>) -> Result<()> {
        let replacement = error.panic_in_messages();
        let error = replacement.as_ref().unwrap_or(error);
        let node = self.node_of(at)?;
        let (policy, step, is_saga) = (node.policy.clone(), node.id.to_string(), node.verb.is_saga());
        let has_body = node.verb.body().is_some();
        let attempt = self.pointers.get(at)?.retry_count.saturating_add(1);
        let failure = self.record_failure(at, step, attempt, error, env);
        if self.is_in_fallback(at)? {
            return self.fallback_failed(at, failure, error, env);
        }
        if is_saga && self.is_open_saga(at)? {
            // The saga itself has failed, because its cancel condition failed. The saga is compensated as if a step
            // inside it had failed.
            return self.saga_failed(at, failure, error, env);
        }
        self.cancel_inside(at, env)?;
        self.wake(at)?;
        if self.pointers.get(at)?.status == PointerStatus::Running {
            self.restart(at)?;
            if has_body {
                // The body of the container determined its branches. The body runs again, and determines new branches.
                self.pointers.edit(at)?.persistence_data = None;
            }
        }
        let in_a_row = self.count_failure(at)?;
        if let Some(backoff) = policy.retry.backoff(in_a_row, error, (env.random)()) {
            return self.sleep(at, backoff, env);
        }
        self.fail_for_good(at, failure, error, env)
    }

    /// What follows this failed attempt, as far as the present state shows it.
    #[must_use]
    pub fn follows(&self, failure: &StepFailure) -> Follows {
        let at = &failure.error.execution_pointer_id;
        if let Ok(pointer) = self.pointers.get(at)
            && pointer.active
            && pointer.status != PointerStatus::Failed
        {
            return match pointer.status {
                _ if pointer.has(attributes::IN_FALLBACK) => Follows::Fallback,
                PointerStatus::Sleeping => Follows::Attempt(pointer.sleep_until),
                // A saga whose own condition has failed.
                PointerStatus::Running if self.is_compensating(at).unwrap_or(false) => Follows::Compensate,
                _ => Follows::Attempt(None),
            };
        }
        match self.definition.find(&failure.step).map(|node| node.on_failure) {
            Some(OnFailure::Continue) => Follows::Continue,
            Some(OnFailure::Compensate) => Follows::Compensate,
            Some(OnFailure::Suspend) => Follows::Suspend,
            Some(OnFailure::Fail) | None => Follows::Fail,
        }
    }

    /// Counts a failed attempt, and returns the number of attempts that failed in a row.
    pub(super) fn count_failure(&mut self, at: &str) -> Result<u32> {
        let pointer = self.pointers.edit(at)?;
        pointer.retry_count = pointer.retry_count.saturating_add(1);
        Ok(failed_in_a_row(pointer))
    }

    /// Resets the count of failed attempts in a row to zero.
    pub(in crate::executor) fn reset_retries(&mut self, at: &str) -> Result<()> {
        let pointer = self.pointers.edit(at)?;
        if pointer.retry_count > 0 {
            pointer.set(attributes::FORGIVEN, pointer.retry_count);
        }
        Ok(())
    }
}

/// The number of attempts of this pointer that have failed in a row. If the pointer sleeps and this number is greater
/// than zero, the pointer waits for its next attempt.
pub(in crate::executor) fn failed_in_a_row(pointer: &ExecutionPointer) -> u32 {
    let forgiven = pointer.number(attributes::FORGIVEN).unwrap_or(0);
    pointer.retry_count.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
}
