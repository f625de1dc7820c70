use wfe_core::definition::WorkflowBuilder;

#[derive(serde::Deserialize)]
struct Order {
    cents: u64,
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1);
}
