use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{LifecycleEvent, Want, live::Live, primitives::Window};
use crate::{
    Result, WfeError,
    definition::{AnyData, Apply, BodyEnd, Definition, Node},
    models::{ExecutionPointer, PointerChange, WorkflowStatus},
    steps::StepError,
    traits::{Ending, Items, StepFailure},
};

/// What the executor takes from outside: the time, and random numbers in 0..1.
pub struct Env<'a> {
    /// The time now.
    pub now: DateTime<Utc>,
    /// A random number in 0..1, a new one each time.
    pub random: &'a mut dyn FnMut() -> f64,
}

/// The live state of one instance, and the changes that are not stored yet. See the [module](super).
///
/// A method that fails has met a contradiction in the state; the `Run` is of no use any more. Drop it, and open it
/// anew as parked ([`Run::open_parked`]).
pub struct Run {
    pub(super) id: Arc<str>,
    pub(super) definition: Definition,
    pub(super) status: WorkflowStatus,
    pub(super) next_execution: Option<i64>,
    /// `None`: the instance does not fit its definition, and is parked.
    pub(super) data: Option<AnyData>,
    pub(super) value: Value,
    pub(super) live: Live,
    pub(super) sleeping: BTreeSet<(DateTime<Utc>, String)>,
    pub(super) windows: HashMap<String, Window>,
    /// Bodies at work.
    pub(super) running: HashMap<String, CancellationToken>,
    /// Pointers whose bodies may begin once they are stored.
    pub(super) ready: Vec<String>,
    pub(super) wants: Vec<Want>,
    pub(super) events: Vec<LifecycleEvent>,
    pub(super) cancelled: Vec<CancellationToken>,
    pub(super) delta: Delta,
    pub(super) fault: Option<StepFailure>,
    pub(super) ending: Option<Ending>,
    pub(super) cause: Option<StepFailure>,
}

/// Changes beside those of the pointers, not stored yet.
#[derive(Default)]
pub(super) struct Delta {
    pub status: Option<WorkflowStatus>,
    pub complete_time: Option<DateTime<Utc>>,
    /// The stored due time changes to this.
    pub reschedule: bool,
    pub next_execution: Option<i64>,
    pub data: bool,
    pub finished: Vec<ExecutionPointer>,
    pub items: Vec<Items>,
    pub failures: Vec<StepFailure>,
    pub applied: Option<u64>,
    pub release: bool,
}

impl Run {
    /// The instance's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The definition that it runs.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Whether it may run, as far as this `Run` knows.
    #[must_use]
    pub fn status(&self) -> WorkflowStatus {
        self.status
    }

    /// How it ended; `None`: it has not.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The failure that suspended or ended it.
    #[must_use]
    pub fn cause(&self) -> Option<&StepFailure> {
        self.cause.as_ref()
    }

    /// Its data as JSON, the newest state.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// How many bodies are at work.
    #[must_use]
    pub fn bodies(&self) -> usize {
        self.running.len()
    }

    /// When the next pause is over; `None`: nothing sleeps.
    #[must_use]
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        self.sleeping.first().map(|(at, _)| *at)
    }

    /// A body ended. Results of bodies that are no longer wanted are passed over.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn ended(&mut self, pointer: &str, end: BodyEnd, env: &mut Env<'_>) -> Result<()> {
        if self.running.remove(pointer).is_none() || self.status.is_final() {
            return Ok(());
        }
        let primitive = self.node_of(pointer)?.primitive.clone();
        let failed = match end.0 {
            Ok(answer) => primitive.ended(self, pointer, answer, env)?,
            Err(error) => Err(error),
        };
        match failed {
            Ok(()) => Ok(()),
            Err(error) => self.fail(pointer, &error, env),
        }
    }

    /// Items that were asked for ([`Effects::wants`](super::Effects::wants)) are here.
    ///
    /// # Errors
    /// The store has fewer items than the for-each counted, or the state contradicts itself.
    pub fn items(&mut self, container: &str, from: u64, values: Vec<Value>, env: &mut Env<'_>) -> Result<()> {
        let Some(window) = self.windows.get_mut(container) else {
            return Ok(()); // the for-each is over, or was taken away
        };
        if !window.take(from, values) {
            return Err(WfeError::Invalid(format!("the items of {container:?} from {from} on are missing")));
        }
        let primitive = self.node_of(container)?.primitive.clone();
        primitive.items_came(self, container, env)
    }

    /// Wakes what has slept long enough.
    pub(super) fn wake_due(&mut self, env: &mut Env<'_>) -> Result<()> {
        while self.status == WorkflowStatus::Runnable
            && let Some((at, _)) = self.sleeping.first()
            && *at <= env.now
            && let Some((_, id)) = self.sleeping.pop_first()
        {
            let pointer = self.live.edit_quietly(&id)?;
            pointer.status = pointer.status.after(PointerChange::Wake)?;
            pointer.sleep_until = None;
            self.node_of(&id)?.primitive.clone().enter(self, &id, env)?;
        }
        Ok(())
    }

    pub(super) fn node_of(&self, pointer: &str) -> Result<&Node> {
        let pointer = self.live.get(pointer)?;
        let step = pointer.step_name.as_deref().unwrap_or_default();
        self.definition.find(step).ok_or(WfeError::StepNotFound(pointer.step_id))
    }

    /// Applies a step's outputs to the newest data.
    pub(super) fn apply(&mut self, apply: Apply) -> std::result::Result<(), StepError> {
        let Some(newest) = &self.data else {
            return Err(StepError::fatal("the instance is parked").with_code(StepError::DEFINITION));
        };
        let (data, value) = apply(newest)?;
        if value != self.value {
            (self.data, self.value, self.delta.data) = (Some(data), value, true);
        }
        Ok(())
    }
}
