//! The plain traits, one file each: they validate, encode and send.

mod commands;
mod events;
mod provider;
mod subscriptions;
mod workflows;

pub(crate) use events::{add_event_existence, add_positions};
pub(crate) use subscriptions::{add_subscription_guard, add_subscription_row, add_subscriptions};
pub(crate) use workflows::{add_guards, with_id_and_name};

use wfe_core::models::fresh_id;

/// The id to store: that of the caller, or a new one if it is empty.
pub(crate) fn id_or_fresh(id: &str) -> String {
    if id.is_empty() { fresh_id() } else { id.to_owned() }
}
