use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that happened outside, kept until every instance that waits for it has seen it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Unique in the store. Empty when handed to `create_event`: the store makes one.
    pub id: String,
    /// What happened, such as `payment-received`.
    pub event_name: String,
    /// To which thing, such as an order number. Name and key together name one stream of events.
    pub event_key: String,
    /// What the waiting step receives.
    pub event_data: Value,
    /// When it happened. A time ahead of now holds the event back until then.
    pub event_time: DateTime<Utc>,
    /// Whether every wait that it matched has seen it.
    pub is_processed: bool,
}

impl Event {
    /// An unprocessed event of now, with a fresh id. Reads the system clock: code with a clock of its own sets
    /// `event_time` after.
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
