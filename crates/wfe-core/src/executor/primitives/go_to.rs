use crate::{
    WfeError,
    executor::{Env, Moved, Primitive, Run},
};

/// Go-to: leads to another step of its sequence, or of one around it.
pub(crate) struct GoTo;

impl Primitive for GoTo {
    fn kind(&self) -> &'static str {
        "go-to"
    }

    fn goes_on(&self) -> bool {
        false
    }

    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let node = run.node_of(at)?;
        let target = node.target.ok_or(WfeError::StepNotFound(node.index))?;
        run.completed(at, None, env)?;
        Ok(run.jump(at, target, env)?)
    }
}
