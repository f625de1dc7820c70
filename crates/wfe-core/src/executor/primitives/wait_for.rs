use serde_json::Value;

use crate::{
    executor::{
        Moved, Primitive,
        run::{Env, Run, subscriptions::Expected},
    },
    models::ExecutionPointer,
    program::{Receive, TimeLimit, WaitFor},
    steps::StepError,
};

impl Primitive for WaitFor {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let pointer = run.pointer(at)?;
        if let Some(event) = pointer.event_data.clone().filter(|_| pointer.event_published) {
            // The pointer already has its event, because the output closure failed in an earlier attempt. The instance
            // receives each event only once, so a new subscription would not receive this event again.
            return self.event_received(run, at, event, env);
        }
        let key = run.evaluate_at(at, &self.key)?;
        let as_of = self.effective.as_ref().map(|effective| run.evaluate(at, effective)).transpose()?;
        run.subscribe(at, Expected { name: self.name.clone(), key: Some(key), as_of, data: None })?;
        match &self.limit {
            None => Ok(()),
            Some(limit) => limit.start(run, at, env),
        }
    }

    fn event_received(&self, run: &mut Run, at: &str, event: Value, env: &mut Env<'_>) -> Moved {
        receive(run, at, &self.outputs, &event)?;
        Ok(run.complete(at, None, env)?)
    }

    fn timer_fired(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        expired(self.limit.as_ref(), run, at)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        Ok(run.complete(at, None, env)?)
    }

    fn reopen(&self, _: &mut Run, _: &ExecutionPointer) -> Result<(), String> {
        Ok(())
    }
}

/// Writes the received value into the data.
pub(super) fn receive(run: &mut Run, at: &str, outputs: &[Receive], value: &Value) -> Moved {
    let item = run.pointer(at)?.context_item.as_ref();
    let changes = outputs.iter().map(|output| output(value, item)).collect::<Result<Vec<_>, StepError>>()?;
    Ok(run.apply(changes)?)
}

/// Ends a wait that has reached its time limit.
pub(super) fn expired(limit: Option<&TimeLimit>, run: &mut Run, at: &str) -> Moved {
    match limit {
        Some(limit) => limit.expire(run, at),
        // The definition no longer has the time limit, so the wait continues.
        None => Ok(()),
    }
}
