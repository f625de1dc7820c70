use crate::{
    executor::{
        Moved, Primitive,
        run::{Env, Run},
    },
    models::{ExecutionPointer, attributes},
    program::{Decide, Matches},
};

impl Primitive for Decide {
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let mut matches = match &self.matches {
            Matches::Asked(matches) => run.evaluate(at, matches)?,
            Matches::Given { values, read } => {
                let given = run.pointer(at)?.attribute(attributes::GIVEN).map(read).transpose()?;
                values.iter().map(|value| Some(value) == given.as_ref()).collect()
            }
        };
        if self.has_otherwise {
            matches.push(!matches.contains(&true));
        }
        if !matches.contains(&true) {
            return Ok(run.complete(at, None, env)?);
        }
        let branches = run.node_of(at)?.branches.clone();
        run.become_container(at, None)?;
        for (key, branch) in branches.into_iter().enumerate() {
            if matches.get(key) == Some(&true) {
                run.begin_branch(at, &key.to_string(), branch, |_| {})?;
            }
        }
        Ok(())
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        if run.open_branches(at)? == 0 {
            run.complete(at, None, env)?;
        }
        Ok(())
    }

    fn reopen(&self, _: &mut Run, _: &ExecutionPointer) -> Result<(), String> {
        Ok(())
    }
}
