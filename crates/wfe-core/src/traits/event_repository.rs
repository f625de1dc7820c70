use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, models::Event};

/// Stores published events, and records whether the engine still needs them.
#[async_trait]
pub trait EventRepository: Send + Sync {
    /// Stores an event and returns its id. If the id is empty, the store creates one.
    ///
    /// # Errors
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): the id is taken; nothing was written.
    /// * [`Unstorable`](crate::WfeError::Unstorable): a value cannot be stored exactly.
    async fn create_event(&self, event: &Event) -> Result<String>;

    /// Stores an event that happens now. The store ignores the event's `event_time` and sets the timestamp
    /// from its own clock at the moment of storing. So a change of the clock between publishing and storing
    /// has no effect.
    ///
    /// For subscriptions that count from the creation of their instances, the timestamp does not matter.
    /// Whether the event came before or after an instance depends on the order in which the store stored the
    /// event and the instance (see [`Delivery`](super::Delivery)).
    ///
    /// The default implementation keeps the event's own timestamp. With this default, timestamps alone decide
    /// whether an event came before or after an instance. An event with the same timestamp as the creation of
    /// an instance counts as published after the creation. A store that implements
    /// [`StepStore`](super::StepStore) does not use this default: the store, not the publisher, sets the
    /// event's timestamp.
    ///
    /// # Errors
    /// The same errors as [`create_event`](Self::create_event).
    async fn create_event_now(&self, event: &Event) -> Result<String> {
        self.create_event(event).await
    }

    /// The event with this id.
    ///
    /// # Errors
    /// * [`EventNotFound`](crate::WfeError::EventNotFound): no event has this id.
    /// * [`Corrupt`](crate::WfeError::Corrupt): a stored value does not decode.
    async fn get_event(&self, event_id: &str) -> Result<Event>;

    /// Ids of the unprocessed events with `event_time <= as_at`, oldest first.
    async fn get_runnable_events(&self, as_at: DateTime<Utc>) -> Result<Vec<String>>;

    /// Ids of all events of this name and key, processed or not, with `event_time <= as_of`, oldest first.
    async fn get_events(
        &self,
        event_name: &str,
        event_key: &str,
        as_of: DateTime<Utc>,
    ) -> Result<Vec<String>>;

    /// Marks an event as processed; idempotent.
    ///
    /// # Errors
    /// [`EventNotFound`](crate::WfeError::EventNotFound): no event has this id.
    async fn mark_event_processed(&self, event_id: &str) -> Result<()>;

    /// Marks an event as unprocessed again; idempotent.
    ///
    /// # Errors
    /// [`EventNotFound`](crate::WfeError::EventNotFound): no event has this id.
    async fn mark_event_unprocessed(&self, event_id: &str) -> Result<()>;
}
