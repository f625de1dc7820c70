use serde::{Deserialize, Serialize};
use wfe_core::definition::WorkflowBuilder;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

fn main() {
    // Borrowed: `decide_text` compares texts in place.
    WorkflowBuilder::<Order>::new("w", 1).decide("by", |order| order.id.as_str(), |by| {
        by.when("a", |a| a.change("one", |order| order.cents = 0))
    });
}
