use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, models::Event};

/// Events.
#[async_trait]
pub trait EventRepository: Send + Sync {
    /// Stores an event and returns its id. An empty id: the store makes one.
    ///
    /// # Errors
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): the id is taken; nothing was written.
    /// * [`Unstorable`](crate::WfeError::Unstorable): a value cannot be stored exactly.
    async fn create_event(&self, event: &Event) -> Result<String>;

    /// As [`create_event`](Self::create_event), for an event that happens now: its `event_time` is not stored, but what the
    /// store's clock shows as it stores it. So nothing that somebody does to the clock in between dates the event into the
    /// past. To waits that count from the creation of their instances, its date says nothing at all: it came before or after
    /// an instance as the store was told of the two (see [`StepStore::finish_event`](super::StepStore::finish_event)).
    ///
    /// By default the event's own date stands, and is all that tells before from after: where the plain traits are all there
    /// is, an event of the very instant in which an instance began counts as published after it. A store with a
    /// [`StepStore`](super::StepStore) dates it itself.
    ///
    /// # Errors
    /// Those of [`create_event`](Self::create_event).
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

    /// Marks an event processed; twice is fine.
    ///
    /// # Errors
    /// [`EventNotFound`](crate::WfeError::EventNotFound): no event has this id.
    async fn mark_event_processed(&self, event_id: &str) -> Result<()>;

    /// Marks an event unprocessed again; twice is fine.
    ///
    /// # Errors
    /// [`EventNotFound`](crate::WfeError::EventNotFound): no event has this id.
    async fn mark_event_unprocessed(&self, event_id: &str) -> Result<()>;
}
