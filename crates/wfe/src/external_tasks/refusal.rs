//! Finds out why an answer, a heartbeat or a release was refused. The reason is read only after the store has
//! refused the call.

use wfe_core::{Result, WfeError, models::EventSubscription};

use crate::WorkflowHost;

/// Returns the error for a call that the store has refused. The call was for this subscription, and carried this
/// token if a worker made it.
///
/// A store reports only that the subscription is not open for the caller. The reason is read afterwards, through the
/// base traits (those of `PersistenceProvider`), which every store implements. The reason does not change in the
/// meantime: an answer stays stored, a closed subscription stays closed, and a token that has expired or was
/// replaced does not become valid again.
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
        // The subscription was closed without an answer, or is past its time limit: it accepts no answer any more.
        _ => WfeError::TaskCancelled(wait.id.clone()),
    })
}
