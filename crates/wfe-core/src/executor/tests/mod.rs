//! Tests of the executor without a host. A `World` stores the commits of the executor, and runs the bodies in any
//! order.

#![allow(
    clippy::ignored_unit_patterns,
    reason = "closures over data and item are written as users write them, who know no item on the main path"
)]

mod attempts;
mod branching;
mod children;
mod consistency;
mod control;
mod definition_mismatch;
mod definitions;
mod event_outputs;
mod event_stream;
mod events;
mod external_tasks;
mod extreme_numbers;
mod for_each;
mod go_to;
mod instances;
mod intervention;
mod random_definitions;
mod restarted_containers;
mod result_order;
mod retry;
mod saga;
mod saga_cancel;
mod saga_children;
mod saga_closing;
mod saga_go_to;
mod saga_interrupted;
mod saga_nested;
mod scenario;
mod step_results;
mod storage_limits;
mod timing;
mod user_panics;
mod view;
mod world;
