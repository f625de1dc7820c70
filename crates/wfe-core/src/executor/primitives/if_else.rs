use crate::{
    executor::{
        Moved, Primitive,
        run::{Env, Run, branches::branch_of},
    },
    models::ExecutionPointer,
    program::IfElse,
};

impl Primitive for IfElse {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let index = usize::from(!run.evaluate(at, &self.holds)?);
        let node = run.node_of(at)?;
        if index >= node.branches.len() {
            return Ok(run.complete(at, None, env)?);
        }
        let branch = branch_of(node, index)?;
        run.become_container(at, None)?;
        Ok(run.begin_branch(at, &index.to_string(), branch, |_| {})?)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        Ok(run.complete(at, None, env)?)
    }

    fn reopen(&self, _: &mut Run, _: &ExecutionPointer) -> Result<(), String> {
        Ok(())
    }
}
