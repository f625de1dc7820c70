//! Follows an instance until it has ended.

use std::{collections::HashSet, time::Duration};

use wfe::{
    prelude::*,
    status::{Position, Waits},
};

use crate::common::Result;

/// The interval at which the status of the instance is read. A person does not notice a delay this short.
pub const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Follows an instance until it has ended. Whenever the instance waits for something new, this prints it and calls
/// `act`, which may publish an event, answer a task, or advance the clock. `act` must be idempotent, because a process
/// that crashed may already have called it.
pub async fn attend<D>(
    instance: &Instance<D>,
    name: &str,
    mut act: impl AsyncFnMut(&Position) -> Result,
) -> Result {
    let mut known = HashSet::new();
    loop {
        let status = instance.status().await?;
        if status.state.is_final() {
            return Ok(());
        }
        for position in status.positions.iter().filter(|position| waits_outside(&position.waits)) {
            if known.insert((position.pointer.clone(), position.to_string())) {
                println!("{name}: {position}");
                act(position).await?;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Whether the instance waits for something other than the engine, a child workflow, or a worker that is at work.
fn waits_outside(waits: &Waits) -> bool {
    use Waits::{Activity, AttemptBefore, Child, Due, Running, Slot};
    let is_at_work = matches!(waits, Activity { held: Some(_), .. });
    !is_at_work && !matches!(waits, Running { .. } | Slot | AttemptBefore | Due | Child { .. })
}
