use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, models::EventSubscription};

/// Subscriptions to events, and the tokens by which external workers hold them.
///
/// A token is live until its expiry by the store's clock. A token without an expiry is live until it is
/// cleared.
#[async_trait]
pub trait SubscriptionRepository: Send + Sync {
    /// Stores an open subscription and returns its id. If the id is empty, the store creates one. An event that
    /// was stored before the subscription reaches it as described for
    /// [`persist_workflow_with_subscriptions`](super::WorkflowRepository::persist_workflow_with_subscriptions).
    ///
    /// # Errors
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): the id is taken; nothing was written.
    /// * [`Unstorable`](crate::WfeError::Unstorable): a value cannot be stored exactly.
    async fn create_event_subscription(&self, subscription: &EventSubscription) -> Result<String>;

    /// The open subscriptions to this name and key with `subscribe_as_of <= as_of`, oldest first. A
    /// subscription that does not decode is logged and left out.
    async fn get_subscriptions(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<EventSubscription>>;

    /// The subscription with this id, open or terminated.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): no subscription has this id.
    /// * [`Corrupt`](crate::WfeError::Corrupt): a stored value does not decode.
    async fn get_subscription(&self, subscription_id: &str) -> Result<EventSubscription>;

    /// Closes a subscription; idempotent. [`get_subscription`](Self::get_subscription) still returns it.
    ///
    /// # Errors
    /// [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): no subscription has this id.
    async fn terminate_subscription(&self, subscription_id: &str) -> Result<()>;

    /// The oldest open subscription to this name and key with `subscribe_as_of <= as_of` that decodes and that
    /// no live token holds. `None` means that there is no such subscription.
    async fn get_first_open_subscription(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>>;

    /// Sets the token of a subscription if it has no live token, or if its live token is this same token. So a
    /// worker can extend its own claim. Returns `false` and writes nothing if another live token holds the
    /// subscription.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): no subscription has this id, or the
    ///   subscription is terminated.
    /// * [`Unstorable`](crate::WfeError::Unstorable): the expiry cannot be stored exactly.
    async fn set_subscription_token(
        &self,
        subscription_id: &str,
        token: &str,
        worker_id: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool>;

    /// Clears the token together with its worker and its expiry.
    ///
    /// # Errors
    /// [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): no subscription with this id holds this
    /// token.
    async fn clear_subscription_token(&self, subscription_id: &str, token: &str) -> Result<()>;
}
