use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PointerStatus;

/// An execution pointer: one execution of one step. The pointers of an instance show where the instance is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionPointer {
    /// The id, unique within the instance but not across instances.
    pub id: String,
    /// The position that the step had in the definition when the pointer was created. The position is for
    /// information only: the engine finds the step by its stable id, [`step_name`](Self::step_name).
    pub step_id: usize,
    /// Whether the engine still has work to do for this pointer.
    pub active: bool,
    /// The status of the execution.
    pub status: PointerStatus,
    /// The earliest time at which the engine processes the pointer. `None` means that the engine may process
    /// it at any time.
    pub sleep_until: Option<DateTime<Utc>>,
    /// The state that the step stored for its next run. `Some(Value::Null)` and `None` are different values,
    /// here and in every other optional value of a pointer.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub persistence_data: Option<Value>,
    /// The time when the step's body first started, or `None` if the body has not started.
    pub start_time: Option<DateTime<Utc>>,
    /// The time when the execution ended, or `None` if it has not ended.
    pub end_time: Option<DateTime<Utc>>,
    /// The name of the event that the step waits for, or has waited for.
    pub event_name: Option<String>,
    /// The key of the event that the step waits for, or has waited for.
    pub event_key: Option<String>,
    /// Whether the event that the step waits for has arrived.
    pub event_published: bool,
    /// The data of the event that has arrived.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub event_data: Option<Value>,
    /// The stable id of the step. By this id, the engine finds the step in the definition.
    pub step_name: Option<String>,
    /// The number of attempts that have failed so far.
    pub retry_count: u32,
    /// If this pointer is a container: the id of the first pointer of each branch that has begun and that the
    /// container still waits for.
    pub children: Vec<String>,
    /// If this execution is inside a for-each: the item of the current iteration.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub context_item: Option<Value>,
    /// The id of the pointer before this pointer in its sequence, or `None` if this pointer is the first.
    pub predecessor_id: Option<String>,
    /// The outcome of the step.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub outcome: Option<Value>,
    /// The ids of the container pointers that enclose this pointer, outermost first. The list is empty on the
    /// main path.
    pub scope: Vec<String>,
    /// Further values that the engine or a program stores with the pointer.
    pub extension_attributes: HashMap<String, Value>,
}

impl ExecutionPointer {
    /// Creates a pointer with a new id, at the step with this position. The pointer is active and pending.
    #[must_use]
    pub fn new(step_id: usize) -> Self {
        Self::with_id(super::fresh_id(), step_id)
    }

    pub(crate) fn with_id(id: String, step_id: usize) -> Self {
        Self {
            id,
            step_id,
            active: true,
            status: PointerStatus::Pending,
            sleep_until: None,
            persistence_data: None,
            start_time: None,
            end_time: None,
            event_name: None,
            event_key: None,
            event_published: false,
            event_data: None,
            step_name: None,
            retry_count: 0,
            children: Vec::new(),
            context_item: None,
            predecessor_id: None,
            outcome: None,
            scope: Vec::new(),
            extension_attributes: HashMap::new(),
        }
    }
}
