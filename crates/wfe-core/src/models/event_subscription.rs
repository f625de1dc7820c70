use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One pointer's wait for an event of one name and key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventSubscription {
    /// Unique in the store. Empty when handed to a store: the store makes one.
    pub id: String,
    /// The instance that waits. It need not be known to the store.
    pub workflow_id: String,
    /// Position of the waiting step in its definition; informs only.
    pub step_id: usize,
    /// The pointer that waits.
    pub execution_pointer_id: String,
    /// Name of the awaited event.
    pub event_name: String,
    /// Key of the awaited event.
    pub event_key: String,
    /// Events dated earlier are not for this wait. (With the `create_time` of the instance, see
    /// [`StepStore::finish_event`](crate::traits::StepStore::finish_event) for when the clock was set back.)
    pub subscribe_as_of: DateTime<Utc>,
    /// What the waiting step left with its wait. `Some(Value::Null)` and `None` are two different things.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub subscription_data: Option<Value>,
    /// Token of the external worker that holds this wait (an activity), if one does.
    pub external_token: Option<String>,
    /// The worker that holds the token.
    pub external_worker_id: Option<String>,
    /// When the token stops holding; `None` with a token means that it does not expire.
    pub external_token_expiry: Option<DateTime<Utc>>,
}

impl EventSubscription {
    /// An open wait that nobody holds, with a fresh id.
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
