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
        if status.status.is_final() {
            return Ok(());
        }
        for position in &status.positions {
            let Some(why) = why(&position.waits) else { continue };
            if known.insert((position.pointer.clone(), why.clone())) {
                println!("{name} waits at {}: {why}", position.step);
                act(position).await?;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Describes what the instance waits for. Returns `None` if the instance does not wait, or waits only for the engine or
/// for a child workflow.
fn why(waits: &Waits) -> Option<String> {
    let or_until = |until: &Option<_>| until.map_or_else(String::new, |until| format!(", or until {until}"));
    Some(match waits {
        Waits::Timer { until } => format!("until {until}"),
        Waits::Tick { next } => format!("for the next tick at {next}"),
        Waits::Retry { at, attempt, last } => {
            let last = last.as_ref().map_or_else(String::new, |last| format!(", {}", last.causes.join(": ")));
            format!("for attempt {attempt} at {at}{last}")
        }
        Waits::Event { name, key, until } => format!("for the event {name:?} of {key:?}{}", or_until(until)),
        Waits::Activity { name, until, .. } => format!("for a worker that does {name:?}{}", or_until(until)),
        Waits::UserTask { task, until, .. } => {
            let whom = task.as_ref().and_then(|task| task.assignee.as_deref()).unwrap_or("anyone");
            format!("for {whom}{}", or_until(until))
        }
        Waits::Resume => "for an operator who resumes it".to_owned(),
        _ => return None,
    })
}
