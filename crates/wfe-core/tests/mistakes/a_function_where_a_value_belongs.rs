use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wfe_core::{definition::WorkflowBuilder, steps::{Ctx, StepError}};

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

async fn pay(_: Ctx, order: Arc<Order>) -> Result<u64, StepError> {
    Ok(order.cents)
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1).step("a", pay);
}
