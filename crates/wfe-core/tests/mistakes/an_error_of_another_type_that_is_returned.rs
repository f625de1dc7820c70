use serde::{Deserialize, Serialize};
use wfe_core::definition::WorkflowBuilder;

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    cents: u64,
}

fn main() {
    async fn other() -> Result<u64, std::io::Error> { Ok(1) }
    WorkflowBuilder::<Order>::new("w", 1).then("a", async |_, _| other().await);
}
