//! Activities. Workers find an activity by the name of the event that the activity waits for. The key of this event is
//! the id of the activity's subscription, so an answer cannot reach another activity.

use serde_json::Value;

use super::{
    run_body::unreadable,
    wait_for::{expired, receive},
};
use crate::{
    executor::{
        Moved, Primitive, events,
        run::{Env, Run, subscriptions::Expected},
    },
    models::ExecutionPointer,
    program::{ActivityName, ActivityStep, NAMELESS, name_problem},
    steps::{StepError, WorkerAnswer},
};

/// Refuses a computed name that `build` would refuse.
fn checked(name: String) -> Result<String, StepError> {
    match name_problem(&name).or_else(|| name.is_empty().then(|| NAMELESS.to_owned())) {
        None => Ok(name),
        Some(problem) => Err(StepError::fatal(problem).with_code(StepError::DEFINITION)),
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
        match &self.limit {
            None => Ok(()),
            Some(limit) => limit.start(run, at, env),
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
        if self.limit.is_none() {
            // The definition no longer has the time limit, but the subscription may already refuse answers. So a new
            // subscription is opened.
            run.wake(at)?;
            return self.enter(run, at, env);
        }
        expired(self.limit.as_ref(), run, at)
    }

    fn takes_no_answer_after(&self, _: &Run, _: &str, _: &Env<'_>) -> crate::Result<bool> {
        Ok(self.limit.is_some())
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        Ok(run.complete(at, None, env)?)
    }

    fn reopen(&self, _: &mut Run, _: &ExecutionPointer) -> Result<(), String> {
        Ok(())
    }
}
