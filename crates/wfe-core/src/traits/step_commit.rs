use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

#[cfg(doc)]
use super::StepStore;
use super::{Control, ControlRequest};
use crate::{
    WfeError,
    error::{Ending, StepError, StepFailure},
    limits::nearest_time,
    models::{
        Event, EventSubscription, ExecutionError, ExecutionPointer, ScheduledCommand, WorkflowInstance,
        WorkflowStatus,
    },
};

impl Ending {
    /// How an instance with this status and this stored ending ended. `None` means that it has not ended. If
    /// `persist_workflow` ended the instance, no ending is stored, and the status alone decides.
    #[must_use]
    pub fn of(status: WorkflowStatus, stored: Option<Self>) -> Option<Self> {
        match status {
            WorkflowStatus::Runnable | WorkflowStatus::Suspended => None,
            WorkflowStatus::Complete => Some(stored.unwrap_or(Self::Completed)),
            WorkflowStatus::Terminated => Some(stored.unwrap_or(Self::Terminated)),
        }
    }
}

impl StepFailure {
    /// The failure with which the engine quarantines the instance `id`, because stored data of the instance is
    /// corrupt. The failure's code is [`StepError::CORRUPT`]; its causes name the table, the column and the
    /// row.
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

/// A subscription, and the event that it consumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    /// The id of the subscription. The commit closes this subscription.
    pub subscription_id: String,
    /// The id of the event that the subscription consumes.
    pub event_id: String,
}

/// The items of a container. The items are stored once, separately from the container's cursor, so that the
/// cost of moving the cursor does not grow with the number of items.
#[derive(Debug, Clone, PartialEq)]
pub struct Items {
    /// The id of the container's pointer.
    pub container: String,
    /// The items, in order.
    pub values: Vec<Value>,
}

/// The whole effect of a pass over an instance, as a *delta*: the size of the commit does not grow with the
/// size of the instance. The default value changes nothing.
#[derive(Debug, Clone, Default)]
pub struct StepCommit {
    /// The id of the instance.
    pub instance_id: String,
    /// The new status. `None` leaves the status unchanged.
    pub status: Option<WorkflowStatus>,
    /// How the instance ended, if the new status is final.
    pub ending: Option<Ending>,
    /// The failure that caused the new status. `None` if no failure caused the new status, or if the new status
    /// is neither final nor `Suspended`. Every commit that sets a status replaces the stored cause.
    pub cause: Option<StepFailure>,
    /// When the instance ended. `None` leaves the stored time unchanged.
    pub complete_time: Option<DateTime<Utc>>,
    /// When the instance is due next, in milliseconds since the Unix epoch. `Some(None)` means that the
    /// instance is not scheduled; `None` leaves the due time unchanged. An owned instance keeps a due time
    /// while it runs, so that it is due again if its owner dies.
    pub next_execution: Option<Option<i64>>,
    /// The new data. `None` leaves the data unchanged; then no data is written.
    pub data: Option<Value>,
    /// The new attributes, all of them. `None` leaves the attributes unchanged; then nothing is written of them. Those that
    /// the store keeps for itself, whose keys begin with [`OWN_NAMES`](super::OWN_NAMES), stay as they are in any case.
    pub attributes: Option<Map<String, Value>>,
    /// Changed and new pointers of the live instance; new pointers come after the stored pointers, in this
    /// order.
    pub upserted: Vec<ExecutionPointer>,
    /// Finished pointers that leave the live instance and become history, in order of completion.
    pub finished: Vec<ExecutionPointer>,
    /// Items of containers that begin.
    pub items: Vec<Items>,
    /// New subscriptions. For each new subscription, the first due event that the subscription matches becomes
    /// unprocessed again.
    pub subscribed: Vec<EventSubscription>,
    /// Ids of the new subscriptions that count from a time that the program gave, even if that time equals the
    /// creation time of the instance. Other subscriptions whose `subscribe_as_of` is the instance's
    /// `create_time` count from the creation of the instance (see [`Delivery`](super::Delivery)).
    pub dated: Vec<String>,
    /// Ids of subscriptions that a cancellation, a timeout or the end of the instance closes. Unknown ids are
    /// ignored.
    pub unsubscribed: Vec<String>,
    /// Ids of subscriptions that can no longer be claimed or [answered](StepStore::answer_wait), because they
    /// will be cancelled next. The subscriptions stay open, and an answer that was accepted before is still
    /// delivered. So a load after this commit shows whether an answer was accepted. Unknown ids are ignored.
    pub unanswerable: Vec<String>,
    /// Ids of subscriptions that can no longer be claimed or answered, as those in
    /// [`unanswerable`](Self::unanswerable), unless a worker has claimed them: a subscription that has a token, even one
    /// that has expired, stays as it is. So does a subscription that is answered. A claim that was given back is none.
    ///
    /// The check and the write are one, so a worker either holds its claim or does not get it. Afterwards,
    /// [`unanswerable`](StepStore::unanswerable) returns which of the subscriptions were closed to answers. Unknown ids
    /// are ignored.
    pub unanswerable_unless_claimed: Vec<String>,
    /// Events that this commit consumes. For each event, the commit closes the subscription and advances the
    /// instance's position in the stream of the event's name and key.
    pub consumed: Vec<Consumed>,
    /// Events to store, with their own timestamps. An event is ignored if an event with its id, name and key
    /// exists already.
    pub published: Vec<Event>,
    /// Child instances to create. The id of a child is derived from its parent and the pointer. A child that
    /// exists already is ignored if it is a child of this instance and runs the same definition.
    pub created: Vec<WorkflowInstance>,
    /// Requests to children of this instance. The commit stores the requests after the children in
    /// [`created`](Self::created). A request replaces a pending one, but nothing replaces `Terminate`, and only
    /// `Terminate` replaces `Cancel`. Requests to unknown and ended instances are ignored.
    pub requested: Vec<(String, Control)>,
    /// Failures of steps.
    pub failures: Vec<StepFailure>,
    /// Wake-ups to store. The commit merges the wake-ups with the stored commands, as
    /// [`schedule_command`](super::ScheduledCommandRepository::schedule_command) does.
    pub commands: Vec<ScheduledCommand>,
    /// The number of the control request whose effect this commit stores. The commit clears the request.
    pub applied: Option<u64>,
    /// Whether the commit releases the instance, because nothing is left to run now.
    pub release: bool,
}

impl StepCommit {
    /// Whether the commit stores only the release of the instance and its next due time. Such a commit is no
    /// progress, so it does not reset the counts of [crashes](super::Deaths).
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
            attributes,
            upserted,
            finished,
            items,
            subscribed,
            dated,
            unsubscribed,
            unanswerable,
            unanswerable_unless_claimed,
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
        let data = data.is_none() && attributes.is_none();
        let pointers = data && upserted.is_empty() && finished.is_empty() && items.is_empty();
        let closed = unanswerable.is_empty() && unanswerable_unless_claimed.is_empty();
        let waits = subscribed.is_empty() && dated.is_empty() && unsubscribed.is_empty() && closed;
        let events = consumed.is_empty() && published.is_empty();
        let others = created.is_empty() && requested.is_empty() && commands.is_empty();
        *release && state && pointers && waits && events && others && failures.is_empty() && applied.is_none()
    }
}

/// The result of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// The whole commit is durable.
    Done,
    /// Nothing was written: the stored fencing token differs from the caller's token, or the instance no
    /// longer exists. Stop working on the instance.
    Lost,
    /// Nothing was written: this control request is pending, and the commit did not name it. Apply the request
    /// and commit again.
    Control(ControlRequest),
}
