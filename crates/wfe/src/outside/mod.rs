//! Work that is done outside of the workflows: by workers, and by people.

mod activities;
mod claim;
mod claims;
mod ctx;
mod user_tasks;
mod worker;

pub use activities::{Activities, OpenActivity};
pub use claim::ActivityClaim;
pub(crate) use claims::Claims;
pub use ctx::ActivityCtx;
pub use user_tasks::{OpenTask, UserTasks};
pub use worker::Worker;

use wfe_core::{
    Result, WfeError,
    models::{Event, EventSubscription},
};

use crate::host::RESERVED;

/// The stable id of the step at a pointer: the last part of its path, without the count of visits.
fn step_of(pointer: &str) -> &str {
    let last = pointer.rsplit('/').next().unwrap_or_default();
    last.split('#').next().unwrap_or_default()
}

/// Compares a wait that is open for somebody outside with its own id, which names the instance and the pointer that opened it,
/// and is the key of the event that ends it. Of another one, the instance would never hear.
///
/// # Errors
/// [`Corrupt`](WfeError::Corrupt): they do not agree.
pub(crate) fn check_own(wait: &EventSubscription) -> Result<()> {
    let behind = |id: &str, part: &str| id.strip_prefix(part)?.strip_prefix("//").map(str::to_owned);
    let column = match behind(&wait.id, &wait.workflow_id) {
        None => "workflow_id",
        Some(rest) if behind(&rest, &wait.execution_pointer_id).is_none() => "execution_pointer_id",
        Some(_) if wait.event_key != wait.id => "event_key",
        Some(_) => return Ok(()),
    };
    let message = "it is not what the id of the wait says".to_owned();
    Err(WfeError::Corrupt {
        table: "event_subscriptions",
        column,
        row: wait.id.clone(),
        message,
        source: None,
    })
}

/// The event that ends a wait of its own. It is dated in the past, so that no clock holds it back. `who` tells answers of
/// one wait apart: the same one, given again, is the same event.
fn answer_to(wait: &EventSubscription, who: &str, answer: serde_json::Value) -> Event {
    Event {
        id: format!("{RESERVED}answer:{}//{who}", wait.id),
        event_name: wait.event_name.clone(),
        event_key: wait.event_key.clone(),
        event_data: answer,
        event_time: wait.subscribe_as_of,
        is_processed: false,
    }
}
