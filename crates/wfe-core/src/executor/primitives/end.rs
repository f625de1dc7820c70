use crate::{
    executor::{
        Moved, Primitive,
        run::{Env, Run},
    },
    models::attributes,
    program::{End, kind},
};

impl Primitive for End {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        run.edit(at)?.set(attributes::KIND, kind::END);
        run.completed(at, None, env)?;
        run.deactivate(at, env)?;
        Ok(run.end_here(env)?)
    }
}
