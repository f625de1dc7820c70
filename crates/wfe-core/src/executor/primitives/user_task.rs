//! User tasks. A user interface finds a task by the name of the event that the task waits for. The question to the user
//! is stored with the subscription, and the key of the event is the id of the subscription.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    run_body::unreadable,
    wait_for::{expired, receive},
};
use crate::{
    executor::{
        Closes, Moved, Primitive, USER_TASK,
        run::{Env, Run, branches::branch_of, subscriptions::Expected},
    },
    limits::later,
    models::{ExecutionPointer, PointerStatus, attributes, pointer_id},
    program::{Ask, Unanswered, UserTaskStep},
    steps::{StepError, UserAnswer, UserTaskView, WorkerAnswer},
};

/// The times at which an unanswered task escalates and is reassigned. If one of the times is `None`, the task never
/// escalates (or is never reassigned), or has already done so. The pointer stores these times.
#[derive(Serialize, Deserialize)]
struct UnansweredTimes {
    escalate: Option<DateTime<Utc>>,
    reassign: Option<DateTime<Utc>>,
}

impl UnansweredTimes {
    fn next(&self) -> Option<DateTime<Utc>> {
        self.escalate.into_iter().chain(self.reassign).min()
    }
}

impl UserTaskStep {
    fn open(&self, run: &mut Run, at: &str, assignee: Option<&Ask<String>>) -> Moved {
        let view = UserTaskView {
            step: run.node_of(at)?.id.to_string(),
            prompt: run.evaluate(at, &self.prompt)?,
            assignee: assignee.map(|assignee| run.evaluate(at, assignee)).transpose()?,
            options: self.options.iter().map(|(value, _)| value.clone()).collect(),
            labels: self.labels.clone(),
        };
        Ok(run.subscribe(at, Expected::own(USER_TASK, None, Some(serde_json::to_value(view)?)))?)
    }

    /// Escalates an unanswered task if its escalation is due, and reassigns the task if its reassignment is due. An
    /// escalation begins a branch alongside the task, and the task stays open. A reassignment opens the task for
    /// another assignee.
    fn go_unanswered(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let Some(mut unanswered_times) = unanswered_times(run, at, env)? else { return Ok(()) };
        let is_due = |time: &mut Option<DateTime<Utc>>| time.take_if(|time| *time <= env.now).is_some();
        let (escalates, reassigns) =
            (is_due(&mut unanswered_times.escalate), is_due(&mut unanswered_times.reassign));
        let (next, kept) = (unanswered_times.next(), serde_json::to_value(&unanswered_times)?);
        run.edit(at)?.set(attributes::UNANSWERED, kept);
        if let Some((_, to)) = self.unanswered.reassign.as_ref().filter(|_| reassigns) {
            run.wake(at)?;
            self.open(run, at, Some(to))?;
        }
        if let Some((_, branch)) = self.unanswered.escalate.as_ref().filter(|_| escalates) {
            let branch = branch_of(run.node_of(at)?, *branch)?;
            run.begin_branch(at, pointer_id::ESCALATION, branch, |_| {})?;
        }
        match next {
            Some(next) => Ok(run.set_timer(at, next)?),
            None => Ok(run.clear_timer(at)?),
        }
    }
}

/// The times at which the task of this pointer escalates and is reassigned. `None` means that an earlier version of the
/// engine has already escalated the task.
fn unanswered_times(run: &Run, at: &str, env: &Env<'_>) -> crate::Result<Option<UnansweredTimes>> {
    let kept = &run.pointer(at)?.extension_attributes;
    if kept.contains_key(attributes::ESCALATED) {
        return Ok(None);
    }
    Ok(Some(match kept.get(attributes::UNANSWERED) {
        Some(kept) => UnansweredTimes::deserialize(kept)?,
        None => UnansweredTimes { escalate: Some(env.now), reassign: Some(env.now) },
    }))
}

impl Primitive for UserTaskStep {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        // These attributes belong to an earlier round. An escalation of the new task begins another branch.
        let kept = &mut run.edit(at)?.extension_attributes;
        if kept.remove(attributes::ESCALATED).is_some() | kept.remove(attributes::UNANSWERED).is_some() {
            run.restart(at)?;
        }
        self.open(run, at, self.assignee.as_ref())?;
        if let Some(limit) = &self.limit {
            limit.start(run, at, env)?;
        }
        let Unanswered { escalate, reassign } = &self.unanswered;
        let time = |after: &Ask<Duration>| -> Moved<_> { Ok(later(env.now, run.evaluate(at, after)?)) };
        let unanswered_times = UnansweredTimes {
            escalate: escalate.as_ref().map(|(after, _)| time(after)).transpose()?,
            reassign: reassign.as_ref().map(|(after, _)| time(after)).transpose()?,
        };
        if let Some(next) = unanswered_times.next() {
            let kept = serde_json::to_value(&unanswered_times)?;
            run.edit(at)?.set(attributes::UNANSWERED, kept);
            run.set_timer(at, next)?;
        }
        Ok(())
    }

    fn event_received(&self, run: &mut Run, at: &str, event: Value, env: &mut Env<'_>) -> Moved {
        // The answer cancels an escalation that has not ended.
        run.cancel_inside(at, env)?;
        let answer: WorkerAnswer = serde_json::from_value(event).map_err(unreadable)?;
        let result = answer.into_result()?;
        let answer: UserAnswer = serde_json::from_value(result.clone()).map_err(unreadable)?;
        let Some((_, branch)) = self.options.iter().find(|(value, _)| *value == answer.option) else {
            let problem = format!("the task has no option {:?}", answer.option);
            return Err(StepError::retryable(problem).with_code(StepError::UNREADABLE).into());
        };
        receive(run, at, &self.outputs, &result)?;
        run.edit(at)?.event_data = None;
        let Some(branch) = branch else {
            return Ok(run.complete(at, Some(result), env)?);
        };
        let key = branch.to_string();
        let branch = branch_of(run.node_of(at)?, *branch)?;
        run.become_container(at, Some(result))?;
        Ok(run.begin_branch(at, &key, branch, |_| {})?)
    }

    fn timer_fired(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        match &self.unanswered {
            Unanswered { escalate: None, reassign: None } if self.limit.is_none() => {
                // The definition no longer limits the wait. As with an activity, a new subscription is opened.
                run.wake(at)?;
                self.enter(run, at, env)
            }
            Unanswered { escalate: None, reassign: None } => expired(self.limit.as_ref(), run, at),
            _ => self.go_unanswered(run, at, env),
        }
    }

    fn closes_at_limit(&self, run: &Run, at: &str, env: &Env<'_>) -> crate::Result<Closes> {
        let closes = match &self.unanswered {
            Unanswered { escalate: None, reassign: None } => self.limit.is_some(),
            Unanswered { reassign: None, .. } => false, // the assignee stays the same
            _ => {
                unanswered_times(run, at, env)?.and_then(|it| it.reassign).is_some_and(|time| time <= env.now)
            }
        };
        Ok(if closes { Closes::Yes } else { Closes::No })
    }

    fn branch_ended(&self, run: &mut Run, at: &str, key: &str, env: &mut Env<'_>) -> Moved {
        let pointer = run.pointer(at)?;
        if key == pointer_id::ESCALATION && pointer.status == PointerStatus::WaitingForEvent {
            return Ok(()); // the task is still open
        }
        let answer = pointer.persistence_data.clone().filter(|_| key != pointer_id::TIMEOUT);
        Ok(run.complete(at, answer, env)?)
    }

    fn reopen(&self, _: &mut Run, _: &ExecutionPointer) -> Result<(), String> {
        Ok(())
    }
}
