use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(doc)]
use super::StepStore;
use super::{Control, ControlRequest};
use crate::{
    WfeError,
    error::StepError,
    limits::nearest_time,
    models::{
        Event, EventSubscription, ExecutionError, ExecutionPointer, ScheduledCommand, WorkflowInstance,
        WorkflowStatus,
    },
};

/// How an instance came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ending {
    /// Its last step ended well.
    Completed,
    /// A step failed for good, and its error behaviour was to fail the instance.
    Failed,
    /// [`Control::Cancel`].
    Cancelled,
    /// [`Control::Terminate`].
    Terminated,
}

/// One failure of one step, with what the plain [`ExecutionError`] has no field for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// When, where, and what the outermost error said.
    pub error: ExecutionError,
    /// The stable id of the step; empty if no step was running.
    pub step: String,
    /// Which attempt failed, from 1.
    pub attempt: u32,
    /// What kind of failure, for programs: the step's own code, or the engine's (`panic`, `timeout`, …).
    pub code: String,
    /// The messages of the error and its sources, outermost first.
    pub causes: Vec<String>,
}

impl StepFailure {
    /// The failure with which the engine quarantines the instance `id`, because something stored of it is
    /// corrupt. Its code is [`StepError::CORRUPT`]; its causes name table, column and row.
    #[must_use]
    pub fn corrupt(id: &str, error: WfeError, time: DateTime<Utc>) -> Self {
        let causes = StepError::fatal(error).causes();
        let error = ExecutionError {
            error_time: nearest_time(time),
            workflow_id: id.to_owned(),
            execution_pointer_id: String::new(),
            message: causes.first().cloned().unwrap_or_default(),
        };
        Self { error, step: String::new(), attempt: 1, code: StepError::CORRUPT.to_owned(), causes }
    }
}

/// A subscription consumes an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    /// The subscription, which this closes.
    pub subscription_id: String,
    /// The event that it consumes.
    pub event_id: String,
}

/// The items of a container, stored once and apart from its cursor, so that the cost of moving the cursor does
/// not grow with their number.
#[derive(Debug, Clone, PartialEq)]
pub struct Items {
    /// The container's pointer.
    pub container: String,
    /// The items, in order.
    pub values: Vec<Value>,
}

/// The whole effect of a pass over an instance, as a *delta*: its size does not grow with the instance. The
/// default changes nothing.
#[derive(Debug, Clone, Default)]
pub struct StepCommit {
    /// The instance.
    pub instance_id: String,
    /// The new status; `None`: unchanged.
    pub status: Option<WorkflowStatus>,
    /// With a final status: how it ended.
    pub ending: Option<Ending>,
    /// With a final status, or with `Suspended`: the failure that caused it, if one did. Any status that a
    /// commit sets replaces the stored cause.
    pub cause: Option<StepFailure>,
    /// When it ended; `None`: unchanged.
    pub complete_time: Option<DateTime<Utc>>,
    /// When the instance is due next, in milliseconds (`Some(None)`: not scheduled); `None`: unchanged. An
    /// owned instance keeps a due time while it runs, so that it is due again if its owner dies.
    pub next_execution: Option<Option<i64>>,
    /// The new data; `None`: unchanged, and not written.
    pub data: Option<Value>,
    /// Changed and new pointers of the live instance; new ones come after those stored, in this order.
    pub upserted: Vec<ExecutionPointer>,
    /// Finished pointers that leave the live instance and become history, in order of completion.
    pub finished: Vec<ExecutionPointer>,
    /// Items of containers that begin.
    pub items: Vec<Items>,
    /// New subscriptions. For each of them, the first due event that it matches becomes unprocessed again.
    pub subscribed: Vec<EventSubscription>,
    /// Ids of the new subscriptions that count from a date given by hand, even if that is the creation of the
    /// instance. Other subscriptions whose `subscribe_as_of` is the instance's `create_time` count from its
    /// creation (see [`Delivery`](super::Delivery)).
    pub dated: Vec<String>,
    /// Ids of subscriptions that a cancel, a timeout or an end closes; unknown ids are ignored.
    pub unsubscribed: Vec<String>,
    /// Ids of subscriptions that can no longer be claimed or [answered](StepStore::answer_wait), because they
    /// are about to be cancelled. They stay open, and an answer that one already has is still delivered: so a
    /// load after this commit shows whether an answer was accepted. Unknown ids are ignored.
    pub unanswerable: Vec<String>,
    /// Events that are consumed by this commit: their subscriptions are closed, and the position of (instance,
    /// name, key) advances.
    pub consumed: Vec<Consumed>,
    /// Events to store, with their own dates. An event that exists already, by its id, name and key, is
    /// ignored.
    pub published: Vec<Event>,
    /// Child instances, with ids made from parent and pointer. One that exists already, as a child of this
    /// instance that runs this definition, is ignored.
    pub created: Vec<WorkflowInstance>,
    /// Requests to other instances (children of this one), stored as by [`request`](StepStore::request), after
    /// [`created`](Self::created). Requests to unknown and ended instances are ignored.
    pub requested: Vec<(String, Control)>,
    /// Failures of steps.
    pub failures: Vec<StepFailure>,
    /// Wake-ups, merged as in [`schedule_command`](super::ScheduledCommandRepository::schedule_command).
    pub commands: Vec<ScheduledCommand>,
    /// The number of the control request whose effect this commit stores. The commit clears the request.
    pub applied: Option<u64>,
    /// Releases the instance: nothing is left to run now.
    pub release: bool,
}

impl StepCommit {
    /// Whether it stores nothing but the release of the instance and its next due time. Such a commit is no
    /// step forward, so the counts of [deaths](super::Deaths) stay.
    #[must_use]
    pub fn only_gives_back(&self) -> bool {
        let Self {
            instance_id: _,
            status,
            ending,
            cause,
            complete_time,
            next_execution: _,
            data,
            upserted,
            finished,
            items,
            subscribed,
            dated,
            unsubscribed,
            unanswerable,
            consumed,
            published,
            created,
            requested,
            failures,
            commands,
            applied,
            release,
        } = self;
        let state = status.is_none() && ending.is_none() && cause.is_none() && complete_time.is_none();
        let pointers = data.is_none() && upserted.is_empty() && finished.is_empty() && items.is_empty();
        let waits =
            subscribed.is_empty() && dated.is_empty() && unsubscribed.is_empty() && unanswerable.is_empty();
        let events = consumed.is_empty() && published.is_empty();
        let others = created.is_empty() && requested.is_empty() && commands.is_empty();
        *release && state && pointers && waits && events && others && failures.is_empty() && applied.is_none()
    }
}

/// The result of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// All of it is durable.
    Done,
    /// Nothing was written: the stored fencing token is another one, or the instance is gone. Stop working on
    /// it.
    Lost,
    /// Nothing was written: this control request is pending, and the commit did not name it. Apply it and
    /// commit again.
    Control(ControlRequest),
}
