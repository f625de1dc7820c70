//! The live state of one instance, and its changes.

mod advance;
pub(super) mod attempts;
mod bodies;
pub(super) mod branches;
mod cancellation;
mod commit;
mod control;
mod data;
mod delays_and_limits;
mod ending;
mod event_matching;
mod failure;
mod fallback;
mod instance_attributes;
mod intervention;
pub(super) mod item_windows;
mod jobs;
mod lingering_bodies;
mod open;
mod pending;
mod pointers;
pub(super) mod races;
mod refused_commit;
pub(super) mod saga;
mod sequence;
pub(super) mod subscriptions;
mod timers;
mod waits;

pub use attempts::Follows;
pub use bodies::RunningBodies;
pub use lingering_bodies::StepExecution;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use bodies::Bodies;
use data::InstanceData;
use item_windows::Windows;
use pending::Pending;
use pointers::Pointers;
use races::Races;
use saga::log::SagaLog;
use timers::Timers;
use waits::Waits;

use super::{Fault, Lifecycle, LifecycleEvent, Moved};
use crate::{
    BoxError, Result, WfeError,
    definition::AnyDefinition,
    models::{ExecutionPointer, WorkflowInstance, WorkflowStatus},
    program::{Apply, Ask, AskAt, BodyEnd, Node, Verb},
    steps::{StepError, StepInfo},
    traits::{Ending, StepFailure},
};

/// The environment of the executor: the time, random numbers and definitions.
pub struct Env<'a> {
    /// The current time.
    pub now: DateTime<Utc>,
    /// Each call returns a new random number in the range `0..1`.
    pub random: &'a mut dyn FnMut() -> f64,
    /// Finds the definition with this id and version. If the version is `None`, finds the newest version. Returns
    /// `None` if the definition is not registered here.
    pub definition: &'a dyn Fn(&str, Option<u32>) -> Option<AnyDefinition>,
}

/// The live state of one instance, and the changes that are not stored yet. See the [module](super).
///
/// A method fails if it finds a contradiction in the state. The `Run` is then unusable. Drop the `Run`, and open the
/// instance again as quarantined ([`Run::open_quarantined`]).
pub struct Run {
    id: Arc<str>,
    definition: AnyDefinition,
    parent: Option<String>,
    root: Option<String>,
    reference: Option<Arc<str>>,
    created: DateTime<Utc>,
    retried: Option<DateTime<Utc>>,

    status: WorkflowStatus,
    /// The reason why the engine quarantined the instance.
    fault: Option<StepFailure>,
    ending: Option<Ending>,
    cause: Option<StepFailure>,
    /// Whether the failure that ended the instance is fatal. This is known only in the commit that ends the instance.
    is_fatal: bool,

    data: InstanceData,
    attributes: Arc<Map<String, Value>>,
    pointers: Pointers,
    timers: Timers,
    bodies: Bodies,
    waits: Waits,
    windows: Windows,
    saga_log: SagaLog,
    races: Races,
    pending: Pending,
}

impl Run {
    /// The id of the instance.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The definition of the instance.
    #[must_use]
    pub fn definition(&self) -> &AnyDefinition {
        &self.definition
    }

    /// When the instance was started.
    #[must_use]
    pub fn created(&self) -> DateTime<Utc> {
        self.created
    }

    /// The status of the instance, as far as this `Run` knows.
    #[must_use]
    pub fn status(&self) -> WorkflowStatus {
        self.status
    }

    /// How the instance ended, or `None` if it has not ended.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The failure that suspended or ended the instance.
    #[must_use]
    pub fn cause(&self) -> Option<&StepFailure> {
        self.cause.as_ref()
    }

    /// The newest state of the instance's data, as JSON.
    #[must_use]
    pub fn value(&self) -> &Value {
        self.data.value()
    }

    /// The number of running bodies.
    #[must_use]
    pub fn bodies(&self) -> usize {
        self.bodies.running()
    }

    /// Starts the time limit of a [limited](super::Job::is_limited) job, because the body begins now. The time that the
    /// job waited for a free slot does not count.
    pub fn begun(&mut self, pointer: &str, job: u64, env: &Env<'_>) {
        self.bodies.begun(pointer, job, env.now);
    }

    /// Handles the end of a body. The result is ignored if the body was cancelled or had exceeded its time limit. Steps
    /// and sagas that waited for the end of the body continue in any case.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn ended(&mut self, pointer: &str, end: BodyEnd, env: &mut Env<'_>) -> Result<()> {
        if !self.bodies.runs_at(pointer, end.job) || self.status.is_final() {
            return self.body_over(end.job).map(|_| ());
        }
        let body = self.bodies.remove(pointer);
        let verb = self.verb_of(pointer)?;
        match end.answer {
            Ok(answer) => {
                let set = body.map(|body| body.execution.attributes.take_set()).unwrap_or_default();
                self.guard(pointer, env, |run, env| {
                    let before = run.set_attributes(set)?;
                    let ended = verb.primitive().ended(run, pointer, answer, env);
                    if ended.is_err() {
                        run.restore_attributes(before);
                    }
                    ended
                })
            }
            Err(error) => self.fail(pointer, &error, env),
        }
    }

    /// Handles items that were requested ([`Effects::requests`](super::Effects::requests)) and have been read.
    ///
    /// # Errors
    /// [`Corrupt`](WfeError::Corrupt): the store has fewer items than were counted, or an entry of a saga's log is
    /// missing or does not decode. Other errors: the state contradicts itself.
    pub fn items(&mut self, container: &str, from: u64, values: Vec<Value>, env: &mut Env<'_>) -> Result<()> {
        if self.saga_log.reads(container) {
            return self.entry_read(container, values, env);
        }
        if !self.windows.contains(container) {
            return Ok(()); // the requester has ended or was cancelled
        }
        if values.is_empty() {
            return Err(self.corrupt_items(container, format!("the items from {from} on are missing"), None));
        }
        let verb = self.verb_of(container)?;
        self.guard(container, env, |run, env| verb.primitive().items_read(run, container, from, values, env))
    }

    /// Builds the error for corrupt items of this container.
    pub(super) fn corrupt_items(
        &self,
        container: &str,
        message: String,
        source: Option<BoxError>,
    ) -> WfeError {
        let row = format!("{}/{container}", self.id);
        WfeError::Corrupt { table: "execution_pointers", column: "item_values", row, message, source }
    }

    /// Runs the closure `moving`, which changes the pointer `at`. If user code inside the closure fails, the step
    /// fails.
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

    pub(super) fn root(&self) -> Option<&str> {
        self.root.as_deref()
    }

    pub(super) fn pointer(&self, at: &str) -> Result<&ExecutionPointer> {
        self.pointers.get(at)
    }

    /// Returns the pointer, so that the caller can change it. The next commit stores the change.
    pub(super) fn edit(&mut self, at: &str) -> Result<&mut ExecutionPointer> {
        self.pointers.edit(at)
    }

    /// The number of branches of the container that have begun but not ended.
    pub(super) fn open_branches(&self, at: &str) -> Result<usize> {
        self.pointers.branches(at)
    }

    /// Creates the child in the next commit.
    pub(super) fn create_child(&mut self, child: WorkflowInstance) {
        self.pending.create_child(child);
    }

    /// Stores the items of the container separately from its pointer.
    pub(super) fn store_items(&mut self, at: &str, values: Vec<Value>) {
        self.pending.store_items(at.to_owned(), values);
    }

    /// Requests up to `limit` items of the container, beginning with the item `from`.
    pub(super) fn request_items(&mut self, at: &str, from: u64, limit: usize) {
        self.pending.request_items(at.to_owned(), from, limit);
    }

    pub(super) fn node_of(&self, pointer: &str) -> Result<&Node> {
        let pointer = self.pointers.get(pointer)?;
        let step = pointer.step_name.as_deref().unwrap_or_default();
        self.definition.find(step).ok_or(WfeError::StepNotFound(pointer.step_id))
    }

    pub(super) fn verb_of(&self, pointer: &str) -> Result<Arc<Verb>> {
        self.node_of(pointer).map(|node| node.verb.clone())
    }

    /// Evaluates a closure of the definition on the data and the item of the pointer `at`.
    pub(super) fn evaluate<T>(&self, at: &str, question: &Ask<T>) -> Moved<T> {
        let data = self.data.get()?;
        Ok(question(data, self.pointers.get(at)?.context_item.as_ref())?)
    }

    /// Evaluates a closure as [`evaluate`](Self::evaluate) does, which also takes the step of the pointer.
    pub(super) fn evaluate_at<T>(&self, at: &str, question: &AskAt<T>) -> Moved<T> {
        let info = StepInfo {
            instance: self.id.clone(),
            definition: self.definition.shared_id(),
            version: self.definition.version(),
            reference: self.reference.clone(),
            step: self.node_of(at)?.id.clone(),
        };
        Ok(question(&info, self.data.get()?, self.pointers.get(at)?.context_item.as_ref())?)
    }

    /// Applies the outputs to the newest data. If one output fails, none is applied.
    pub(super) fn apply(
        &mut self,
        outputs: impl IntoIterator<Item = Apply>,
    ) -> std::result::Result<(), StepError> {
        if self.data.apply(outputs)? {
            self.pending.data_changed();
        }
        Ok(())
    }

    /// Publishes a lifecycle event after the next commit.
    pub(super) fn notify(&mut self, what: Lifecycle, env: &Env<'_>) {
        let event = self.event(what, env.now);
        self.pending.publish(event);
    }

    /// Builds a lifecycle event of this instance.
    #[must_use]
    pub fn event(&self, what: Lifecycle, time: DateTime<Utc>) -> LifecycleEvent {
        LifecycleEvent {
            instance_id: self.id.clone(),
            definition_id: self.definition.shared_id(),
            version: self.definition.version(),
            time,
            what,
        }
    }
}
