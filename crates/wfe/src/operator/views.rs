//! What the answers consist of that the contract of stores has no type for.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use wfe_core::{
    executor::view,
    models::{ExecutionPointer, PointerStatus},
    steps::UserTaskView,
    traits::{Finished, InstanceSummary, OpenCount, OpenWait, StoredEvent},
};

use super::Explanation;
use crate::status::{Held, InstanceStatus};

/// An instance as a person wants to see it: what it is, where it stands, and why.
///
/// Its JSON: `{"summary": { … }, "status": { … }, "why": { … }}`. The parts are an [`InstanceSummary`], an
/// [`InstanceStatus`] and an [`Explanation`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct InstanceView {
    /// The instance as it stands in listings.
    pub summary: InstanceSummary,
    /// Where the instance stands.
    pub status: InstanceStatus,
    /// Why it stands there.
    pub why: Explanation,
}

/// A step that has ended, from the history of an instance. What is `None` is left out of its JSON:
///
/// ```json
/// {
///   "number": 3, "step": "charge", "pointer": "charge", "status": "complete",
///   "start": "2026-01-05T08:00:00Z", "end": "2026-01-05T08:00:01Z", "attempts": 2,
///   "outcome": 2250, "item": { "sku": 17 }, "event": { "name": "approved", "key": "order-17", "data": "Ann" }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HistoryRow {
    /// The number of the step among those of finished iterations, from 1. `None` means that the step belongs to the live
    /// state of the instance, as the steps of the main path do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The stable id of the step. `None` means that none is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The id of the execution pointer.
    pub pointer: String,
    /// How the step ended: `complete`, `failed`, `cancelled`, `compensated`, …
    #[serde(serialize_with = "word")]
    pub status: PointerStatus,
    /// When the step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<DateTime<Utc>>,
    /// When the step ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<DateTime<Utc>>,
    /// The number of attempts, at least 1.
    pub attempts: u32,
    /// The outcome of the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Value>,
    /// The item of the enclosing for-each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<Value>,
    /// The event for which the step has waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<ReceivedEvent>,
}

/// An event for which a step has waited. Its JSON is shown at [`HistoryRow`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReceivedEvent {
    /// The name of the event.
    pub name: String,
    /// The key of the event.
    pub key: String,
    /// The data of the event. `None` means that the step has not received it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn word<S: serde::Serializer>(status: &PointerStatus, serializer: S) -> Result<S::Ok, S::Error> {
    let mut word = String::new();
    for letter in format!("{status:?}").chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    serializer.serialize_str(&word)
}

impl HistoryRow {
    pub(super) fn of(Finished { number, pointer }: Finished) -> Self {
        Self { number: Some(number), ..Self::of_live(pointer) }
    }

    pub(super) fn of_live(pointer: ExecutionPointer) -> Self {
        let ExecutionPointer {
            id,
            status,
            start_time,
            end_time,
            event_name,
            event_key,
            event_published,
            event_data,
            step_name,
            retry_count,
            context_item,
            outcome,
            ..
        } = pointer;
        let failed_last = status == PointerStatus::Failed;
        Self {
            number: None,
            step: step_name,
            pointer: id,
            status,
            start: start_time,
            end: end_time,
            attempts: if failed_last { retry_count.max(1) } else { retry_count.saturating_add(1) },
            outcome,
            item: context_item,
            event: event_name.zip(event_key).map(|(name, key)| ReceivedEvent {
                name,
                key,
                data: event_data.filter(|_| event_published),
            }),
        }
    }
}

/// What is known about the events with one name and key, and who waits for them.
///
/// Its JSON: `{"name": "approved", "key": "order-17", "waits": [ … ], "stored": [ … ]}`. The parts are [`OpenWait`]s and
/// [`StoredEvent`]s.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EventView {
    /// The name of the event.
    pub name: String,
    /// The key of the event.
    pub key: String,
    /// The open waits for this event, oldest first.
    pub waits: Vec<OpenWait>,
    /// The stored events with this name and key, newest first.
    pub stored: Vec<StoredEvent>,
}

/// A user task that has not been answered yet. What is `None` is left out of its JSON:
///
/// ```json
/// {
///   "id": "0193…", "instance": "0192…", "definition": "leave", "version": 1, "pointer": "decide", "step": "decide",
///   "prompt": "May Ann travel?", "assignee": "Mr Bell", "options": ["approve", "reject"],
///   "since": "2026-01-04T08:00:00Z", "until": "2026-01-05T08:00:00Z"
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskView {
    /// The id of the task, by which it is answered. If the task is reassigned, it gets a new id.
    pub id: String,
    /// The id of the instance that waits for the answer.
    pub instance: String,
    /// The id of the instance's definition.
    pub definition: String,
    /// The version of the instance's definition.
    pub version: u32,
    /// The id of the step's execution pointer.
    pub pointer: String,
    /// The question, its options and its assignee.
    #[serde(flatten)]
    pub task: UserTaskView,
    /// Who has claimed the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// When the task was opened. `None` means that an earlier version of WFE opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// When the task is escalated, is reassigned or times out. `None` means never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// An activity that has not been answered yet. What is `None` is left out of its JSON:
///
/// ```json
/// {
///   "id": "0193…", "name": "pack", "instance": "0192…", "definition": "order", "version": 3, "step": "pack",
///   "pointer": "pack", "input": { "sku": 17 }, "since": "2026-01-05T07:00:00Z", "until": "2026-01-06T07:00:00Z",
///   "held": { "worker": "worker 1", "until": "2026-01-05T08:00:00Z" }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ActivityView {
    /// The id of the activity.
    pub id: String,
    /// The name under which workers claim the activity.
    pub name: String,
    /// The id of the instance that waits for the activity.
    pub instance: String,
    /// The id of the instance's definition.
    pub definition: String,
    /// The version of the instance's definition.
    pub version: u32,
    /// The stable id of the step that waits.
    pub step: String,
    /// The id of the step's execution pointer.
    pub pointer: String,
    /// The input for the worker.
    pub input: Value,
    /// When the activity was opened. `None` means that an earlier version of WFE opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// When the wait times out, or when its claim limit passes if no worker has claimed the activity yet. `None` means
    /// never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// The worker that has claimed the activity, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

impl ActivityView {
    /// `None` for a subscription that is no activity.
    pub(super) fn of(wait: &OpenWait) -> Option<Self> {
        let OpenWait { subscription, definition, version, .. } = wait;
        Some(Self {
            name: view::activity_name(&subscription.event_name)?.to_owned(),
            id: subscription.id.clone(),
            instance: subscription.workflow_id.clone(),
            definition: definition.clone(),
            version: *version,
            step: view::step_of(&subscription.execution_pointer_id).to_owned(),
            pointer: subscription.execution_pointer_id.clone(),
            input: view::activity_input(subscription),
            since: None,
            until: None,
            held: Held::of(subscription),
        })
    }
}

/// A version of a definition, as the store and the hosts know it. What is `None` is left out of its JSON:
///
/// ```json
/// {
///   "id": "order", "version": 3, "first_stored": "2026-01-05T07:00:00Z", "outlines": 1, "hosts": [17],
///   "open": [{ "definition": "order", "version": 3, "state": "waiting", "count": 1180 }]
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DefinitionView {
    /// The id of the definition.
    pub id: String,
    /// The version.
    pub version: u32,
    /// When a host stored the outline of this version first. `None` means that no host has stored one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_stored: Option<DateTime<Utc>>,
    /// The number of different outlines that hosts have stored for this version. More than one means that the definition
    /// was changed, and its version was not.
    pub outlines: usize,
    /// The living hosts that have said that they have this version: their ids as owners.
    pub hosts: Vec<u64>,
    /// The numbers of open instances, by their state.
    pub open: Vec<OpenCount>,
}
