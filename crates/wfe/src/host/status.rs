use chrono::{DateTime, Utc};
use serde_json::Value;
use wfe_core::{
    executor::view::{self, Awaited, ForEachProgress, Sleep},
    models::{EventSubscription, ExecutionPointer, PointerStatus, WorkflowStatus},
    steps::UserTaskView,
    traits::{ControlRequest, Ending, Loaded, StepFailure},
};

use crate::engine::{BodyState, BodyStates};

/// The status of an instance: at which steps it is, and what it waits for.
/// [`WorkflowHost::status`](crate::WorkflowHost::status) returns this type.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InstanceStatus {
    /// The id of the instance's definition.
    pub definition_id: String,
    /// The version of the definition with which the instance was started.
    pub version: u32,
    /// Whether this version of the definition is registered on this host. If not, the instance waits for a host on
    /// which this version is registered.
    pub is_registered: bool,
    /// The stored status: runnable, suspended or ended.
    pub status: WorkflowStatus,
    /// The pending control request. `None` means that no request is pending. A busy instance applies the request with
    /// its next commit.
    pub request: Option<ControlRequest>,
    /// How the instance will end once its open sagas are compensated. `None` means that the instance is not ending.
    pub closing: Option<Ending>,
    /// How the instance ended. `None` means that it has not ended, or that a direct write of the whole instance ended
    /// it.
    pub ending: Option<Ending>,
    /// The failure that suspended or ended the instance. `None` means that no failure has suspended or ended it.
    pub cause: Option<StepFailure>,
    /// What keeps all steps of the instance from starting. Bodies that already ran when the instance was suspended
    /// still finish. `None` means that the instance has ended, or that each of its [`positions`](Self::positions) has
    /// its own reason to wait.
    pub blocked: Option<Blocked>,
    /// When the instance is due, in milliseconds since the Unix epoch. `None` means that the instance has ended, or
    /// that it does not wait for a point in time.
    pub next_execution: Option<i64>,
    /// The stable ids of the steps at which the instance is.
    pub current_steps: Vec<String>,
    /// The execution pointers of the instance, oldest first. Each entry states what the pointer waits for. Containers
    /// that only wait for their contents are left out. A child instance that has not begun has no positions yet.
    pub positions: Vec<Position>,
    /// The progress of all running for-each containers, outer containers first.
    pub for_each: Vec<ForEachProgress>,
    /// The id of the parent instance. `None` means that the instance is not a child workflow.
    pub parent: Option<String>,
    /// When the instance was created.
    pub create_time: DateTime<Utc>,
    /// When the instance ended. `None` means that it has not ended.
    pub complete_time: Option<DateTime<Utc>>,
}

/// What keeps all steps of an instance from starting.
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
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Position {
    /// The stable id of the step.
    pub step: String,
    /// The id of the execution pointer. It is the path to the step, which includes the number of each iteration and
    /// how many times the step was entered before.
    pub pointer: String,
    /// The current item of the enclosing for-each. `None` means that no for-each encloses the step.
    pub item: Option<Value>,
    /// What the execution pointer waits for.
    pub waits: Waits,
}

/// What an execution pointer waits for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Waits {
    /// Nothing, because the step's body runs now.
    Running {
        /// When the body started. `None` means that the body runs on another host, or has not started yet.
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
    /// A host. The step is due, and a host claims the instance as soon as it can.
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
        last: Option<Box<StepFailure>>,
    },
    /// An event.
    Event {
        /// The name of the event.
        name: String,
        /// The key of the event.
        key: String,
        /// When the wait times out. `None` means never.
        until: Option<DateTime<Utc>>,
    },
    /// The answer of an external worker.
    Activity {
        /// The name under which workers claim the activity.
        name: String,
        /// The id of the activity.
        id: String,
        /// The worker's claim. `None` means that no worker has claimed the activity.
        held: Option<Held>,
        /// When the wait times out. `None` means never.
        until: Option<DateTime<Utc>>,
    },
    /// The answer of a person.
    UserTask {
        /// The id of the task, by which it is answered.
        id: String,
        /// The question and its assignee. `None` means that the stored task does not decode.
        task: Option<UserTaskView>,
        /// The claim of the task. `None` means that the task is not claimed.
        held: Option<Held>,
        /// When the task is escalated, is reassigned or times out. `None` means never.
        until: Option<DateTime<Utc>>,
    },
    /// The end of a child workflow.
    Child {
        /// The id of the child instance.
        id: String,
        /// When the wait times out. `None` means never.
        until: Option<DateTime<Utc>>,
    },
    /// A request to resume the instance, because the step has failed, is not retried any more, and has suspended the
    /// instance.
    Resume,
}

/// A worker's claim of an activity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// The name of the worker. `None` means that no worker's name is stored with the claim.
    pub worker: Option<String>,
    /// When the lease expires. After this time, the next worker that requests an activity gets this activity. `None`
    /// means that the claim lasts until the worker gives it back.
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
        let (definition_id, version) = (instance.workflow_definition_id.clone(), instance.version);
        let blocked = match instance.status {
            WorkflowStatus::Complete | WorkflowStatus::Terminated => None,
            WorkflowStatus::Suspended => Some(Blocked::Suspended(loaded.cause.clone().map(Box::new))),
            WorkflowStatus::Runnable if is_registered => None,
            WorkflowStatus::Runnable => {
                Some(Blocked::DefinitionMissing { id: definition_id.clone(), version })
            }
        };
        let active: Vec<&ExecutionPointer> =
            instance.execution_pointers.iter().filter(|p| p.active).collect();
        // A running container has no entry here, because the steps inside it have their own entries.
        let here = active.iter().filter(|p| p.status != PointerStatus::Running);
        Self {
            current_steps: here.filter_map(|p| p.step_name.clone()).collect(),
            positions: active.iter().filter_map(|p| Position::of(p, &loaded, bodies, now)).collect(),
            for_each: instance.execution_pointers.iter().filter_map(ForEachProgress::of).collect(),
            definition_id,
            version,
            is_registered,
            status: instance.status,
            blocked,
            next_execution: instance.next_execution,
            create_time: instance.create_time,
            complete_time: instance.complete_time,
            request: loaded.control.filter(|_| !instance.status.is_final()),
            closing: view::closing(&instance.execution_pointers).filter(|_| !instance.status.is_final()),
            ending: loaded.ending,
            cause: loaded.cause,
            parent: loaded.parent,
        }
    }
}

impl InstanceStatus {
    /// The pointers that wait for a retry and whose last failure the caller still has to look up.
    pub(crate) fn retries(&mut self) -> impl Iterator<Item = (&str, &mut Option<Box<StepFailure>>)> {
        self.positions.iter_mut().filter_map(|position| match &mut position.waits {
            Waits::Retry { last, .. } if last.is_none() => Some((&*position.pointer, last)),
            _ => None,
        })
    }
}

impl Position {
    fn of(
        pointer: &ExecutionPointer,
        loaded: &Loaded,
        bodies: &BodyStates,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let body = bodies.at(&pointer.id);
        // The end of a sleep is stored only together with the result of the step. A suspended instance continues to
        // sleep.
        let is_awake = body.is_some()
            || (loaded.instance.status == WorkflowStatus::Runnable
                && pointer.sleep_until.is_some_and(|until| until <= now));
        let waits = match pointer.status {
            _ if body == Some(BodyState::Held) => Waits::AttemptBefore,
            PointerStatus::Running => Waits::Tick { next: pointer.sleep_until? },
            PointerStatus::Sleeping if !is_awake => asleep(pointer)?,
            PointerStatus::WaitingForEvent => waiting(pointer, &loaded.waits)?,
            PointerStatus::Failed => Waits::Resume,
            _ => match body {
                Some(BodyState::Held) => Waits::AttemptBefore,
                Some(BodyState::Waits) => Waits::Slot,
                Some(BodyState::Runs(since)) => Waits::Running { since: Some(since) },
                None if bodies.is_set_aside() => Waits::Slot,
                None if loaded.owner.is_some() => Waits::Running { since: None },
                None => Waits::Due,
            },
        };
        Some(Self {
            step: pointer.step_name.clone()?,
            pointer: pointer.id.clone(),
            item: pointer.context_item.clone(),
            waits,
        })
    }
}

fn asleep(pointer: &ExecutionPointer) -> Option<Waits> {
    let until = pointer.sleep_until?;
    Some(match Sleep::of(pointer)? {
        Sleep::Retry { attempt, cause } => Waits::Retry { at: until, attempt, last: cause.map(Box::new) },
        _ => Waits::Timer { until },
    })
}

fn waiting(pointer: &ExecutionPointer, waits: &[EventSubscription]) -> Option<Waits> {
    let until = pointer.sleep_until;
    let wait = waits.iter().find(|wait| wait.execution_pointer_id == pointer.id);
    let held = wait.and_then(Held::of);
    Some(match Awaited::of(pointer)? {
        Awaited::Child { id } => Waits::Child { id, until },
        Awaited::UserTask { id } => {
            let task = wait.and_then(|wait| view::user_task(wait).ok()); // shown as `None`
            Waits::UserTask { id, task, held, until }
        }
        Awaited::Activity { name, id } => Waits::Activity { name, id, held, until },
        Awaited::Event { name, key } => Waits::Event { name, key, until },
        _ => return None,
    })
}
