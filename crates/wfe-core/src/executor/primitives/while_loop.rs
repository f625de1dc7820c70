//! While loops. A finished round is moved to the history.

use serde::{Deserialize, Serialize};

use crate::{
    executor::{
        Kept, Moved, Primitive, Spoilt,
        run::{Env, Run, branches::branch_of},
    },
    models::{ExecutionPointer, PointerStatus},
    program::While,
};

/// The state that the pointer of a while loop stores.
#[derive(Default, Serialize, Deserialize)]
struct Rounds {
    /// The number of rounds that have begun.
    begun: u64,
}

impl While {
    fn next_round(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        if !run.evaluate(at, &self.holds)? {
            return Ok(run.complete(at, None, env)?);
        }
        let mut rounds = kept(run.pointer(at)?)?;
        let key = rounds.begun.to_string();
        rounds.begun += 1;
        let (branch, kept) = (branch_of(run.node_of(at)?, 0)?, serde_json::to_value(rounds)?);
        if run.pointer(at)?.status == PointerStatus::Running {
            run.edit(at)?.persistence_data = Some(kept);
        } else {
            run.become_container(at, Some(kept))?;
        }
        Ok(run.begin_branch(at, &key, branch, |_| {})?)
    }
}

/// The state in the pointer, or the default state before the first round.
fn kept(pointer: &ExecutionPointer) -> serde_json::Result<Rounds> {
    pointer.persistence_data.as_ref().map_or_else(|| Ok(Rounds::default()), Rounds::deserialize)
}

impl Primitive for While {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        self.next_round(run, at, env)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        self.next_round(run, at, env)
    }

    fn check_kept(&self, pointer: &ExecutionPointer) -> Result<Kept, Spoilt> {
        kept(pointer)?;
        Ok(Kept::Waits)
    }

    fn reopen(&self, _: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        match kept(pointer) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("has a count of rounds that {}", Spoilt::from(error))),
        }
    }
}
