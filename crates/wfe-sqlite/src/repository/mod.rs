//! Implements the base traits (those of `PersistenceProvider`), one file for each trait. The implementations validate
//! and encode their arguments, and send requests.

mod commands;
mod events;
mod provider;
mod subscriptions;
mod workflows;

pub(crate) use events::{add_event_existence, add_positions};
pub(crate) use subscriptions::{add_subscription_guard, add_subscription_row, add_subscriptions};
pub(crate) use workflows::with_id_and_name;

use wfe_core::models::fresh_id;

/// The id to store: the caller's id, or a new id if the caller's id is empty.
pub(crate) fn id_or_fresh(id: &str) -> String {
    if id.is_empty() { fresh_id() } else { id.to_owned() }
}
