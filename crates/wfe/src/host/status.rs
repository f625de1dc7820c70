use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use wfe_core::{
    executor::{ACTIVITY, CHILD_ENDED, ForEachProgress, USER_TASK, closing, failed_in_a_row, why_again},
    models::{EventSubscription, ExecutionPointer, PointerStatus, WorkflowStatus},
    steps::UserTaskView,
    traits::{ControlRequest, Ending, Loaded, StepFailure},
};

use crate::engine::steps::in_flight::{AtHand, Stand};

/// Where an instance stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InstanceStatus {
    /// The definition that it runs.
    pub definition_id: String,
    /// The version of that definition.
    pub version: u32,
    /// Whether that definition is registered with this host; if not, the instance waits for a host that has it.
    pub is_registered: bool,
    /// Whether it may run.
    pub status: WorkflowStatus,
    /// What somebody asked of it that it has not taken up yet; `None`: nothing. A busy instance takes it up with its next
    /// commit.
    pub request: Option<ControlRequest>,
    /// How it ends once its open sagas are undone, which is under way; `None`: it is not about to end.
    pub closing: Option<Ending>,
    /// How it ended; `None`: it has not, or was ended by a plain write of the instance.
    pub ending: Option<Ending>,
    /// The failure that suspended or ended it, if one did.
    pub cause: Option<StepFailure>,
    /// Why no step of it begins; bodies that ran when it was suspended run to their ends all the same. `None`: it has
    /// ended, or each of its [`positions`](Self::positions) tells.
    pub blocked: Option<Blocked>,
    /// When it is to be looked at again, in milliseconds since the Unix epoch; `None`: it waits for something other
    /// than time, or has ended.
    pub next_execution: Option<i64>,
    /// The stable ids of the steps that it stands at.
    pub current_steps: Vec<String>,
    /// Where it stands, and for what each place waits, in the order in which it came there. Containers that only wait for
    /// what is inside are left out; a child that has not begun stands nowhere yet.
    pub positions: Vec<Position>,
    /// The for-eaches that run, outer ones first, and how far they have come.
    pub for_each: Vec<ForEachProgress>,
    /// The instance that made this one as its child; `None`: a program started it.
    pub parent: Option<String>,
    /// When it was started.
    pub create_time: DateTime<Utc>,
    /// When it ended; `None`: it has not.
    pub complete_time: Option<DateTime<Utc>>,
}

/// Why no step of a whole instance begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blocked {
    /// This host does not know its definition. Others may.
    DefinitionMissing {
        /// The definition's id.
        id: String,
        /// The version that the instance was started with.
        version: u32,
    },
    /// It was suspended: by this failure, or (`None`) by somebody.
    Suspended(Option<Box<StepFailure>>),
}

/// One place at which an instance stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Position {
    /// The stable id of the step.
    pub step: String,
    /// Its pointer, which tells the way to it: which iteration, which visit.
    pub pointer: String,
    /// The item of the for-each around it, if one is.
    pub item: Option<Value>,
    /// What it waits for.
    pub waits: Waits,
}

/// What a place waits for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Waits {
    /// Its body runs.
    Running {
        /// Since when; `None`: on another host, or it is about to begin.
        since: Option<DateTime<Utc>>,
    },
    /// Its body has been taken up by this host and waits until one may run: the limit on bodies, of the step or of the
    /// host, is reached; or an instance that may kill the process runs alone in it, or is to run alone.
    Slot,
    /// An earlier body of the step goes on, though its attempt is over: it had had its time, or was cancelled. Its next body,
    /// or (of a saga) the compensation of a step, begins when that one has ended or was dropped.
    AttemptBefore,
    /// It is due: a host takes it up as soon as it may.
    Due,
    /// A time: a delay, or a pause that the body asked for.
    Timer {
        /// When it goes on.
        until: DateTime<Utc>,
    },
    /// The next tick of a recurring branch.
    Tick {
        /// When it comes.
        next: DateTime<Utc>,
    },
    /// The pause after a failed attempt.
    Retry {
        /// When it is tried again.
        at: DateTime<Utc>,
        /// Which attempt that will be, from 1.
        attempt: u32,
        /// Why the last one failed; of a saga, the failure inside it. `None`: the store cannot tell.
        last: Option<Box<StepFailure>>,
    },
    /// An event.
    Event {
        /// Its name.
        name: String,
        /// Its key.
        key: String,
        /// When the wait is over without it; `None`: never.
        until: Option<DateTime<Utc>>,
    },
    /// A worker outside.
    Activity {
        /// The name by which workers find it.
        name: String,
        /// The id of the wait, by which it is claimed.
        id: String,
        /// Who has claimed it; `None`: nobody yet.
        held: Option<Held>,
        /// When the wait is over without an answer; `None`: never.
        until: Option<DateTime<Utc>>,
    },
    /// A person.
    UserTask {
        /// The id of the wait, by which it is answered.
        id: String,
        /// What is asked, and whom; `None`: it does not decode.
        task: Option<UserTaskView>,
        /// Who has claimed it; `None`: nobody yet.
        held: Option<Held>,
        /// When it is escalated, or the wait is over; `None`: never.
        until: Option<DateTime<Utc>>,
    },
    /// The end of a child workflow.
    Child {
        /// The child's id.
        id: String,
        /// When the wait is over without it; `None`: never.
        until: Option<DateTime<Utc>>,
    },
    /// Somebody who resumes the instance: the step has failed for good.
    Resume,
}

/// A worker's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who; `None`: it was not told.
    pub worker: Option<String>,
    /// Until when. It may be over: then the next one who comes gets it. `None`: until it is given back.
    pub until: Option<DateTime<Utc>>,
}

impl Held {
    pub(crate) fn of(wait: &EventSubscription) -> Option<Self> {
        wait.external_token.as_ref()?;
        Some(Self { worker: wait.external_worker_id.clone(), until: wait.external_token_expiry })
    }
}

impl InstanceStatus {
    pub(crate) fn of(
        loaded: Loaded,
        is_registered: bool,
        at_hand: &HashMap<String, Stand>,
        now: DateTime<Utc>,
    ) -> Self {
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
        // A container stands where its children stand.
        let here = active.iter().filter(|p| p.status != PointerStatus::Running);
        Self {
            current_steps: here.filter_map(|p| p.step_name.clone()).collect(),
            positions: active.iter().filter_map(|p| Position::of(p, &loaded, at_hand, now)).collect(),
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
            closing: closing(&instance.execution_pointers).filter(|_| !instance.status.is_final()),
            ending: loaded.ending,
            cause: loaded.cause,
            parent: loaded.parent,
        }
    }
}

impl InstanceStatus {
    /// The places that wait to be tried again, and whose failures are to be looked up.
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
        at_hand: &HashMap<String, Stand>,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        // That a pause is over is stored with what comes of it. One of an instance that stands still does not end.
        let is_awake = at_hand.contains_key(&pointer.id)
            || (loaded.instance.status == WorkflowStatus::Runnable
                && pointer.sleep_until.is_some_and(|until| until <= now));
        let waits = match pointer.status {
            _ if at_hand.get(&pointer.id) == Some(&Stand::Held) => Waits::AttemptBefore,
            PointerStatus::Running => Waits::Tick { next: pointer.sleep_until? },
            PointerStatus::Sleeping if !is_awake => asleep(pointer)?,
            PointerStatus::WaitingForEvent => waiting(pointer, &loaded.waits)?,
            PointerStatus::Failed => Waits::Resume,
            _ => match at_hand.get(&pointer.id) {
                Some(Stand::Held) => Waits::AttemptBefore,
                Some(Stand::Waits) => Waits::Slot,
                Some(Stand::Runs(since)) => Waits::Running { since: Some(*since) },
                None if at_hand.contains_key(AtHand::WHOLE) => Waits::Slot,
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
    // A delay that was tried again sleeps for its own reason once its time is known.
    let kind = pointer.extension_attributes.get("kind").and_then(Value::as_str);
    let is_delay = matches!(kind, Some("delay" | "schedule")) && pointer.persistence_data.is_some();
    Some(if failed_in_a_row(pointer) > 0 && !is_delay {
        Waits::Retry {
            at: until,
            attempt: pointer.retry_count.saturating_add(1),
            last: why_again(pointer).map(Box::new),
        }
    } else {
        Waits::Timer { until }
    })
}

fn waiting(pointer: &ExecutionPointer, waits: &[EventSubscription]) -> Option<Waits> {
    let (name, key) = (pointer.event_name.clone()?, pointer.event_key.clone()?);
    let until = pointer.sleep_until;
    let wait = waits.iter().find(|wait| wait.execution_pointer_id == pointer.id);
    let held = wait.and_then(Held::of);
    Some(if name == CHILD_ENDED {
        Waits::Child { id: key, until }
    } else if name == USER_TASK {
        let task = wait.and_then(|wait| wait.subscription_data.as_ref());
        let task = task.and_then(|data| UserTaskView::deserialize(data).ok()); // told as `None`
        Waits::UserTask { id: key, task, held, until }
    } else if let Some(name) = name.strip_prefix(ACTIVITY) {
        Waits::Activity { name: name.to_owned(), id: key, held, until }
    } else {
        Waits::Event { name, key, until }
    })
}
