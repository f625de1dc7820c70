use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Cursor, InstanceState, ListCursor};
use crate::{
    definition::Outline,
    models::{Event, EventSubscription},
    traits::{Control, Ending},
};

/// A page of a [listing](super::Management::list).
///
/// A store looks at a bounded number of rows for each page. So a page may have fewer rows than asked for, or none, although
/// more follow: [`next`](Self::next) shows whether more rows are left to look at.
///
/// Its JSON: `{"rows": [ … ], "next": "0-17", "looked_at": 20000, "is_whole": false}`; `next` is left out on the last page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Window<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor for the next page, or `None` if this was the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<ListCursor>,
    /// The number of rows that the store has looked at for this page.
    pub looked_at: u64,
    /// Whether the page is as long as asked for, or is the last one. If not, the page ended because the store has looked
    /// at as many rows as it looks at in one call.
    pub is_whole: bool,
}

/// An instance without its data and pointers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceSummary {
    /// The id of the instance.
    pub id: String,
    /// The name of the instance. If the instance was started without a name, this is its id.
    pub name: String,
    /// The id of the instance's definition.
    pub definition: String,
    /// The version of the instance's definition.
    pub version: u32,
    /// The reference with which the instance was started, if there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reference: Option<String>,
    /// What the instance does now.
    pub state: InstanceState,
    /// The pending control request, if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default, with = "super::words::control")]
    pub request: Option<Control>,
    /// The failure that suspended or ended the instance, if there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<Cause>,
    /// Whether an operator has recorded that this failure is dealt with
    /// ([`Action::Acknowledge`](super::Action::Acknowledge)).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_acknowledged: bool,
    /// What the instance waits for, in short. `None` if it has no open subscription.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waits: Option<WaitSummary>,
    /// The attributes of the instance, without those of the engine.
    #[serde(skip_serializing_if = "Map::is_empty", default)]
    pub attributes: Map<String, Value>,
    /// The parent of the instance, if it is a child.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parent: Option<String>,
    /// The [id](super::super::Owner::id) of the owner, if the instance has one. The owner may be dead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<u64>,
    /// When the instance was started.
    pub create_time: DateTime<Utc>,
    /// When the instance ended, or `None` if it has not ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub complete_time: Option<DateTime<Utc>>,
    /// When the instance is due. A time in the past means that it is due now. `None` means that it has ended, is
    /// suspended, or does not wait for a time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due: Option<DateTime<Utc>>,
}

impl InstanceSummary {
    /// For implementations of stores: a summary with these fields; all others are empty.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        definition: impl Into<String>,
        version: u32,
        state: InstanceState,
        create_time: DateTime<Utc>,
    ) -> Self {
        let id = id.into();
        Self {
            name: id.clone(),
            id,
            definition: definition.into(),
            version,
            reference: None,
            state,
            request: None,
            cause: None,
            is_acknowledged: false,
            waits: None,
            attributes: Map::new(),
            parent: None,
            owner: None,
            create_time,
            complete_time: None,
            due: None,
        }
    }
}

/// The failure that suspended or ended an instance, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The stable id of the step; empty if no step was running.
    pub step: String,
    /// The code of the failure.
    pub code: String,
    /// The number of the failed attempt, from 1.
    pub attempt: u32,
    /// The first line of the message, cut after [`MAX_MESSAGE`](Self::MAX_MESSAGE) characters.
    pub message: String,
    /// When the attempt failed.
    pub time: DateTime<Utc>,
}

impl Cause {
    /// The highest number of characters of [`message`](Self::message).
    pub const MAX_MESSAGE: usize = 500;
}

/// What an instance waits for, in short: its oldest open subscription, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitSummary {
    /// The name of the event. Names that begin with [`OWN_NAMES`](super::super::OWN_NAMES) are those of activities, user
    /// tasks and children.
    pub name: String,
    /// The key of the event.
    pub key: String,
    /// The number of open subscriptions of the instance. Of an instance with more, [`MAX_COUNT`](Self::MAX_COUNT) are
    /// looked at, and counted.
    pub count: u64,
}

impl WaitSummary {
    /// The highest [`count`](Self::count).
    pub const MAX_COUNT: u64 = 1_000;
}

/// A count that may have ended at a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The number. If the count is not exact, there are at least this many.
    pub n: u64,
    /// Whether the number is exact. If not, the count has ended at the cap, or at the number of rows that a store looks at
    /// in one call.
    pub is_exact: bool,
}

/// How many instances of a definition are in an open state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCount {
    /// The id of the definition.
    pub definition: String,
    /// The version of the definition.
    pub version: u32,
    /// The state: one of [`InstanceState::OPEN`].
    pub state: InstanceState,
    /// The number of instances.
    pub count: u64,
    /// The due time of the instance that has been due longest, if the state is [`Due`](InstanceState::Due).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub oldest_due: Option<DateTime<Utc>>,
}

/// How many instances of a definition ended in one interval of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedCount {
    /// The beginning of the interval.
    pub from: DateTime<Utc>,
    /// The id of the definition.
    pub definition: String,
    /// How the instances ended.
    #[serde(with = "super::words::ending")]
    pub ending: Ending,
    /// The number of instances.
    pub count: u64,
}

/// The instances that a failure with the same code in the same step has suspended or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureGroup {
    /// The id of the definition.
    pub definition: String,
    /// The stable id of the step; empty if no step was running.
    pub step: String,
    /// The code of the failure.
    pub code: String,
    /// The number of instances.
    pub count: u64,
    /// How many of them are suspended. The others have ended.
    pub suspended: u64,
    /// When the first of them failed.
    pub first: DateTime<Utc>,
    /// When the last of them failed.
    pub last: DateTime<Utc>,
    /// The id of the instance that failed last.
    pub example: String,
    /// The first line of that instance's failure.
    pub message: String,
}

/// How many open subscriptions with one name have no answer yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCount {
    /// The name of the subscriptions' event, which begins with [`OWN_NAMES`](super::super::OWN_NAMES). It is that of an
    /// activity, of user tasks, or of the ends of children.
    pub event_name: String,
    /// The number of subscriptions.
    pub open: u64,
}

/// How many live execution pointers stand at a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCount {
    /// The stable id of the step.
    pub step: String,
    /// The number of pointers that are active.
    pub active: u64,
    /// The number of pointers that have failed for good.
    pub failed: u64,
}

/// A stored event, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// The place of the event in the order in which events became due. `None` means that it is not due yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub position: Option<u64>,
    /// Whether an instance has consumed the event.
    pub is_consumed: bool,
}

/// Selects stored events. The default selects all events of programs. An event must match every field that is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventFilter {
    /// Selects events with this name.
    pub name: Option<String>,
    /// Selects events with this key. A key needs a name.
    pub key: Option<String>,
    /// Selects events that no instance has consumed, and that are not marked as processed.
    pub unprocessed: bool,
}

/// An open subscription, and the instance that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenWait {
    /// The subscription.
    pub subscription: EventSubscription,
    /// The definition of the instance.
    pub definition: String,
    /// The version of the definition.
    pub version: u32,
    /// Whether the subscription can be answered by an external worker or a person: it has no answer yet.
    pub is_answerable: bool,
}

/// The outline of a definition, as a host has stored it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredOutline {
    /// The position of the outline in the order in which outlines were stored.
    pub cursor: Cursor,
    /// When a host stored it first.
    pub time: DateTime<Utc>,
    /// The outline.
    pub outline: Outline,
}
