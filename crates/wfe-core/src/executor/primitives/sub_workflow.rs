use serde::Deserialize;
use serde_json::Value;

use super::{
    run_body::unreadable,
    wait_for::{expired, receive},
};
use crate::{
    executor::{
        CHILD_ENDED, ChildEnd, Fault, Moved, Primitive,
        run::{Env, Run, subscriptions::Expected},
    },
    models::{ExecutionPointer, WorkflowInstance, attributes, pointer_id},
    program::SubWorkflow,
    steps::StepError,
    traits::Ending,
};

impl SubWorkflow {
    /// Handles the end of a child that was cancelled because an enclosing saga is being compensated. If the child
    /// completed before it was cancelled, the parent's step counts as completed, and is compensated like other
    /// completed steps.
    fn cancelled_child_ended(
        &self,
        run: &mut Run,
        at: &str,
        end: Option<ChildEnd>,
        env: &mut Env<'_>,
    ) -> Moved {
        if let Some(end) = end.filter(|end| end.ending == Ending::Completed) {
            match receive(run, at, &self.outputs, &end.data) {
                Err(Fault::Step(error)) => {
                    let step = run.node_of(at)?.id.to_string();
                    let attempt = run.pointer(at)?.retry_count.saturating_add(1);
                    run.record_failure(at, step, attempt, &error, env);
                }
                received => received?,
            }
            run.completed(at, None, env)?;
        }
        Ok(run.cancelled_child_ended(at, env)?)
    }
}

impl Primitive for SubWorkflow {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        if run.is_child_cancelled(at)? {
            return Ok(run.cancelled_child_ended(at, env)?); // an operator has closed the subscription
        }
        run.edit(at)?.unset(attributes::CHILD_STOPPED);
        let data = run.evaluate(at, &self.data)?;
        let child = (env.definition)(&self.definition, self.version);
        // A child whose data does not fit its definition would be suspended at its start. Its parent would then wait
        // for a repair that is not possible in the child.
        if let Some(misfit) = child.as_ref().and_then(|child| child.misfit(&data, self.data_name)) {
            return Err(StepError::fatal(misfit).with_code(StepError::DEFINITION).into());
        }
        let Some(version) = self.version.or_else(|| child.map(|child| child.version())) else {
            let problem =
                format!("no version of the child's definition {:?} is registered here", self.definition);
            return Err(StepError::retryable(problem).with_code(StepError::DEFINITION).into());
        };
        let attempt = run.pointer(at)?.retry_count.saturating_add(1);
        let id = pointer_id::child(run.id(), at, attempt);
        let root = run.root().unwrap_or_else(|| run.id()).to_owned();
        run.create_child(WorkflowInstance {
            id: id.clone(),
            root_workflow_id: Some(root),
            ..WorkflowInstance::created_at(self.definition.clone(), version, data, env.now)
        });
        run.subscribe(at, Expected::own(CHILD_ENDED, Some(id.clone()), None))?;
        run.edit(at)?.set(attributes::CHILD, id);
        match &self.limit {
            None => Ok(()),
            Some(limit) => limit.start(run, at, env),
        }
    }

    fn event_received(&self, run: &mut Run, at: &str, event: Value, env: &mut Env<'_>) -> Moved {
        let pointer = run.edit(at)?;
        pointer.unset(attributes::CHILD);
        // The data of the child is stored with the child itself.
        pointer.event_data = None;
        let end = ChildEnd::deserialize(event).map_err(unreadable);
        if run.is_child_cancelled(at)? {
            return self.cancelled_child_ended(run, at, end.ok(), env);
        }
        let end = end?;
        if run.edit(at)?.unset(attributes::CHILD_STOPPED).is_some() && end.ending != Ending::Completed {
            // The end of this instance had stopped the child, and the instance was retried.
            return Ok(run.begin_again(at, env)?);
        }
        match (end.ending, end.cause) {
            (Ending::Completed, _) => {
                receive(run, at, &self.outputs, &end.data)?;
                Ok(run.complete(at, None, env)?)
            }
            (Ending::Failed, Some(cause)) => {
                Err(StepError::from_causes(cause.code, cause.causes, end.retryable).into())
            }
            // A caller ended the child on purpose. Another child in place of this child would defeat the purpose.
            (ending, _) => {
                let error = StepError::fatal(format!("the child workflow ended as {ending:?}"));
                Err(error.with_code(StepError::CHILD_ENDED).into())
            }
        }
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
