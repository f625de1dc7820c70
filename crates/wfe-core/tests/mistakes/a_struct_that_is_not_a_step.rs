use serde::{Deserialize, Serialize};
use wfe_core::{definition::WorkflowBuilder, steps::{Ctx, Next, StepResult}};

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

#[derive(Clone)]
struct Plain;

impl Plain {
    fn run(&mut self, _: &Ctx) -> StepResult {
        Ok(Next::Done)
    }
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1).step("a", Plain);
}
