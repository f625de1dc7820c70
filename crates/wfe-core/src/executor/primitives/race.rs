//! The race. Which branch wins is decided at the end of the pass, in [`races`](crate::executor::run::races).

use crate::{
    executor::{
        Kept, Moved, Primitive, Spoilt,
        run::{Env, Run},
    },
    models::{ExecutionPointer, attributes},
    program::Race,
};

impl Primitive for Race {
    fn enter(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        let branches = run.node_of(at)?.branches.clone();
        run.become_container(at, None)?;
        run.edit(at)?.unset(attributes::WINNER);
        for (key, branch) in branches.into_iter().enumerate() {
            run.begin_branch(at, &key.to_string(), branch, |_| {})?;
        }
        Ok(())
    }

    fn branch_ended(&self, run: &mut Run, at: &str, key: &str, _: &mut Env<'_>) -> Moved {
        Ok(run.race_branch_ended(at, key)?)
    }

    fn check_kept(&self, pointer: &ExecutionPointer) -> Result<Kept, Spoilt> {
        Ok(Kept::goes_on_if(pointer.has(attributes::WINNER)))
    }

    fn reopen(&self, run: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        run.reopen_race(pointer);
        Ok(())
    }
}
