use crate::{
    definition::Ask,
    executor::{Env, Moved, Primitive, Run},
    models::ExecutionPointer,
};

/// Decide and branch: asks once which of its branches match, and runs those at once; if none does, the one for otherwise.
pub(crate) struct Decide {
    /// For each branch but the one for otherwise, whether it matches.
    matches: Ask<Vec<bool>>,
    /// How many branches there are, the one for otherwise not counted.
    branches: usize,
    has_otherwise: bool,
}

impl Decide {
    pub fn new(matches: Ask<Vec<bool>>, branches: usize) -> Self {
        Self { matches, branches, has_otherwise: false }
    }

    /// The last branch is the one for otherwise.
    pub fn with_otherwise(mut self) -> Self {
        self.has_otherwise = true;
        self
    }
}

impl Primitive for Decide {
    fn kind(&self) -> &'static str {
        "decide"
    }

    fn problem(&self) -> Option<String> {
        (self.branches == 0).then(|| "it decides between no branches; give it one".to_owned())
    }

    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved {
        let mut matches = run.ask(at, &self.matches)?;
        if self.has_otherwise {
            matches.push(!matches.contains(&true));
        }
        if !matches.contains(&true) {
            return Ok(run.complete(at, None, env)?);
        }
        let branches = run.node_of(at)?.branches.clone();
        run.become_container(at, self.kind(), None)?;
        for (key, branch) in branches.into_iter().enumerate() {
            if matches.get(key) == Some(&true) {
                run.begin_branch(at, &key.to_string(), branch, |_| {})?;
            }
        }
        Ok(())
    }

    fn branch_ended(&self, run: &mut Run, at: &str, _: &str, env: &mut Env<'_>) -> Moved {
        if run.live.branches(at)? == 0 {
            run.complete(at, None, env)?;
        }
        Ok(())
    }

    fn reopen(&self, _: &mut Run, _: &ExecutionPointer) -> Result<(), String> {
        Ok(())
    }
}
