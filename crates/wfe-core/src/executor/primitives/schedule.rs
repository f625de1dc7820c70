use crate::{
    executor::{
        Kept, Moved, Primitive, Spoilt,
        run::{Env, Run, branches::branch_of},
    },
    models::ExecutionPointer,
    program::{Schedule, Until},
};

impl Primitive for Schedule {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let is_first = run.pointer(at)?.persistence_data.is_none();
        let until = self.until.once(run, at, env)?;
        if is_first {
            run.fork(at)?;
        }
        if until > env.now {
            return Ok(run.sleep_until(at, until)?);
        }
        let kept = run.pointer(at)?.persistence_data.clone();
        let branch = branch_of(run.node_of(at)?, 0)?;
        run.become_container(at, kept)?;
        Ok(run.begin_branch(at, "0", branch, |_| {})?)
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        Ok(run.complete(at, None, env)?)
    }

    fn check_kept(&self, pointer: &ExecutionPointer) -> Result<Kept, Spoilt> {
        Until::check(pointer)
    }

    fn reopen(&self, _: &mut Run, _: &ExecutionPointer) -> Result<(), String> {
        Ok(())
    }
}
