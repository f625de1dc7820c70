use wfe_core::definition::WorkflowBuilder;

struct Order {
    cents: u64,
}

fn main() {
    WorkflowBuilder::<Order>::new("w", 1);
}
