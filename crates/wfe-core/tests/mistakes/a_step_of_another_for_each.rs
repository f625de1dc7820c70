use serde::{Deserialize, Serialize};
use wfe_core::definition::{IntoStep, WorkflowBuilder, item_task};

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

fn numbered() -> impl IntoStep<Order, wfe_core::definition::Each<u32>> {
    item_task::<Order, u32>().change(|order, n| order.cents += u64::from(*n))
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1)
        .for_each("all", |_| vec![String::new()], |each| each.step("a", numbered()));
}
