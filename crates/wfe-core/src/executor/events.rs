//! The engine's own events.

use chrono::DateTime;
use serde_json::Value;

use crate::{
    limits::Inside,
    models::Event,
    traits::{Ending, StepFailure},
};

/// Name of the event that tells of a child workflow's end; its key is the child's id.
pub const CHILD_ENDED: &str = "wfe.child-ended";
/// What the names of the events that end activities begin with; the activity's name follows. The key is the wait's id.
pub const ACTIVITY: &str = "wfe.activity:";
/// Name of the events that end user tasks. The key is the wait's id.
pub const USER_TASK: &str = "wfe.user-task";

/// What the end of a child tells its parent.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ChildEnd {
    /// How it ended.
    pub ending: Ending,
    /// Its data at its end.
    #[serde(with = "crate::limits::inside")]
    pub data: Value,
    /// The failure that ended it, if one did.
    pub cause: Option<StepFailure>,
    /// Whether that failure may pass. Events of earlier versions do not tell; what they tell of counts as retryable, as it
    /// did then.
    #[serde(default = "may_pass")]
    pub retryable: bool,
}

fn may_pass() -> bool {
    true
}

impl ChildEnd {
    /// The event that tells of the end of the instance `child`. It has the same id whoever makes it, one that no caller can
    /// give to an event of theirs; and no clock can hold it back: it lies in the past.
    ///
    /// Earlier versions gave it another id. Whoever waits finds it by name and key, whatever its id.
    #[must_use]
    pub fn event(&self, child: &str) -> Event {
        Event {
            id: format!("{CHILD_ENDED}:{child}"),
            event_name: CHILD_ENDED.to_owned(),
            event_key: child.to_owned(),
            // The child's data is one level deeper here than where it was stored.
            event_data: serde_json::json!({
                "ending": self.ending,
                "data": Inside(&self.data),
                "cause": self.cause,
                "retryable": self.retryable,
            }),
            event_time: DateTime::UNIX_EPOCH,
            is_processed: false,
        }
    }
}
