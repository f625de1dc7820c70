use wfe_core::steps::{Ctx, Next, Step, StepResult};

#[derive(Clone)]
struct Charge;

impl Step for Charge {
    fn run(&mut self, _: &Ctx) -> StepResult {
        Ok(Next::Done)
    }
}

fn main() {}
