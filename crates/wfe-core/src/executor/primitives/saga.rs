//! Sagas. The module `executor::run::saga::compensate` contains the compensation of
//! sagas.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    executor::{
        Kept, Moved, Primitive, Spoilt,
        run::{Env, Run, branches::branch_of, saga::state::SagaState},
    },
    models::{ExecutionPointer, attributes, pointer_id},
    program::Saga,
};

/// Reads the state of a saga that has begun.
fn kept(pointer: &ExecutionPointer) -> serde_json::Result<SagaState> {
    SagaState::deserialize(pointer.persistence_data.as_ref().unwrap_or(&Value::Null))
}

impl Primitive for Saga {
    fn enter(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        run.edit(at)?.unset(attributes::RETRIED_FOR);
        let state = run.next_round(at)?;
        let branch = branch_of(run.node_of(at)?, 0)?;
        run.become_container(at, Some(serde_json::to_value(&state)?))?;
        Ok(run.begin_branch(at, &state.round.to_string(), branch, |_| {})?)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, key: &str, env: &mut Env<'_>) -> Moved {
        Ok(if pointer_id::is_compensation(key) {
            run.entry_compensated(at, env)
        } else {
            run.complete(at, None, env)
        }?)
    }

    fn check_kept(&self, pointer: &ExecutionPointer) -> Result<Kept, Spoilt> {
        if pointer.persistence_data.is_none() {
            return Ok(Kept::Waits); // the saga has not begun
        }
        kept(pointer)?.check()
    }

    fn reopen(&self, run: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        if let Err(error) = kept(pointer) {
            return Err(format!("has a state that {}", Spoilt::from(error)));
        }
        run.reopen_saga(&pointer.id).map_err(|e| format!("cannot be compensated further ({e})"))
    }
}
