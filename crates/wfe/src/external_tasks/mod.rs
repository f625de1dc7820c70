//! Work that workflows wait for: activities, which external workers do, and user tasks, which people answer.

mod activities;
mod answer;
mod claim;
mod claims;
mod ctx;
mod refusal;
mod typed_claim;
mod user_tasks;
mod worker;

pub use activities::{Activities, OpenActivity};
pub use claim::ActivityClaim;
pub use ctx::ActivityCtx;
pub use typed_claim::Claim;
pub use user_tasks::{OpenTask, UserTasks};
pub use worker::Worker;

use wfe_core::models::{Event, EventSubscription};

use crate::host::RESERVED;

/// The event that answers the wait of an activity or a user task. Its event time is the time from which the wait
/// subscribes, so that it is already due under every clock. `nonce` distinguishes the answers to one wait: if the
/// same answer is given again, it is the same event.
pub(crate) fn answer_to(wait: &EventSubscription, nonce: &str, answer: serde_json::Value) -> Event {
    Event {
        id: format!("{RESERVED}answer:{}//{nonce}", wait.id),
        event_name: wait.event_name.clone(),
        event_key: wait.event_key.clone(),
        event_data: answer,
        event_time: wait.subscribe_as_of,
        is_processed: false,
    }
}
