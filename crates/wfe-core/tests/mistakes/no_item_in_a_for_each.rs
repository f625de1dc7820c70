use serde::{Deserialize, Serialize};
use wfe_core::definition::WorkflowBuilder;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1)
        .for_each("all", |_| vec![1_u32], |each| each.then("a", async |_, order| Ok(order.cents)));
}
