//! While. A round that has ended is history.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    BoxError,
    executor::{Env, Moved, Primitive, Run, moves::branch_of, primitive::undecodable},
    models::{ExecutionPointer, PointerStatus},
    program::While,
    redact,
};

/// What the pointer keeps.
#[derive(Default, Serialize, Deserialize)]
struct Rounds {
    /// How many rounds have begun.
    begun: u64,
}

impl While {
    fn next_round(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        if !run.ask(at, &self.holds)? {
            return Ok(run.complete(at, None, env)?);
        }
        let mut rounds = rounds(run.live.get(at)?.persistence_data.as_ref())?;
        let key = rounds.begun.to_string();
        rounds.begun += 1;
        let (branch, kept) = (branch_of(run.node_of(at)?, 0)?, serde_json::to_value(rounds)?);
        if run.live.get(at)?.status == PointerStatus::Running {
            run.live.edit(at)?.persistence_data = Some(kept);
        } else {
            run.become_container(at, Some(kept))?;
        }
        Ok(run.begin_branch(at, &key, branch, |_| {})?)
    }
}

fn rounds(kept: Option<&Value>) -> serde_json::Result<Rounds> {
    kept.map_or_else(|| Ok(Rounds::default()), Rounds::deserialize)
}

impl Primitive for While {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        self.next_round(run, at, env)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        self.next_round(run, at, env)
    }

    fn check_kept(&self, pointer: &ExecutionPointer) -> Result<bool, Option<BoxError>> {
        rounds(pointer.persistence_data.as_ref()).map_or_else(undecodable, |_| Ok(false))
    }

    fn reopen(&self, _: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        match rounds(pointer.persistence_data.as_ref()) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!("has a count of rounds that does not decode ({})", redact(e))),
        }
    }
}
