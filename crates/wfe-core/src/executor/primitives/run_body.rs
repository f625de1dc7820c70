use crate::{
    Result,
    definition::{Answer, Body},
    executor::{Env, Primitive, Run},
    steps::{Next, StepError},
};

/// A plain step: runs a body, then goes on.
pub(crate) struct RunBody {
    body: Body,
}

impl RunBody {
    pub fn new(body: Body) -> Self {
        Self { body }
    }
}

impl Primitive for RunBody {
    fn kind(&self) -> &'static str {
        "step"
    }

    fn body(&self) -> Option<&Body> {
        Some(&self.body)
    }

    fn enter(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Result<()> {
        run.make_ready(at);
        Ok(())
    }

    fn ended(
        &self,
        run: &mut Run,
        at: &str,
        answer: Answer,
        env: &mut Env<'_>,
    ) -> Result<std::result::Result<(), StepError>> {
        let Answer::Step(next, apply) = answer else {
            return Ok(Err(StepError::fatal("a plain step gave items").with_code(StepError::DEFINITION)));
        };
        if let Some(apply) = apply
            && let Err(error) = run.apply(apply)
        {
            return Ok(Err(error));
        }
        let outcome = match next {
            Next::Done => None,
            Next::Outcome(value) => Some(value),
        };
        run.complete(at, outcome, env).map(Ok)
    }
}
