//! Work that is done outside of the workflows: by workers, and by people.

mod activities;
mod claim;
mod claims;
mod ctx;
mod refusal;
mod user_tasks;
mod worker;

pub use activities::{Activities, OpenActivity};
pub use claim::ActivityClaim;
pub use ctx::ActivityCtx;
pub use user_tasks::{OpenTask, UserTasks};
pub use worker::Worker;

use wfe_core::models::{Event, EventSubscription};

use crate::host::RESERVED;

/// The event that ends a wait of its own. It is dated in the past, so that no clock holds it back. `who` distinguishes the answers
/// to one wait: the same one, given again, is the same event.
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
