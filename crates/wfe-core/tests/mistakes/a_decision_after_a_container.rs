use serde::{Deserialize, Serialize};
use wfe_core::definition::WorkflowBuilder;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1)
        .saga("all", |all| all.call("check", |_, order| Ok(order.cents)))
        .then_decide("by", |by| by.when(1, |one| one.change("one", |order| order.cents = 0)));
}
