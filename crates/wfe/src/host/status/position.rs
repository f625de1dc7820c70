//! What an execution pointer waits for: read from the stored pointer, its subscription and the bodies of this host.

use chrono::{DateTime, Utc};
use wfe_core::{
    executor::view::{self, Awaited, Sleep},
    models::{ExecutionPointer, PointerStatus, WorkflowStatus},
    traits::Loaded,
};

use super::{Held, Position, Waits};
use crate::engine::{BodyState, BodyStates};

impl Position {
    /// `None` for a pointer that waits for nothing of its own, such as a container.
    pub(super) fn of(
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
            PointerStatus::WaitingForEvent => waiting(pointer, loaded)?,
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
        Sleep::Retry { attempt, cause } => {
            Waits::Retry { at: until, attempt, last_failure: cause.map(Box::new) }
        }
        _ => Waits::Timer { until },
    })
}

fn waiting(pointer: &ExecutionPointer, loaded: &Loaded) -> Option<Waits> {
    let until = pointer.sleep_until;
    let wait = loaded.waits.iter().find(|wait| wait.execution_pointer_id == pointer.id);
    // The event or the answer is stored. A worker that has answered still has its token, but no work.
    if wait.is_some_and(|wait| loaded.deliveries.iter().any(|came| came.subscription_id == wait.id)) {
        return Some(Waits::Due);
    }
    let held = wait.and_then(Held::of);
    Some(match Awaited::of(pointer)? {
        Awaited::Child { id } => Waits::Child { id, until },
        Awaited::UserTask { id } => {
            let task = wait.and_then(|wait| view::user_task(wait).ok()); // shown as `None`
            Waits::UserTask { id, task, held, until }
        }
        Awaited::Activity { name, id } => {
            let until = view::activity_limit(pointer, held.is_some());
            Waits::Activity { name, id, held, until }
        }
        Awaited::Event { name, key } => Waits::Event { name, key, until },
        _ => return None,
    })
}
