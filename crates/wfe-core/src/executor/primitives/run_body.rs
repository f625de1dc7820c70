use chrono::DateTime;
use serde_json::Value;

use crate::{
    executor::{
        Moved, Primitive, events,
        run::{Env, Run, subscriptions::Expected},
    },
    limits::{last_time, nearest_time},
    models::PointerChange,
    program::{Answer, RunBody, name_problem},
    steps::{ActivityWait, EventWait, Next, StepError, WorkerAnswer},
};

impl Primitive for RunBody {
    fn enter(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        run.make_ready(at);
        Ok(())
    }

    fn ended(&self, run: &mut Run, at: &str, answer: Answer, env: &mut Env<'_>) -> Moved {
        let Answer { next, apply } = answer;
        let (next, state) = next.split();
        match next {
            Next::Done | Next::Outcome(_) => run.apply(apply)?,
            Next::Branch(_) => {
                let error = StepError::fatal("the step returned branches, but is defined without branches");
                return Err(error.with_code(StepError::DEFINITION).into());
            }
            Next::SleepUntil(time) if time > last_time() => {
                let error =
                    format!("the step cannot sleep until {time}: a store holds times up to {}", last_time());
                return Err(StepError::fatal(error).with_code(StepError::UNSTORABLE).into());
            }
            Next::WaitForEvent(EventWait { ref name, .. })
            | Next::WaitForActivity(ActivityWait { ref name, .. }) => {
                if let Some(problem) = name_problem(name) {
                    return Err(StepError::fatal(problem).with_code(StepError::DEFINITION).into());
                }
            }
            _ => {}
        }
        let pointer = run.edit(at)?;
        if state.is_some() {
            pointer.persistence_data = state;
        }
        if matches!(next, Next::Sleep(_) | Next::SleepUntil(_) | Next::Persist(_)) {
            // The next run of the body is not caused by the event.
            pointer.event_data = None;
        }
        match next {
            Next::Outcome(value) => Ok(run.complete(at, Some(value), env)?),
            Next::Sleep(delay) => {
                run.reset_retries(at)?;
                Ok(run.sleep(at, delay, env)?)
            }
            Next::SleepUntil(time) => {
                run.reset_retries(at)?;
                // A time before 1970 is in the past anyway, and a store cannot hold it.
                Ok(run.sleep_until(at, nearest_time(time).max(DateTime::UNIX_EPOCH))?)
            }
            Next::Persist(_) => {
                run.reset_retries(at)?;
                run.make_ready(at);
                Ok(())
            }
            Next::WaitForEvent(EventWait { name, key, effective }) => {
                run.reset_retries(at)?;
                Ok(run.subscribe(at, Expected { name, key: Some(key), as_of: effective, data: None })?)
            }
            Next::WaitForActivity(ActivityWait { name, input }) => {
                run.reset_retries(at)?;
                Ok(run.subscribe(at, Expected::own(events::activity_event(&name), None, Some(input)))?)
            }
            _ => Ok(run.complete(at, None, env)?),
        }
    }

    /// Makes the body run again. If the event is a worker's answer, the body finds the worker's result in the pointer.
    /// Otherwise, the body finds the event's data there.
    fn event_received(&self, run: &mut Run, at: &str, event: Value, _: &mut Env<'_>) -> Moved {
        let pointer = run.edit(at)?;
        if pointer.event_name.as_deref().is_some_and(|name| events::activity_name(name).is_some()) {
            let answer: WorkerAnswer = serde_json::from_value(event).map_err(unreadable)?;
            pointer.event_data = None;
            pointer.event_data = Some(answer.into_result()?);
        }
        debug_assert!(pointer.status.after(PointerChange::Run).is_ok(), "the pointer is pending again");
        run.make_ready(at);
        Ok(())
    }
}

/// Builds the error for an answer or event that has the wrong form. The error is retryable, because the next answer or
/// event may have the right form.
pub(super) fn unreadable(error: serde_json::Error) -> StepError {
    StepError::retryable(error).with_code(StepError::UNREADABLE)
}
