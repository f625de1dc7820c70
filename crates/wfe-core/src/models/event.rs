use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An event: something that happened outside of a workflow. Instances can wait for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The id, unique in the store. If it is empty, `create_event` assigns one.
    pub id: String,
    /// The name: what happened, such as `payment-received`.
    pub event_name: String,
    /// The key: what the event is about, such as an order number. Name and key together identify a stream of
    /// events.
    pub event_key: String,
    /// The data that the waiting step receives.
    pub event_data: Value,
    /// The timestamp of the event. An event with a future timestamp is not delivered before that time.
    pub event_time: DateTime<Utc>,
    /// Whether the event has reached every subscription that matched it.
    pub is_processed: bool,
}

impl Event {
    /// Creates an unprocessed event with a new id and the current time of the system clock. A program with its
    /// own clock sets `event_time` afterwards.
    pub fn new(name: impl Into<String>, key: impl Into<String>, data: Value) -> Self {
        Self {
            id: super::fresh_id(),
            event_name: name.into(),
            event_key: key.into(),
            event_data: data,
            event_time: crate::clock::system_time(),
            is_processed: false,
        }
    }
}
