use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PointerStatus;

/// Where an instance stands: one visit of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionPointer {
    /// Unique within its instance, not across instances.
    pub id: String,
    /// Position of the step in the definition when the pointer was made. Informs only: the engine resolves a step
    /// by its stable id, [`step_name`](Self::step_name).
    pub step_id: usize,
    /// Whether the engine still has something to do here.
    pub active: bool,
    /// How far the visit has come.
    pub status: PointerStatus,
    /// Not to be looked at before this time; `None`: no such limit.
    pub sleep_until: Option<DateTime<Utc>>,
    /// What the step keeps for its next run. `Some(Value::Null)` and `None` are two different things, here and in
    /// every other optional value of a pointer.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub persistence_data: Option<Value>,
    /// When its body first began; `None`: not yet.
    pub start_time: Option<DateTime<Utc>>,
    /// When it came to its end; `None`: it has not.
    pub end_time: Option<DateTime<Utc>>,
    /// Name of the event it waits for or waited for.
    pub event_name: Option<String>,
    /// Key of that event.
    pub event_key: Option<String>,
    /// Whether that event has arrived.
    pub event_published: bool,
    /// What that event carried.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub event_data: Option<Value>,
    /// The stable id of the step, by which the engine finds it in the definition.
    pub step_name: Option<String>,
    /// How many attempts have failed so far.
    pub retry_count: u32,
    /// Ids of the pointers that a container has started and still waits for.
    pub children: Vec<String>,
    /// The item of a for-each that this visit is about.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub context_item: Option<Value>,
    /// The pointer whose end led here.
    pub predecessor_id: Option<String>,
    /// What the step answered.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "super::optional_value::deserialize"
    )]
    pub outcome: Option<Value>,
    /// Ids of the container pointers around this one, outermost first; empty on the main path.
    pub scope: Vec<String>,
    /// Whatever else the engine or a program keeps with the pointer.
    pub extension_attributes: HashMap<String, Value>,
}

impl ExecutionPointer {
    /// An active, pending pointer at the step in this position, with a fresh id.
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
