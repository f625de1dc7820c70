//! Typed views of stored rows, for hosts that show them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use super::events::{activity_event, activity_name};

use super::{
    CHILD_ENDED, USER_TASK,
    run::{attempts, item_windows::Cursor, saga::state},
};
use crate::{
    models::{EventSubscription, ExecutionPointer, PointerStatus, attributes, pointer_id},
    program::kind,
    steps::UserTaskView,
    traits::{Ending, StepFailure, StoredFailure},
};

/// When the wait of this activity's pointer times out, or `None` if it never does. The claim limit counts only as long as
/// no worker has claimed the activity.
#[must_use]
pub fn activity_limit(pointer: &ExecutionPointer, is_claimed: bool) -> Option<DateTime<Utc>> {
    if is_claimed && pointer.has(attributes::CLAIM_BY) {
        // A limit that does not decode is shown as none. The executor reports it.
        return serde_json::from_value(pointer.attribute(attributes::LIMIT)?.clone()).ok();
    }
    pointer.sleep_until
}

/// The id of a pointer's step.
#[must_use]
pub fn step_of(pointer: &str) -> &str {
    pointer_id::step(pointer)
}

/// The progress of a running for-each. Its JSON: `{"step": "lines", "done": 3, "total": 10}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ForEachProgress {
    /// The stable id of the for-each.
    pub step: String,
    /// The number of iterations that have ended. Both completed and failed iterations count.
    pub done: u64,
    /// The number of items.
    pub total: u64,
}

impl ForEachProgress {
    /// Reads the progress from a stored pointer. Returns `None` if the pointer is not a running for-each, or if its
    /// items are not known yet.
    #[must_use]
    pub fn of(pointer: &ExecutionPointer) -> Option<Self> {
        if pointer.status != PointerStatus::Running {
            return None;
        }
        let cursor = Cursor::deserialize(pointer.persistence_data.as_ref()?).ok()?; // not a for-each
        let done = cursor.next.saturating_sub(pointer.children.len() as u64);
        Some(Self { step: pointer.step_name.clone()?, done, total: cursor.total })
    }
}

/// Where a pointer stands in its instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Path {
    /// The stable ids of the steps that enclose the pointer, outermost first, and of its own step.
    pub steps: Vec<String>,
    /// The position of the item of the innermost enclosing for-each, from 1. `None` means that no for-each encloses the
    /// pointer.
    pub item: Option<u64>,
    /// The number of items of that for-each, if it is known.
    pub items: Option<u64>,
}

impl Path {
    /// Reads the path of a stored pointer. `all` are the live pointers of its instance.
    #[must_use]
    pub fn of(pointer: &ExecutionPointer, all: &[ExecutionPointer]) -> Self {
        let around =
            pointer.scope.iter().map(|id| pointer_id::step(id)).chain([pointer_id::step(&pointer.id)]);
        let item = pointer.number(attributes::INDEX).map(|index| index.saturating_add(1));
        let containers = pointer.scope.iter().rev();
        let progress = |id: &String| ForEachProgress::of(all.iter().find(|other| other.id == *id)?);
        Self {
            steps: around.map(str::to_owned).collect(),
            item,
            items: item.and_then(|_| containers.clone().find_map(progress)).map(|progress| progress.total),
        }
    }
}

/// How an instance with these pointers ends after the compensation of its open sagas. Returns `None` if the instance is
/// not closing.
#[must_use]
pub fn closing<'p>(pointers: impl IntoIterator<Item = &'p ExecutionPointer>) -> Option<Ending> {
    state::closing(pointers)
}

/// The stable id of the `end` step that completed an instance with these pointers. Returns `None` if the instance completed
/// after its last step, or was completed by an earlier version of the engine.
#[must_use]
pub fn end_step(pointers: &[ExecutionPointer]) -> Option<&str> {
    let is_end = |p: &&ExecutionPointer| {
        p.status == PointerStatus::Complete && p.text(attributes::KIND) == Some(kind::END)
    };
    pointers.iter().rfind(is_end)?.step_name.as_deref()
}

/// Whether the last attempt of a pointer's step has failed.
#[must_use]
pub fn has_failed_attempt(pointer: &ExecutionPointer) -> bool {
    attempts::failed_in_a_row(pointer) > 0
}

/// The state that a step's body has stored, or `None` if there is no stored state.
///
/// # Errors
/// The stored state cannot be decoded as a `T`.
pub fn kept_state<T: DeserializeOwned>(pointer: &ExecutionPointer) -> serde_json::Result<Option<T>> {
    pointer.persistence_data.as_ref().map(T::deserialize).transpose()
}

/// Why a pointer sleeps.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Sleep {
    /// The pointer sleeps for a delay, or until the time that the step's body returned.
    Timer,
    /// The pointer sleeps for the backoff after a failed attempt.
    Retry {
        /// The number of the next attempt. The first attempt of a step has number 1.
        attempt: u32,
        /// If the pointer is a saga: the failure inside the saga that caused the retry. For any other pointer, the
        /// cause is `None`, because the failures of that pointer are stored under its own id. The cause is also `None`
        /// for a saga that was stored by an earlier version of the engine.
        cause: Option<StepFailure>,
    },
}

impl Sleep {
    /// Reads from a stored pointer why it sleeps. Returns `None` if the pointer does not sleep.
    #[must_use]
    pub fn of(pointer: &ExecutionPointer) -> Option<Self> {
        if pointer.status != PointerStatus::Sleeping {
            return None;
        }
        // A delay that was retried is a timer again once its end is known.
        let is_delay = matches!(pointer.text(attributes::KIND), Some(kind::DELAY | kind::AFTER))
            && pointer.persistence_data.is_some();
        if is_delay || !has_failed_attempt(pointer) {
            return Some(Self::Timer);
        }
        let cause = pointer.attribute(attributes::RETRIED_FOR);
        Some(Self::Retry {
            attempt: pointer.retry_count.saturating_add(1),
            // A failure that does not decode is shown as none: it is also stored among the failures.
            cause: cause.and_then(|cause| StoredFailure::deserialize(cause).ok()).map(|cause| cause.0),
        })
    }
}

/// What a pointer waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaited {
    /// The end of a child workflow.
    Child {
        /// The child's id.
        id: String,
    },
    /// The answer to a user task.
    UserTask {
        /// The id of the subscription.
        id: String,
    },
    /// The result of an activity.
    Activity {
        /// The activity's name.
        name: String,
        /// The id of the subscription.
        id: String,
    },
    /// An event that the program publishes.
    Event {
        /// The event's name.
        name: String,
        /// The event's key.
        key: String,
    },
}

impl Awaited {
    /// Reads from a stored pointer what it waits for. Returns `None` if the pointer does not wait for an event.
    #[must_use]
    pub fn of(pointer: &ExecutionPointer) -> Option<Self> {
        if pointer.status != PointerStatus::WaitingForEvent {
            return None;
        }
        let (name, key) = (pointer.event_name.as_deref()?, pointer.event_key.clone()?);
        Some(match (name, activity_name(name)) {
            (CHILD_ENDED, _) => Self::Child { id: key },
            (USER_TASK, _) => Self::UserTask { id: key },
            (_, Some(activity)) => Self::Activity { name: activity.to_owned(), id: key },
            _ => Self::Event { name: name.to_owned(), key },
        })
    }
}

/// The input of an activity, read from the subscription that represents the activity.
#[must_use]
pub fn activity_input(subscription: &EventSubscription) -> Value {
    subscription.subscription_data.clone().unwrap_or_default()
}

/// The user task that a subscription represents.
///
/// # Errors
/// The subscription does not belong to a user task.
pub fn user_task(subscription: &EventSubscription) -> serde_json::Result<UserTaskView> {
    UserTaskView::deserialize(subscription.subscription_data.as_ref().unwrap_or(&Value::Null))
}
