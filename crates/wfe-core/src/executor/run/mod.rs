//! The live state of one instance, and how it moves.

pub(super) mod attempts;
mod bodies;
mod cancellation;
mod commit;
mod control;
pub(super) mod failure;
mod intervention;
mod open;
mod pointers;
mod refused_commit;
pub(super) mod saga;
pub(super) mod sequence;
pub(super) mod subscriptions;
mod timers;
pub(super) mod timing;
mod waits;

pub use attempts::StepExecution;
pub use bodies::RunningBodies;
pub use failure::{failed_in_a_row, why_again};
pub use saga::closing;
pub use subscriptions::{ACTIVITY, CHILD_ENDED, ChildEnd, USER_TASK};

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use bodies::Bodies;
use pointers::Pointers;
use refused_commit::Entries;
use saga::log::SagaLog;
use timers::Timers;
use waits::Waits;

use super::{Fault, ItemRequest, LifecycleEvent, Moved, primitives::Window};
use crate::{
    BoxError, Result, WfeError,
    definition::Definition,
    models::{EventSubscription, ExecutionPointer, PointerStatus, WorkflowInstance, WorkflowStatus},
    program::{AnyData, Apply, Ask, BodyEnd, Node, Verb},
    steps::StepError,
    traits::{Consumed, Control, Ending, Items, StepFailure},
};

/// What the executor takes from outside.
pub struct Env<'a> {
    /// The time now.
    pub now: DateTime<Utc>,
    /// A random number in 0..1, a new one each time.
    pub random: &'a mut dyn FnMut() -> f64,
    /// The definition of this id and version, or (`None`) of its newest version; `None`: it is not known here.
    pub definition: &'a dyn Fn(&str, Option<u32>) -> Option<Definition>,
}

/// The live state of one instance, and the changes that are not stored yet. See the [module](super).
///
/// A method that fails has met a contradiction in the state; the `Run` is of no use any more. Drop it, and open it
/// anew as quarantined ([`Run::open_quarantined`]).
pub struct Run {
    pub(super) id: Arc<str>,
    pub(super) definition: Definition,
    pub(super) parent: Option<String>,
    pub(super) root: Option<String>,
    pub(super) reference: Option<Arc<str>>,
    pub(super) created: DateTime<Utc>,
    pub(super) status: WorkflowStatus,
    pub(super) next_execution: Option<i64>,
    /// `None`: the instance does not fit its definition, and is parked.
    pub(super) data: Option<AnyData>,
    pub(super) value: Value,
    /// The data has changed since the conditions on it were asked.
    pub(super) data_changed: bool,
    pub(super) pointers: Pointers,
    /// Pending pointers that are to be entered.
    pub(super) queue: VecDeque<String>,
    pub(super) entries: Entries,
    pub(super) timers: Timers,
    pub(super) bodies: Bodies,
    /// Active pointers that a change of the data may concern.
    pub(super) watching: BTreeSet<String>,
    pub(super) waits: Waits,
    pub(super) windows: HashMap<String, Window>,
    pub(super) saga_log: SagaLog,
    pub(super) requests: Vec<ItemRequest>,
    pub(super) events: Vec<LifecycleEvent>,
    pub(super) delta: Delta,
    pub(super) fault: Option<StepFailure>,
    pub(super) ending: Option<Ending>,
    pub(super) cause: Option<StepFailure>,
    /// The failure of a step that ended it is fatal. Asked in the commit that ends it, and never later.
    pub(super) is_fatal: bool,
}

/// Changes beside those of the pointers, not stored yet.
#[derive(Default)]
pub(in crate::executor) struct Delta {
    pub status: Option<WorkflowStatus>,
    pub complete_time: Option<DateTime<Utc>>,
    /// What the stored due time is to be.
    pub next_execution: Option<i64>,
    pub data: bool,
    pub finished: Vec<ExecutionPointer>,
    pub items: Vec<Items>,
    pub subscribed: Vec<EventSubscription>,
    pub dated: Vec<String>,
    pub unsubscribed: Vec<String>,
    pub unanswerable: Vec<String>,
    pub consumed: Vec<Consumed>,
    /// The streams in which they stood: keys by name.
    pub moved: HashMap<String, HashSet<String>>,
    pub created: Vec<WorkflowInstance>,
    pub requested: Vec<(String, Control)>,
    /// Events that were passed over while the instance stood still may be taken now.
    pub listen: bool,
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
        self.bodies.running()
    }

    /// The body of a [limited](super::Job::is_limited) job begins now: its time runs from here, not from when it was handed
    /// out and perhaps waited for a free slot.
    pub fn begun(&mut self, pointer: &str, job: u64, env: &Env<'_>) {
        self.bodies.begun(pointer, job, env.now);
    }

    /// A body ended. Results of bodies that are no longer wanted (they were cancelled, or had had their time) are passed
    /// over, but what waited for their end goes on.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn ended(&mut self, pointer: &str, end: BodyEnd, env: &mut Env<'_>) -> Result<()> {
        if !self.bodies.runs_at(pointer, end.job) || self.status.is_final() {
            return self.body_over(end.job).map(|_| ());
        }
        self.bodies.remove(pointer);
        let verb = self.verb_of(pointer)?;
        match end.answer {
            Ok(answer) => {
                self.guard(pointer, env, |run, env| verb.primitive().ended(run, pointer, answer, env))
            }
            Err(error) => self.fail(pointer, &error, env),
        }
    }

    /// Items that were asked for ([`Effects::requests`](super::Effects::requests)) are here.
    ///
    /// # Errors
    /// [`Corrupt`](WfeError::Corrupt): the store has fewer items than were counted, or an entry of a saga's log is gone or
    /// does not decode. Another one: the state contradicts itself.
    pub fn items(&mut self, container: &str, from: u64, values: Vec<Value>, env: &mut Env<'_>) -> Result<()> {
        if self.saga_log.reads(container) {
            return self.entry_read(container, values, env);
        }
        if !self.windows.contains_key(container) {
            return Ok(()); // what asked for them is over, or was taken away
        }
        if values.is_empty() {
            return Err(self.corrupt_items(container, format!("the items from {from} on are missing"), None));
        }
        let verb = self.verb_of(container)?;
        self.guard(container, env, |run, env| verb.primitive().items_read(run, container, from, values, env))
    }

    /// What is stored as items of this container is not what was stored.
    pub(super) fn corrupt_items(
        &self,
        container: &str,
        message: String,
        source: Option<BoxError>,
    ) -> WfeError {
        let row = format!("{}/{container}", self.id);
        WfeError::Corrupt { table: "execution_pointers", column: "item_values", row, message, source }
    }

    /// Does a move of the pointer `at`; if the user's part of it fails, the step has failed.
    pub(super) fn guard(
        &mut self,
        at: &str,
        env: &mut Env<'_>,
        moving: impl FnOnce(&mut Self, &mut Env<'_>) -> Moved,
    ) -> Result<()> {
        match moving(self, env) {
            Ok(()) => Ok(()),
            Err(Fault::Step(error)) => self.fail(at, &error, env),
            Err(Fault::State(error)) => Err(error),
        }
    }

    pub(super) fn node_of(&self, pointer: &str) -> Result<&Node> {
        let pointer = self.pointers.get(pointer)?;
        let step = pointer.step_name.as_deref().unwrap_or_default();
        self.definition.find(step).ok_or(WfeError::StepNotFound(pointer.step_id))
    }

    pub(super) fn verb_of(&self, pointer: &str) -> Result<Arc<Verb>> {
        self.node_of(pointer).map(|node| node.verb.clone())
    }

    /// Asks the data, and the item of the pointer `at`.
    pub(super) fn ask<T>(&self, at: &str, question: &Ask<T>) -> Moved<T> {
        let data = self.data.as_ref().ok_or_else(parked)?;
        Ok(question(data, self.pointers.get(at)?.context_item.as_ref())?)
    }

    /// Applies outputs to the newest data, all or none.
    pub(super) fn apply(
        &mut self,
        outputs: impl IntoIterator<Item = Apply>,
    ) -> std::result::Result<(), StepError> {
        let mut changed: Option<(AnyData, Value)> = None;
        for apply in outputs {
            let newest = match &changed {
                Some((data, _)) => data,
                None => self.data.as_ref().ok_or_else(parked)?,
            };
            changed = Some(apply.call(newest)?);
        }
        if let Some((data, value)) = changed
            && value != self.value
        {
            (self.data, self.value, self.delta.data) = (Some(data), value, true);
            self.data_changed = true;
        }
        Ok(())
    }

    /// Enters pending pointers, and asks the conditions on the data, until nothing follows by itself; at most `budget`
    /// pointers, so that no commit becomes too large.
    pub(super) fn drain(&mut self, mut budget: usize, env: &mut Env<'_>) -> Result<()> {
        while self.status == WorkflowStatus::Runnable {
            if std::mem::take(&mut self.data_changed) {
                self.ask_conditions(env)?;
                continue;
            }
            if budget == 0 {
                return Ok(());
            }
            let Some(at) = self.queue.pop_front() else { return Ok(()) };
            if self.pointers.get(&at).is_ok_and(|p| p.active && p.status == PointerStatus::Pending) {
                budget -= 1;
                self.enter(&at, env)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        let node = self.node_of(at)?;
        let (verb, is_covering) =
            (node.verb.clone(), node.compensation.is_some() && !node.branches.is_empty());
        if node.cancel_when.is_some() || verb.watches_data() {
            self.watching.insert(at.to_owned());
            self.ask_condition(at, env)?;
            if !self.pointers.get(at).is_ok_and(|p| p.active && p.status == PointerStatus::Pending) {
                return Ok(());
            }
        }
        if is_covering {
            self.note_log_start(at)?;
        }
        self.guard(at, env, |run, env| verb.primitive().enter(run, at, env))
    }

    fn ask_conditions(&mut self, env: &mut Env<'_>) -> Result<()> {
        let watching: Vec<String> = self.watching.iter().cloned().collect();
        for at in watching {
            // One that was asked before it may have taken it away.
            if self.watching.contains(&at) {
                self.ask_condition(&at, env)?;
            }
        }
        Ok(())
    }

    /// Takes the pointer away if its cancel condition holds.
    fn ask_condition(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        // A failed one that waits to be resumed has nothing to take away yet.
        if self.pointers.get(at)?.status == PointerStatus::Failed || self.is_child_cancelled(at)? {
            return Ok(());
        }
        let node = self.node_of(at)?;
        let (verb, condition) = (node.verb.clone(), node.cancel_when.clone());
        let is_open_saga = verb.is_saga() && self.is_open_saga(at)?;
        if verb.is_saga() && self.is_compensating(at)? {
            return Ok(());
        }
        // The step itself is over, and looks at nothing any more.
        let is_in_fallback = self.is_in_fallback(at)?;
        self.guard(at, env, |run, env| {
            if let Some(condition) = condition
                && run.ask(at, &condition)?
            {
                return Ok(if is_open_saga {
                    run.cancel_saga(at, env)
                } else {
                    run.cancel_and_proceed(at, env)
                }?);
            }
            if is_in_fallback { Ok(()) } else { verb.primitive().data_changed(run, at, env) }
        })
    }
}

fn parked() -> StepError {
    StepError::fatal("the instance is parked").with_code(StepError::DEFINITION)
}
