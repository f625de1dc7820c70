//! Saga. How it is undone stands in [`undoing`](crate::executor::undoing).

use serde::Deserialize;

use crate::{
    BoxError,
    executor::{
        Env, Moved, Primitive, Run,
        failure::WHY_AGAIN,
        moves::branch_of,
        primitive::undecodable,
        undoing::{SagaState, UNDO},
    },
    models::ExecutionPointer,
    program::Saga,
    redact,
};

impl Primitive for Saga {
    fn enter(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        run.live.edit(at)?.extension_attributes.remove(WHY_AGAIN);
        let state = run.next_round(at)?;
        let branch = branch_of(run.node_of(at)?, 0)?;
        run.become_container(at, Some(serde_json::to_value(&state)?))?;
        Ok(run.begin_branch(at, &state.round.to_string(), branch, |_| {})?)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, key: &str, env: &mut Env<'_>) -> Moved {
        Ok(if key.starts_with(UNDO) { run.entry_undone(at, env) } else { run.complete(at, None, env) }?)
    }

    fn check_kept(&self, pointer: &ExecutionPointer) -> Result<bool, Option<BoxError>> {
        match pointer.persistence_data.as_ref().map(SagaState::deserialize).transpose() {
            Ok(state) => state.map_or(Ok(false), |state| state.has_entries().ok_or(None)),
            Err(error) => undecodable(error),
        }
    }

    fn reopen(&self, run: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        let kept = pointer.persistence_data.clone().unwrap_or_default();
        if let Err(e) = SagaState::deserialize(kept) {
            return Err(format!("has a state that does not decode ({})", redact(e)));
        }
        run.reopen_saga(&pointer.id).map_err(|e| format!("cannot be undone further ({e})"))
    }
}
