use serde::{Deserialize, Serialize};
use wfe_core::definition::{Retry, WorkflowBuilder};

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1).retry(Retry::never());
}
