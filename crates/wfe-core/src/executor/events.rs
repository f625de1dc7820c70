//! Events that the engine itself publishes or awaits: the ends of children, activities and user tasks.

use chrono::DateTime;
use serde_json::Value;

use crate::{
    limits::Inside,
    models::Event,
    traits::{Ending, StepFailure, StoredFailure},
};

/// Name of the event that reports the end of a child workflow. The key of the event is the child's id.
pub const CHILD_ENDED: &str = "wfe.child-ended";
/// Prefix of the names of the events that end activities. The activity's name follows the prefix. The key of the event
/// is the wait's id.
pub const ACTIVITY: &str = "wfe.activity:";
/// Name of the events that end user tasks. The key of the event is the wait's id.
pub const USER_TASK: &str = "wfe.user-task";

/// The name of the activity whose result is an event with the name `event_name`. Returns `None` if an event with this
/// name is not the result of an activity.
#[must_use]
pub fn activity_name(event_name: &str) -> Option<&str> {
    event_name.strip_prefix(ACTIVITY)
}

/// The name of the event that is the result of this activity.
#[must_use]
pub fn activity_event(activity: &str) -> String {
    format!("{ACTIVITY}{activity}")
}

/// The end of a child, as reported to its parent.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ChildEnd {
    /// How the child ended.
    pub ending: Ending,
    /// The child's data at its end.
    #[serde(with = "crate::limits::inside")]
    pub data: Value,
    /// The failure that ended the child, if the child failed.
    #[serde(
        default,
        serialize_with = "StoredFailure::write_optional",
        deserialize_with = "StoredFailure::read_optional"
    )]
    pub cause: Option<StepFailure>,
    /// Whether that failure is retryable. Events that earlier versions stored lack this field. A failure in such an
    /// event counts as retryable, as it did in those versions.
    #[serde(default = "may_pass")]
    pub retryable: bool,
}

fn may_pass() -> bool {
    true
}

impl ChildEnd {
    /// The event that reports the end of the instance `child`. The event's id depends on the child alone, and no caller
    /// can publish an event with this id. The event's timestamp is in the past, so the event is due immediately, even
    /// if a clock is wrong.
    ///
    /// Earlier versions gave the event a different id. A waiting parent finds the event by name and key, so the id does
    /// not matter.
    #[must_use]
    pub fn event(&self, child: &str) -> Event {
        Event {
            id: format!("{CHILD_ENDED}:{child}"),
            event_name: CHILD_ENDED.to_owned(),
            event_key: child.to_owned(),
            // The child's data is nested one level deeper here than in the child's own row.
            event_data: serde_json::json!({
                "ending": self.ending,
                "data": Inside(&self.data),
                "cause": self.cause.clone().map(StoredFailure),
                "retryable": self.retryable,
            }),
            event_time: DateTime::UNIX_EPOCH,
            is_processed: false,
        }
    }
}
