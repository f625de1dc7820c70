use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A subscription: the open wait of a pointer for an event with a given name and key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventSubscription {
    /// The id, unique in the store. If it is empty, the store assigns one.
    pub id: String,
    /// The id of the instance that waits. The store need not contain this instance.
    pub workflow_id: String,
    /// The position of the waiting step in its definition. The position is for information only.
    pub step_id: usize,
    /// The id of the pointer that waits.
    pub execution_pointer_id: String,
    /// The name of the awaited event.
    pub event_name: String,
    /// The key of the awaited event.
    pub event_key: String,
    /// The effective date: events with an earlier timestamp do not match.
    ///
    /// If the effective date equals the `create_time` of the instance, the timestamp does not decide. What
    /// matters then is whether the store received the instance or the event first: see
    /// [`StepStore::finish_event`](crate::traits::StepStore::finish_event).
    pub subscribe_as_of: DateTime<Utc>,
    /// The data that the waiting step stored with the subscription. `Some(Value::Null)` and `None` are
    /// different values.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub subscription_data: Option<Value>,
    /// The token of the external worker that has claimed this activity, or `None` if the activity is not
    /// claimed.
    pub external_token: Option<String>,
    /// The id of the external worker that has claimed this activity.
    pub external_worker_id: Option<String>,
    /// The time when the claim expires. If there is a token, `None` means that the claim does not expire.
    pub external_token_expiry: Option<DateTime<Utc>>,
}

impl EventSubscription {
    /// Creates an open, unclaimed subscription with a new id.
    pub fn new(
        workflow_id: impl Into<String>,
        step_id: usize,
        execution_pointer_id: impl Into<String>,
        event_name: impl Into<String>,
        event_key: impl Into<String>,
        subscribe_as_of: DateTime<Utc>,
    ) -> Self {
        Self {
            id: super::fresh_id(),
            workflow_id: workflow_id.into(),
            step_id,
            execution_pointer_id: execution_pointer_id.into(),
            event_name: event_name.into(),
            event_key: event_key.into(),
            subscribe_as_of,
            subscription_data: None,
            external_token: None,
            external_worker_id: None,
            external_token_expiry: None,
        }
    }
}
