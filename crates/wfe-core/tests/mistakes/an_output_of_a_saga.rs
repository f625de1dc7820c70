use serde::{Deserialize, Serialize};
use wfe_core::definition::{IntoStep, WorkflowBuilder, task};

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

fn mark(id: &'static str) -> impl IntoStep<Order> {
    task::<Order>().change(move |order| order.id = id.into())
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1)
        .saga("all", |all| all.step("a", mark("x")))
        .output(|_, order| order.cents = 1);
}
