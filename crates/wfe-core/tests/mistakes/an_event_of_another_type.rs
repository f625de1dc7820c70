use serde::{Deserialize, Serialize};
use wfe_core::definition::{Event, WorkflowBuilder};

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1)
        .wait_for("a", Event::<u64>::new("paid"), |order| order.id.clone())
        .output(|paid, order| order.id = paid);
}
