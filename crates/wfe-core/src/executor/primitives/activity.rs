//! Activities. Workers find an activity by the name of the event that the activity waits for. The key of this event is
//! the id of the activity's subscription, so an answer cannot reach another activity.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    run_body::unreadable,
    wait_for::{expired, receive},
};
use crate::{
    WfeError,
    executor::{
        Closes, Moved, Primitive, events,
        run::{Env, Run, subscriptions::Expected},
    },
    limits::later,
    models::{ExecutionPointer, attributes},
    program::{ActivityName, ActivityStep, Ask, NAMELESS, name_problem},
    steps::{StepError, WorkerAnswer},
};

/// Refuses a computed name that `build` would refuse.
fn checked(name: String) -> Result<String, StepError> {
    match name_problem(&name).or_else(|| name.is_empty().then(|| NAMELESS.to_owned())) {
        None => Ok(name),
        Some(problem) => Err(StepError::fatal(problem).with_code(StepError::DEFINITION)),
    }
}

/// The claim limit that an activity had.
struct ClaimLimit {
    /// The end of the other time limit.
    limit: Option<DateTime<Utc>>,
}

/// Removes the claim limit of this pointer. Returns `None` if it has none.
fn forget_claim_limit(run: &mut Run, at: &str) -> Result<Option<ClaimLimit>, WfeError> {
    if !run.pointer(at)?.has(attributes::CLAIM_BY) {
        return Ok(None);
    }
    let pointer = run.edit(at)?;
    pointer.unset(attributes::CLAIM_BY);
    let limit = pointer.unset(attributes::LIMIT).map(serde_json::from_value).transpose()?;
    Ok(Some(ClaimLimit { limit }))
}

impl ActivityStep {
    /// Ends the wait, because no worker has claimed the activity in time.
    fn unclaimed(&self, run: &mut Run, at: &str) -> Moved {
        match &self.limit {
            Some(limit) if limit.has_branch => limit.expire(run, at),
            _ => {
                run.wake(at)?;
                let error = StepError::retryable("no worker claimed the activity within its limit");
                Err(error.with_code(StepError::TIMEOUT).into())
            }
        }
    }
}

impl Primitive for ActivityStep {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let name = match &self.name {
            ActivityName::Fixed(name) => name.clone(),
            ActivityName::Computed(name) => checked(run.evaluate_at(at, name)?)?,
        };
        let input = run.evaluate(at, &self.input)?;
        run.subscribe(at, Expected::own(events::activity_event(&name), None, Some(input)))?;
        // These attributes belong to an earlier attempt.
        forget_claim_limit(run, at)?;
        let time = |after: &Ask<Duration>| -> Moved<_> { Ok(later(env.now, run.evaluate(at, after)?)) };
        let limit = self.limit.as_ref().map(|limit| time(&limit.after)).transpose()?;
        let claim_by = self.claim_within.as_ref().map(time).transpose()?;
        match (claim_by.filter(|claim_by| limit.is_none_or(|limit| *claim_by < limit)), limit) {
            (Some(claim_by), limit) => {
                let pointer = run.edit(at)?;
                pointer.set(attributes::CLAIM_BY, serde_json::to_value(claim_by)?);
                if let Some(limit) = limit {
                    pointer.set(attributes::LIMIT, serde_json::to_value(limit)?);
                }
                Ok(run.set_timer(at, claim_by)?)
            }
            (None, Some(limit)) => Ok(run.set_timer(at, limit)?),
            (None, None) => Ok(()),
        }
    }

    fn event_received(&self, run: &mut Run, at: &str, event: Value, env: &mut Env<'_>) -> Moved {
        let answer: WorkerAnswer = serde_json::from_value(event).map_err(unreadable)?;
        let result = answer.into_result()?;
        receive(run, at, &self.outputs, &result)?;
        // The result is stored only once, as the outcome of the step.
        run.edit(at)?.event_data = None;
        Ok(run.complete(at, Some(result), env)?)
    }

    fn timer_fired(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let was_claim_limit = forget_claim_limit(run, at)?.is_some();
        if was_claim_limit && self.claim_within.is_some() {
            return self.unclaimed(run, at);
        }
        if was_claim_limit || self.limit.is_none() {
            // The definition no longer has the time limit, but the subscription may already refuse answers. So a new
            // subscription is opened.
            run.wake(at)?;
            return self.enter(run, at, env);
        }
        expired(self.limit.as_ref(), run, at)
    }

    fn closes_at_limit(&self, run: &Run, at: &str, _: &Env<'_>) -> crate::Result<Closes> {
        Ok(if run.pointer(at)?.has(attributes::CLAIM_BY) {
            Closes::UnlessClaimed
        } else if self.limit.is_some() {
            Closes::Yes
        } else {
            Closes::No
        })
    }

    /// The first claim ends the claim limit. The other time limit continues.
    fn claimed(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        match forget_claim_limit(run, at)?.and_then(|it| it.limit) {
            Some(limit) => Ok(run.set_timer(at, limit)?),
            None => Ok(run.clear_timer(at)?),
        }
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        Ok(run.complete(at, None, env)?)
    }

    fn reopen(&self, _: &mut Run, _: &ExecutionPointer) -> Result<(), String> {
        Ok(())
    }
}
