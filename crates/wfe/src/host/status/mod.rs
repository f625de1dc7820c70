mod json;
mod position;
#[cfg(test)]
mod tests;
mod text;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use wfe_core::{
    executor::view::{self, ForEachProgress},
    models::{EventSubscription, ExecutionPointer, PointerStatus, WorkflowStatus},
    steps::UserTaskView,
    traits::{ControlRequest, Ending, Loaded, StepFailure},
};

use crate::engine::BodyStates;

/// The status of an instance: at which steps it is, and what it waits for.
/// [`WorkflowHost::status`](crate::WorkflowHost::status) returns this type.
///
/// Its text is one line: `instance "0193…" of order (version 1) is running: approval waits for event "order-approved" with
/// key "order-17"`. After the third position, it only says how many more there are.
///
/// Its JSON is flat. Times are in RFC 3339; what is `None` is left out, and so are an empty `for_each` and empty
/// `attributes`:
///
/// ```json
/// {
///   "id": "0193…", "definition": "order", "version": 1, "state": "running",
///   "reference": "order-17", "name": "the order of Ann", "description": "two chairs",
///   "attributes": { "customer": "Ann", "priority": 1 },
///   "request": "cancel", "closing": "cancelled", "blocked": "definition_missing",
///   "cause": { "step": "pay", "attempt": 3, "code": "error", "message": "…", "time": "…", "pointer": "pay" },
///   "due": "2026-01-05T08:00:00Z",
///   "positions": [
///     { "step": "approval", "pointer": "approval", "item": 17,
///       "waits": { "for": "event", "name": "order-approved", "key": "order-17" } }
///   ],
///   "for_each": [{ "step": "lines", "done": 3, "total": 10 }],
///   "end_step": "rejected", "parent": "0192…",
///   "create_time": "2026-01-04T08:00:00Z", "complete_time": "2026-01-05T08:00:00Z",
///   "retried": "2026-01-04T12:00:00Z", "restart_of": "0191…", "restarted_as": "0194…"
/// }
/// ```
///
/// `state` is a [`State`], `cause` a [`StepFailure`], `waits` one of the shapes of [`Waits`]. `request` is `suspend`,
/// `resume`, `skip`, `resume_from`, `cancel` or `terminate`; `closing` is a final state; `blocked` is
/// `definition_missing` or `suspended`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct InstanceStatus {
    /// The id of the instance.
    pub id: String,
    /// The id of the instance's definition.
    pub definition: String,
    /// The version of the definition with which the instance was started.
    pub version: u32,
    /// The [reference](crate::host::Starting::reference) with which the instance was started. `None` means that it was
    /// started without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The [name](crate::host::Starting::name) of the instance. `None` means that its id is its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The [description](crate::host::Starting::description) of the instance. `None` means that it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The attributes of the instance: those with which it was [started](crate::host::Starting::attribute), as its steps have
    /// changed them.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
    /// Whether this version of the definition is registered on this host. If not, the instance waits for a host on
    /// which this version is registered.
    #[serde(skip)]
    pub is_registered: bool,
    /// Whether the instance is running, is suspended or has ended, and how it ended.
    pub state: State,
    /// The pending control request. `None` means that no request is pending. A busy instance applies the request with
    /// its next commit.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::request")]
    pub request: Option<ControlRequest>,
    /// How the instance will end once its open sagas are compensated. `None` means that the instance is not ending.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "json::ending")]
    pub closing: Option<Ending>,
    /// The failure that suspended or ended the instance. `None` means that no failure has suspended or ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<StepFailure>,
    /// What keeps all steps of the instance from starting. Bodies that already ran when the instance was suspended
    /// still finish. `None` means that the instance has ended, or that each of its [`positions`](Self::positions) has
    /// its own reason to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// When the instance is due. A time in the past means that it is due now. `None` means that the instance has ended,
    /// or that it does not wait for a point in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<DateTime<Utc>>,
    /// The stable ids of the steps at which the instance is.
    #[serde(skip)]
    pub current_steps: Vec<String>,
    /// The execution pointers of the instance, oldest first. Each entry states what the pointer waits for. Containers
    /// that only wait for their contents are left out. A child instance that has not begun has no positions yet.
    pub positions: Vec<Position>,
    /// The progress of all running for-each containers, outer containers first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub for_each: Vec<ForEachProgress>,
    /// The stable id of the `end` step that completed the instance. `None` means that the instance has not completed,
    /// or completed after its last step. For an instance that completed before this version of WFE, it is `None` too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_step: Option<String>,
    /// The id of the parent instance. `None` means that the instance is not a child workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When the instance was created.
    pub create_time: DateTime<Utc>,
    /// When the instance ended. `None` means that it has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_time: Option<DateTime<Utc>>,
    /// When the instance was last [retried](crate::WorkflowHost::retry). `None` means that it was never retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retried: Option<DateTime<Utc>>,
    /// The id of the ended instance that this one replaces. `None` means that it was not started by a
    /// [restart](crate::WorkflowHost::restart).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_of: Option<String>,
    /// The id of the instance that replaces this one. `None` means that it was not restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted_as: Option<String>,
}

/// Whether an instance is running, is suspended or has ended, and how it ended. Its text is one word, as in JSON:
/// `running`, `suspended`, `completed`, `failed`, `cancelled` or `terminated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// The instance runs or waits.
    Running,
    /// No step of the instance begins until it is resumed.
    Suspended,
    /// The instance completed: its last step, or an `end` step, succeeded.
    Completed,
    /// The instance failed: a step failed and was not retried any more.
    Failed,
    /// The instance was cancelled by a request; its open sagas were compensated.
    Cancelled,
    /// The instance was terminated: by a request, or by a direct write of the whole instance. Nothing was compensated.
    Terminated,
}

impl State {
    /// Whether the instance has ended: it is neither running nor suspended.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Running | Self::Suspended)
    }

    fn of(status: WorkflowStatus, ending: Option<Ending>) -> Self {
        match Ending::of(status, ending) {
            None if status == WorkflowStatus::Suspended => Self::Suspended,
            None => Self::Running,
            Some(Ending::Completed) => Self::Completed,
            Some(Ending::Failed) => Self::Failed,
            Some(Ending::Cancelled) => Self::Cancelled,
            Some(Ending::Terminated) => Self::Terminated,
        }
    }
}

/// What keeps all steps of an instance from starting. Its JSON is one word, `definition_missing` or `suspended`: the status
/// around it has the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blocked {
    /// The instance's definition is not registered on this host. It may be registered on other hosts.
    DefinitionMissing {
        /// The definition's id.
        id: String,
        /// The version with which the instance was started.
        version: u32,
    },
    /// The instance is suspended by this failure. `None` means that a request suspended it.
    Suspended(Option<Box<StepFailure>>),
}

/// An execution pointer of an instance, and what it waits for.
///
/// Its text is one line, without the item: `approval waits for event "order-approved" with key "order-17"`. Its JSON is
/// shown at [`InstanceStatus`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Position {
    /// The stable id of the step.
    pub step: String,
    /// The id of the execution pointer. It is the path to the step, which includes the number of each iteration and
    /// how many times the step was entered before.
    pub pointer: String,
    /// The current item of the enclosing for-each. `None` means that no for-each encloses the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<Value>,
    /// What the execution pointer waits for.
    pub waits: Waits,
}

/// What an execution pointer waits for.
///
/// Its text is one line, which continues a sentence about a step: `waits for event "order-approved" with key "order-17"
/// until 2026-01-05 08:00:00 UTC`. Its JSON has the tag `for`. Times are in RFC 3339, and what is `None` is left out:
///
/// ```json
/// { "for": "running", "since": "2026-01-05T08:00:00Z" }
/// { "for": "slot" }
/// { "for": "attempt_before" }
/// { "for": "due" }
/// { "for": "timer", "until": "2026-01-05T08:00:00Z" }
/// { "for": "tick", "next": "2026-01-05T08:00:00Z" }
/// { "for": "retry", "at": "2026-01-05T08:00:00Z", "attempt": 2, "last_failure": { "step": "pay", "attempt": 1, … } }
/// { "for": "event", "name": "order-approved", "key": "order-17", "until": "2026-01-05T08:00:00Z" }
/// { "for": "activity", "name": "pack", "id": "0193…", "until": "2026-01-05T08:00:00Z",
///   "held": { "worker": "worker 1", "until": "2026-01-04T08:00:00Z" } }
/// { "for": "user_task", "id": "0193…", "step": "decide", "prompt": "May Ann travel?", "assignee": "Mr Bell",
///   "options": ["approve", "reject"], "labels": { … }, "held": { … }, "until": "2026-01-05T08:00:00Z" }
/// { "for": "child", "id": "0193…", "until": "2026-01-05T08:00:00Z" }
/// { "for": "resume" }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "for", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Waits {
    /// Nothing, because the step's body runs now.
    Running {
        /// When the body started. `None` means that the body runs on another host, or has not started yet.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<DateTime<Utc>>,
    },
    /// A free slot. This host is ready to run the step's body, but may not start it yet. Either the limit on bodies
    /// (of the step or of the host) is reached, or an instance suspected of killing its process runs alone in this
    /// process or waits to run alone.
    Slot,
    /// The end of an earlier body of the same step, which still runs although its attempt timed out or was cancelled.
    /// When the earlier body has returned or has been dropped, the next body of the step or (in a saga) the step's
    /// compensation starts.
    AttemptBefore,
    /// A host. The step is due, or what it waited for has come, and a host claims the instance as soon as it can.
    Due,
    /// A time: the end of a delay, or the end of a sleep that the step's body requested.
    Timer {
        /// When the step continues.
        until: DateTime<Utc>,
    },
    /// The next tick of a recurring branch.
    Tick {
        /// When the next tick is due.
        next: DateTime<Utc>,
    },
    /// The end of the backoff after a failed attempt.
    Retry {
        /// When the step is tried again.
        at: DateTime<Utc>,
        /// The number of the next attempt, from 1.
        attempt: u32,
        /// Why the last attempt failed. For a saga, this is the failure inside the saga. `None` means that the store
        /// cannot look up the failure.
        #[serde(skip_serializing_if = "Option::is_none")]
        last_failure: Option<Box<StepFailure>>,
    },
    /// An event.
    Event {
        /// The name of the event.
        name: String,
        /// The key of the event.
        key: String,
        /// When the wait times out. `None` means never.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
    },
    /// The answer of an external worker.
    Activity {
        /// The name under which workers claim the activity.
        name: String,
        /// The id of the activity.
        id: String,
        /// The worker's claim. `None` means that no worker has claimed the activity.
        #[serde(skip_serializing_if = "Option::is_none")]
        held: Option<Held>,
        /// When the wait times out, or when its claim limit passes if no worker has claimed the activity yet. `None`
        /// means never.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
    },
    /// The answer of a person.
    UserTask {
        /// The id of the task, by which it is answered.
        id: String,
        /// The question and its assignee. `None` means that the stored task does not decode.
        #[serde(flatten)]
        task: Option<UserTaskView>,
        /// The claim of the task. `None` means that the task is not claimed.
        #[serde(skip_serializing_if = "Option::is_none")]
        held: Option<Held>,
        /// When the task is escalated, is reassigned or times out. `None` means never.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
    },
    /// The end of a child workflow.
    Child {
        /// The id of the child instance.
        id: String,
        /// When the wait times out. `None` means never.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<DateTime<Utc>>,
    },
    /// A request to resume the instance, because the step has failed, is not retried any more, and has suspended the
    /// instance.
    Resume,
}

/// A worker's claim of an activity. Its JSON is shown at [`Waits`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Held {
    /// The name of the worker. `None` means that no worker's name is stored with the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When the lease expires. After this time, the next worker that requests an activity gets this activity. `None`
    /// means that the claim lasts until the worker gives it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

impl Held {
    pub(crate) fn of(wait: &EventSubscription) -> Option<Self> {
        wait.external_token.as_ref()?;
        Some(Self { worker: wait.external_worker_id.clone(), until: wait.external_token_expiry })
    }
}

impl InstanceStatus {
    pub(crate) fn of(loaded: Loaded, is_registered: bool, bodies: &BodyStates, now: DateTime<Utc>) -> Self {
        let instance = &loaded.instance;
        let state = State::of(instance.status, loaded.ending);
        let (definition, version) = (instance.workflow_definition_id.clone(), instance.version);
        let blocked = match instance.status {
            WorkflowStatus::Complete | WorkflowStatus::Terminated => None,
            WorkflowStatus::Suspended => Some(Blocked::Suspended(loaded.cause.clone().map(Box::new))),
            WorkflowStatus::Runnable if is_registered => None,
            WorkflowStatus::Runnable => Some(Blocked::DefinitionMissing { id: definition.clone(), version }),
        };
        let active: Vec<&ExecutionPointer> =
            instance.execution_pointers.iter().filter(|p| p.active).collect();
        // A running container has no entry here, because the steps inside it have their own entries.
        let here = active.iter().filter(|p| p.status != PointerStatus::Running);
        Self {
            current_steps: here.filter_map(|p| p.step_name.clone()).collect(),
            positions: active.iter().filter_map(|p| Position::of(p, &loaded, bodies, now)).collect(),
            for_each: instance.execution_pointers.iter().filter_map(ForEachProgress::of).collect(),
            end_step: view::end_step(&instance.execution_pointers)
                .filter(|_| state == State::Completed)
                .map(str::to_owned),
            id: instance.id.clone(),
            definition,
            version,
            reference: instance.reference.clone(),
            name: Some(&instance.name).filter(|name| **name != instance.id).cloned(),
            description: instance.description.clone(),
            attributes: loaded.attributes.clone(),
            is_registered,
            state,
            blocked,
            due: instance.next_execution.map(from_millis),
            create_time: instance.create_time,
            complete_time: instance.complete_time,
            request: loaded.control.filter(|_| !instance.status.is_final()),
            closing: view::closing(&instance.execution_pointers).filter(|_| !instance.status.is_final()),
            cause: loaded.cause,
            parent: loaded.parent,
            retried: loaded.retried,
            restart_of: loaded.restart_of,
            restarted_as: loaded.restarted_as,
        }
    }
}

impl InstanceStatus {
    /// The pointers that wait for a retry and whose last failure the caller still has to look up.
    pub(crate) fn retries(&mut self) -> impl Iterator<Item = (&str, &mut Option<Box<StepFailure>>)> {
        self.positions.iter_mut().filter_map(|position| match &mut position.waits {
            Waits::Retry { last_failure, .. } if last_failure.is_none() => {
                Some((&*position.pointer, last_failure))
            }
            _ => None,
        })
    }
}

/// A time in milliseconds. Every number is valid: one that is too early or too late for a date is the first or the last
/// date.
fn from_millis(millis: i64) -> DateTime<Utc> {
    let bound = if millis < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    DateTime::from_timestamp_millis(millis).unwrap_or(bound)
}
