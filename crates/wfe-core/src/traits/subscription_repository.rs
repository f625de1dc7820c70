use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, models::EventSubscription};

/// Waits for events, and the tokens by which external workers hold them.
///
/// A token is expired when its expiry is not after the store's clock, and then holds nothing; a token without expiry
/// holds until it is cleared.
#[async_trait]
pub trait SubscriptionRepository: Send + Sync {
    /// Stores an open wait and returns its id. An empty id: the store makes one. An early event meets it as in
    /// [`persist_workflow_with_subscriptions`](super::WorkflowRepository::persist_workflow_with_subscriptions).
    ///
    /// # Errors
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): the id is taken; nothing was written.
    /// * [`Unstorable`](crate::WfeError::Unstorable): a value cannot be stored exactly.
    async fn create_event_subscription(&self, subscription: &EventSubscription) -> Result<String>;

    /// The open waits for this name and key with `subscribe_as_of <= as_of`, oldest first. One that does not decode is left
    /// out, and reported.
    async fn get_subscriptions(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<EventSubscription>>;

    /// The subscription with this id, open or terminated.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): none has this id.
    /// * [`Corrupt`](crate::WfeError::Corrupt): a stored value does not decode.
    async fn get_subscription(&self, subscription_id: &str) -> Result<EventSubscription>;

    /// Closes a wait; [`get_subscription`](Self::get_subscription) still returns it. Twice is fine.
    ///
    /// # Errors
    /// [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): none has this id.
    async fn terminate_subscription(&self, subscription_id: &str) -> Result<()>;

    /// The oldest open wait for this name and key with `subscribe_as_of <= as_of` that decodes and that no live token holds;
    /// `None`: there is none.
    async fn get_first_open_subscription(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>>;

    /// Compare-and-swap: `true`, and the token is set, where no token, an expired one or this same one was there (so
    /// a worker renews its own); `false`, and nothing changes, where another live token is.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): none has this id, or it is terminated.
    /// * [`Unstorable`](crate::WfeError::Unstorable): the expiry cannot be stored exactly.
    async fn set_subscription_token(
        &self,
        subscription_id: &str,
        token: &str,
        worker_id: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool>;

    /// Takes the token away, with its worker and expiry.
    ///
    /// # Errors
    /// [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): no subscription of this id holds this token.
    async fn clear_subscription_token(&self, subscription_id: &str, token: &str) -> Result<()>;
}
