//! The only entry point into the engine. Every call of the program that needs the engine goes through this handle, and
//! through one [channel](super::channel) behind it.

mod ticks;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use chrono::{DateTime, Utc};
use tokio::{
    runtime,
    sync::{broadcast, oneshot, watch},
    task::JoinError,
};
use wfe_core::{
    Result, WfeError,
    definition::AnyDefinition,
    executor::LifecycleEvent,
    models::WorkflowInstance,
    sync::lock,
    traits::{Expected, Loaded, PersistenceProvider},
};

use self::ticks::Ticks;
use super::{
    long_wait::LongWait,
    message::{Order, Phase},
    schedule::{
        definition::{Starter, definitions_for},
        spec::Spec,
    },
    start::{self, StartRule, StoredStart},
    state::{
        notifications::{Notifications, Permit},
        options::Options,
        outcome::{End, Idle},
        shared::Shared,
    },
    steps::{
        in_flight::BodyStates,
        middleware::{self, WorkflowStart},
    },
    task,
    thread::spawn,
};
use crate::store::StoreAccess;

/// A host's engine, which is not started yet, running, or ended. The handle is cheap to clone. When the last clone is
/// dropped, the engine ends as it would end in a crash of the process.
///
/// *Orders* ([`start`](Self::start), [`wait_idle`](Self::wait_idle), [`stop`](Self::stop)) are executed in the order in
/// which they are sent, and the engine replies to them. *Notifications* ([`wake`](Self::wake),
/// [`event_stored`](Self::event_stored) and similar calls) follow a write to the store; they merge, and have no reply.
/// While the engine has many messages to handle, a call waits for a permit if its message does not merge with others.
/// The engine never waits for a program's call.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Door>);

struct Door {
    shared: Arc<Shared>,
    stage: Mutex<Stage>,
}

/// The stage of an engine, as its [`Handle`] shows it.
pub(crate) enum Engine {
    New,
    /// Holds the runtime of the engine's thread.
    Running(runtime::Handle),
    Ended,
}

enum Stage {
    New,
    Running { engine: runtime::Handle, phase: watch::Sender<Phase> },
    Stopped,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.channel.leave();
    }
}

impl Handle {
    pub fn new(provider: Arc<dyn PersistenceProvider>, options: Options) -> Self {
        let shared = Arc::new(Shared::new(provider, options));
        Self(Arc::new(Door { shared, stage: Mutex::new(Stage::New) }))
    }

    /// Starts the engine's thread. Bodies run on the runtime from which this method is called.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid) if the engine was launched before. [`Closed`](WfeError::Closed) if the engine has
    /// ended. Also the errors of the store.
    pub async fn launch(&self) -> Result<()> {
        let shared = &self.0.shared;
        self.check_new(&self.stage())?;
        if !shared.options.retention.is_empty() && shared.store.provider.clone().management().is_none() {
            return Err(WfeError::Unsupported("to remove what a retention policy no longer keeps"));
        }
        shared.store.provider.ensure_store_exists().await?;
        let owner = Arc::new(shared.store.register().await?);
        // From here on, no question is missed.
        let questions = shared.store.questions();
        shared.describe(&owner).await;
        let mut stage = self.stage();
        self.check_new(&stage)?;
        let phase = watch::Sender::new(Phase::Running);
        let engine = spawn(shared.clone(), owner.clone(), phase.clone(), questions)?;
        shared.set_owner(Some(owner));
        *stage = Stage::Running { engine, phase };
        Ok(())
    }

    /// Stores a new instance and has the engine run it, once the [middleware](WorkflowStart) allows the start. Returns
    /// the id of the instance. If the engine does not run or has no capacity, the instance waits in the store. If the
    /// future is dropped while it waits for the middleware or for its permit, nothing was started. If the future is
    /// dropped later, the start may still happen.
    pub async fn start(&self, instance: WorkflowInstance, rule: StartRule) -> Result<StoredStart> {
        self.check_open()?;
        self.start_unchecked(instance, rule).await
    }

    /// Like [`start`](Self::start), but does not check that the host is open: a step that still runs while the host stops
    /// may finish. If the engine does not run any more, the instance waits in the store.
    async fn start_unchecked(&self, instance: WorkflowInstance, rule: StartRule) -> Result<StoredStart> {
        let shared = &self.0.shared;
        self.ask_middleware(&instance).await?;
        let Some(engine) = self.runtime() else {
            return start::store_new(shared, instance, &rule, None).await;
        };
        // The permit is requested after the middleware has run, because a middleware may itself start instances.
        let Some(permit) = shared.channel.permit().await else { return Err(shared.store.loss.or_closed()) };
        // The start runs in a separate task, which continues if the caller drops its future. Otherwise an instance
        // could be left that this host owns but does not run; it would wait until the next start of the host.
        let shared = shared.clone();
        let stored =
            task::spawn_on(
                &engine,
                async move { start::store_new(&shared, instance, &rule, Some(permit)).await },
            );
        stored.await.unwrap_or_else(|ended| Err(ended_meanwhile(ended)))
    }

    /// Stores a new instance in the place of another one, if that one is still as expected, and has the engine run the
    /// new one, once the [middleware](WorkflowStart) allows the start. Returns the id of the new instance, or `None` if
    /// the other one has changed. If the future is dropped while it waits for the middleware or for its permit, nothing
    /// was stored. If the future is dropped later, the replacement may still happen.
    pub async fn replace(&self, old: Expected, instance: WorkflowInstance) -> Result<Option<String>> {
        let shared = &self.0.shared;
        self.check_open()?;
        self.ask_middleware(&instance).await?;
        let permit = self.permit().await;
        let Some(engine) = self.runtime() else {
            return start::store_in_place_of(shared, &old, instance).await;
        };
        let this = self.clone();
        // As for `start`: otherwise the change could be published late, or not at all.
        let stored = task::spawn_on(&engine, async move {
            let id = start::store_in_place_of(&this.0.shared, &old, instance).await?;
            if id.is_some() {
                this.wake(&old.id, permit);
            }
            Ok(id)
        });
        stored.await.unwrap_or_else(|ended| Err(ended_meanwhile(ended)))
    }

    /// Refuses a start if the host was stopped or has ended.
    fn check_open(&self) -> Result<()> {
        if self.has_ended() { Err(self.0.shared.store.loss.or_closed()) } else { Ok(()) }
    }

    /// Refuses a start that a middleware does not allow.
    async fn ask_middleware(&self, instance: &WorkflowInstance) -> Result<()> {
        let about = WorkflowStart {
            definition_id: &instance.workflow_definition_id,
            version: instance.version,
            reference: instance.reference.as_deref(),
            data: &instance.data,
        };
        middleware::starting(&self.0.shared.options.workflow_middleware, &about).await
    }

    /// Starts an instance of a schedule's workflow now, and returns its id.
    ///
    /// # Errors
    /// [`DefinitionNotFound`](WfeError::DefinitionNotFound) if the definition is not registered.
    /// [`Invalid`](WfeError::Invalid) if the definition cannot read the schedule's data. Otherwise, the errors of
    /// [`start`](Self::start).
    pub async fn trigger(&self, spec: &Spec, reference: String) -> Result<String> {
        self.check_open()?;
        Ok(self.start_scheduled(spec, String::new(), reference).await?.id)
    }

    /// Starts an instance of a schedule's workflow, also while the host stops.
    async fn start_scheduled(&self, spec: &Spec, name: String, reference: String) -> Result<StoredStart> {
        let shared = &self.0.shared;
        let found = self.definition(&spec.definition, spec.version)?;
        found.check_data(&spec.data)?;
        let mut instance =
            WorkflowInstance::created_at(&spec.definition, found.version(), spec.data.clone(), shared.now());
        (instance.name, instance.reference) = (name, Some(reference));
        self.start_unchecked(instance, StartRule::default()).await
    }

    /// Returns the permit that is needed to pass a request to the engine. Call this before the request is stored. Waits
    /// while the engine has many messages to handle. Returns `None` if the engine does not run.
    pub async fn permit(&self) -> Option<Permit> {
        if self.is_running() { self.0.shared.channel.permit().await } else { None }
    }

    /// Notifies the engine that a request for this instance is stored. The instance's actor reads the request, or the
    /// engine acquires the instance. If the engine does not run, the next engine finds the request in the store.
    pub fn wake(&self, id: &str, permit: Option<Permit>) {
        if self.is_running() {
            self.0.shared.channel.notify(|all| all.request(id, permit));
        }
    }

    /// Notifies the engine that an event is stored. The event becomes due at `due`; `None` means that it is already
    /// due. The engine delivers the event, and marks it as processed when no instance needs it. Returns `false` if the
    /// engine does not run.
    pub fn event_stored(&self, id: &str, due: Option<DateTime<Utc>>) -> bool {
        let runs = self.is_running();
        if runs {
            self.0.shared.channel.notify(|all| all.event_stored(id, due));
        }
        runs
    }

    /// Notifies the engine that an answer to an external task is stored. The instance that receives the answer marks
    /// the answer as processed.
    pub fn answer_stored(&self) {
        self.0.shared.channel.notify(Notifications::deliverable);
    }

    /// Notifies the engine that an event with an unknown id may have been stored.
    pub fn event_in_doubt(&self) {
        self.0.shared.channel.notify(Notifications::event_in_doubt);
    }

    /// Notifies the watchers that unclaimed external tasks may exist.
    pub fn tasks_changed(&self) {
        self.0.shared.tasks_changed();
    }

    /// Returns a watch that changes whenever external tasks may have become available, and when the engine has ended.
    pub fn watch_tasks(&self) -> watch::Receiver<()> {
        self.0.shared.watch_tasks()
    }

    /// Registers a definition, and the engine's own definitions for schedules that start its instances. Stored
    /// instances may have waited for the definition.
    ///
    /// # Errors
    /// [`InvalidDefinition`](WfeError::InvalidDefinition) if a definition with this id and version is already
    /// registered.
    pub fn register(&self, definition: AnyDefinition) -> Result<()> {
        let shared = &self.0.shared;
        let starter: Arc<dyn Starter> = Arc::new(Ticks(Arc::downgrade(&self.0)));
        let all_own = definitions_for(&definition, &starter)?;
        shared.register(definition)?;
        for own in all_own {
            // One of the engine's own definitions serves all versions, so it may already be registered.
            let is_there = || shared.definition(own.id(), own.version()).is_some();
            if !is_there()
                && let Err(error) = shared.register(own.clone())
                && !is_there()
            {
                return Err(error);
            }
        }
        shared.channel.notify(Notifications::definitions_changed);
        Ok(())
    }

    /// Waits for the end of an instance, whichever host runs it.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound) if no instance has this id. [`Invalid`](WfeError::Invalid) in a
    /// test, if no host runs. [`Closed`](WfeError::Closed) or
    /// [`Unusable`](WfeError::Unusable) if the engine has already ended, or if it ends before the instance. Also the
    /// errors of the store.
    pub async fn wait_end(&self, id: &str) -> Result<End> {
        let shared = &self.0.shared;
        let _tidy = shared.completions.tidy(id);
        let (mut shall_look, mut wait) = (false, LongWait::new(shared, id));
        loop {
            // This is checked before the wait begins: an engine that ends later also ends this wait.
            let has_ended = self.has_ended();
            let (end, comes) = shared.completions.wait(id);
            if shall_look || !comes {
                let loaded = shared.store.inspect(id).await?;
                wait.found(&loaded);
                if let Some(end) = End::of(loaded) {
                    return Ok(end);
                }
            }
            if has_ended {
                return Err(shared.store.loss.or_closed());
            }
            let runs = self.is_running();
            if !runs {
                wait.without_engine().await?;
            }
            tokio::select! {
                // An error means that the engine has ended, or that the end must be read from the store.
                end = end => match end {
                    Ok(end) => return Ok(Arc::unwrap_or_clone(end)),
                    Err(_) => shall_look = true,
                },
                // A running engine checks the store for all waiting callers, so only a host without an engine polls
                // here.
                () = shared.options.clock.sleep(shared.options.poll_interval), if !runs => {}
            }
        }
    }

    /// Waits until the host is idle: nothing can happen before time passes or an external event arrives.
    ///
    /// # Errors
    /// Fails if the engine does not run, or if it ends during the wait.
    pub async fn wait_idle(&self) -> Result<Idle> {
        let closed = || self.0.shared.store.loss.or_closed();
        let Some(permit) = self.permit().await else { return Err(closed()) };
        let (answer, idle) = oneshot::channel();
        self.0.shared.channel.order(Order::Idle(answer, permit)).map_err(|_| closed())?;
        idle.await.map_err(|_| closed())
    }

    /// Waits until the running bodies have ended, but no longer than the grace time, and then ends the engine. The
    /// future that `beside` returns is awaited concurrently. The store is verified last, so that a successful return
    /// confirms that all acknowledged writes are stored.
    ///
    /// # Errors
    /// [`Closed`](WfeError::Closed) if the engine has already ended. [`Unusable`](WfeError::Unusable) if the store is
    /// lost.
    pub async fn stop<F: Future<Output = ()>>(&self, beside: impl FnOnce() -> F) -> Result<()> {
        let shared = &self.0.shared;
        let stage = std::mem::replace(&mut *self.stage(), Stage::Stopped);
        if matches!(stage, Stage::Stopped) {
            return Err(shared.store.loss.or_closed());
        }
        let beside = beside();
        shared.tasks_changed();
        let Stage::Running { phase, .. } = stage else {
            beside.await;
            return shared.store.verify().await;
        };
        phase.send_replace(Phase::Draining);
        let (answer, stopped) = oneshot::channel();
        let engine = async { shared.channel.order(Order::Stop(answer)).is_ok() && stopped.await.is_ok() };
        let (is_stopped, ()) = tokio::join!(engine, beside);
        if is_stopped { shared.store.verify().await } else { Err(shared.store.loss.or_closed()) }
    }

    /// Whether the engine was stopped or has ended for another reason. An engine that has ended never runs again.
    pub fn has_ended(&self) -> bool {
        self.stage().has_ended(&self.0.shared)
    }

    fn is_running(&self) -> bool {
        self.runtime().is_some()
    }

    /// The stage of the engine, and its runtime.
    pub fn engine(&self) -> Engine {
        let stage = self.stage();
        match &*stage {
            stage if stage.has_ended(&self.0.shared) => Engine::Ended,
            Stage::Running { engine, .. } => Engine::Running(engine.clone()),
            Stage::New | Stage::Stopped => Engine::New,
        }
    }

    /// Returns the engine's own runtime, or `None` if the engine does not run.
    fn runtime(&self) -> Option<runtime::Handle> {
        match &*self.stage() {
            Stage::Running { engine, .. } if !self.0.shared.channel.is_closed() => Some(engine.clone()),
            Stage::New | Stage::Running { .. } | Stage::Stopped => None,
        }
    }

    fn check_new(&self, stage: &Stage) -> Result<()> {
        match stage {
            stage if stage.has_ended(&self.0.shared) => Err(self.0.shared.store.loss.or_closed()),
            Stage::Running { .. } => Err(WfeError::Invalid("the host was started already".to_owned())),
            Stage::New | Stage::Stopped => Ok(()),
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        lock(&self.0.stage)
    }
}

/// Read access to the state of the engine.
impl Handle {
    pub fn store(&self) -> &Arc<StoreAccess> {
        &self.0.shared.store
    }

    pub fn options(&self) -> &Options {
        &self.0.shared.options
    }

    /// How many bodies run, and how many may run at the same time.
    #[cfg(feature = "metrics")]
    pub fn bodies(&self) -> (usize, usize) {
        let limit = self.options().concurrent_steps.max(1);
        (limit.saturating_sub(self.0.shared.steps.available_permits()), limit)
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.0.shared.now()
    }

    /// Returns the definition with this id and version. If `version` is `None`, returns the newest version of the
    /// definition.
    ///
    /// # Errors
    /// [`DefinitionNotFound`](WfeError::DefinitionNotFound) if it is not registered. The error has version 0 if no
    /// version is given.
    pub fn definition(&self, id: &str, version: Option<u32>) -> Result<AnyDefinition> {
        self.0
            .shared
            .find_definition(id, version)
            .ok_or_else(|| WfeError::DefinitionNotFound { id: id.to_owned(), version: version.unwrap_or(0) })
    }

    /// Whether this version of the definition is registered.
    pub fn is_registered(&self, id: &str, version: u32) -> bool {
        self.0.shared.find_definition(id, Some(version)).is_some()
    }

    pub fn definitions(&self) -> Vec<(String, u32)> {
        self.0.shared.definitions()
    }

    /// Reads an instance from the store, and checks that its state is consistent.
    pub async fn inspect(&self, id: &str) -> Result<Loaded> {
        self.0.shared.inspect(id).await
    }

    /// Returns the states of those bodies of the instance that this engine has queued or started.
    pub fn bodies_of(&self, id: &str) -> BodyStates {
        self.0.shared.in_flight.of(id)
    }

    pub fn lifecycle(&self) -> broadcast::Receiver<LifecycleEvent> {
        self.0.shared.lifecycle.subscribe()
    }
}

impl Stage {
    fn has_ended(&self, shared: &Shared) -> bool {
        match self {
            Self::New => false,
            Self::Running { .. } => shared.channel.is_closed(),
            Self::Stopped => true,
        }
    }
}

/// The error of a start during which the engine's thread ended.
fn ended_meanwhile(ended: JoinError) -> WfeError {
    let message = "the host ended while the instance was being started".to_owned();
    WfeError::CommitUnknown { message, source: Some(ended.into()) }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("definitions", &self.definitions()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
