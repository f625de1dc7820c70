use crate::{
    executor::{
        Moved, Primitive,
        run::{Env, Run, branches::branch_of},
    },
    models::ExecutionPointer,
    program::Block,
};

impl Primitive for Block {
    fn enter(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        let branch = branch_of(run.node_of(at)?, 0)?;
        run.become_container(at, None)?;
        Ok(run.begin_branch(at, "0", branch, |_| {})?)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        Ok(run.complete(at, None, env)?)
    }

    fn reopen(&self, _: &mut Run, _: &ExecutionPointer) -> Result<(), String> {
        Ok(())
    }
}
