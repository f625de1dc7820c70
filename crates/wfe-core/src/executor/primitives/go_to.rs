use crate::{
    WfeError,
    executor::{
        Moved, Primitive,
        run::{Env, Run},
    },
    program::GoTo,
};

impl Primitive for GoTo {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let node = run.node_of(at)?;
        let target = node.target.ok_or(WfeError::StepNotFound(node.index))?;
        run.completed(at, None, env)?;
        Ok(run.go_to(at, target, env)?)
    }
}
