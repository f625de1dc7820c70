use crate::executor::{Env, Moved, Primitive, Run};

/// End: the workflow ends here, as completed, whatever else runs; a saga that is being undone is undone first.
pub(crate) struct End;

impl Primitive for End {
    fn kind(&self) -> &'static str {
        "end"
    }

    fn goes_on(&self) -> bool {
        false
    }

    fn ends_all(&self) -> bool {
        true
    }

    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        run.completed(at, None, env)?;
        run.rest(at, env)?;
        Ok(run.end_here(env)?)
    }
}
