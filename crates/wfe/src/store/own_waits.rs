//! Checks a stored subscription against its id.

use wfe_core::{Result, WfeError, models::EventSubscription};

/// Checks an open subscription of an external task or a schedule against the subscription's id. This id
/// contains the ids of the instance and of the pointer that opened the subscription. The id is also the key
/// of the event that ends the subscription. If the columns of the subscription do not agree with its id, the
/// instance would never receive that event.
///
/// # Errors
/// [`Corrupt`](WfeError::Corrupt): the columns of the subscription do not agree with its id.
pub(crate) fn check_own(wait: &EventSubscription) -> Result<()> {
    let behind = |id: &str, part: &str| id.strip_prefix(part)?.strip_prefix("//").map(str::to_owned);
    let column = match behind(&wait.id, &wait.workflow_id) {
        None => "workflow_id",
        Some(rest) if behind(&rest, &wait.execution_pointer_id).is_none() => "execution_pointer_id",
        Some(_) if wait.event_key != wait.id => "event_key",
        Some(_) => return Ok(()),
    };
    let message = "it does not agree with the id of the subscription".to_owned();
    Err(WfeError::Corrupt {
        table: "event_subscriptions",
        column,
        row: wait.id.clone(),
        message,
        source: None,
    })
}
