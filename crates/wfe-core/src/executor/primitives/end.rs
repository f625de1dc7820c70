use crate::{
    executor::{
        Moved, Primitive,
        run::{Env, Run},
    },
    program::End,
};

impl Primitive for End {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        run.completed(at, None, env)?;
        run.deactivate(at, env)?;
        Ok(run.end_here(env)?)
    }
}
