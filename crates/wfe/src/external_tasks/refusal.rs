//! Why an answer, a heartbeat or a release was refused. The reason is read only after the store has refused.

use wfe_core::{Result, WfeError, models::EventSubscription};

use crate::WorkflowHost;

/// The error of a call for this subscription that the store has refused, with this token if a worker made the call.
///
/// A store says only that the subscription is not open for the caller. The reason is read afterwards, from the plain
/// traits that each store has. It cannot change back: an answer stays, a closed subscription stays closed, and a
/// token that has expired or was replaced does not return.
pub(super) async fn refused<T>(
    host: &WorkflowHost,
    wait: &EventSubscription,
    token: Option<&str>,
) -> Result<T> {
    let store = host.store();
    let (name, key, since) = (&wait.event_name, &wait.event_key, wait.subscribe_as_of);
    let answers = store.loss.seen(store.provider.get_events(name, key, since).await)?;
    if !answers.is_empty() {
        return Err(WfeError::TaskCompleted(wait.id.clone()));
    }
    let open = store.loss.seen(store.provider.get_subscriptions(name, key, since).await)?;
    let now = host.engine().now();
    let is_held = |open: &EventSubscription| {
        token.is_none()
            || (open.external_token.as_deref() == token
                && open.external_token_expiry.is_some_and(|expiry| expiry > now))
    };
    Err(match open.iter().find(|open| open.id == wait.id) {
        Some(open) if !is_held(open) => WfeError::LeaseExpired(wait.id.clone()),
        // Closed without an answer, or past its time limit: it takes no answer any more.
        _ => WfeError::TaskCancelled(wait.id.clone()),
    })
}
