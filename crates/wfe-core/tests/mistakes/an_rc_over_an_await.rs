use std::rc::Rc;

use serde::{Deserialize, Serialize};
use wfe_core::definition::WorkflowBuilder;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1).then("a", async |_, order| {
        let shared = Rc::new(order.cents);
        std::future::ready(()).await;
        Ok(*shared)
    });
}
