//! The door into the engine. What a program's calls want of it goes through here, and through one [channel](super::channel)
//! behind it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::{
    runtime,
    sync::{broadcast, oneshot, watch},
};
use wfe_core::{
    Result, WfeError,
    definition::Definition,
    executor::LifecycleEvent,
    models::WorkflowInstance,
    steps::StepError,
    sync::lock,
    traits::{Loaded, PersistenceProvider},
};

use super::{
    message::{Order, Phase},
    schedule::definition::{Spec, Starter, definitions_for},
    start,
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
    thread::spawn,
};
use crate::store::StoreAccess;

/// A host's engine: not started yet, running, or ended. Cheap to clone. When the last clone is dropped, the engine ends as
/// if the process had died.
///
/// *Orders* ([`start`](Self::start), [`wait_idle`](Self::wait_idle), [`stop`](Self::stop)) are taken up in the order in
/// which they are given, and have an answer. *Notifications* ([`wake`](Self::wake), [`event_stored`](Self::event_stored) and
/// their like) follow a write to the store; they merge, and have none. Calls that do not merge wait for a permit while the
/// engine has much to take up. The engine never waits for a program's call.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Door>);

struct Door {
    shared: Arc<Shared>,
    stage: Mutex<Stage>,
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

    /// Starts the engine's thread. Bodies run on the runtime that this is called in.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): it was launched before. [`Closed`](WfeError::Closed): it has ended. Those of the store.
    pub async fn launch(&self) -> Result<()> {
        let shared = &self.0.shared;
        self.check_new(&self.stage())?;
        shared.store.provider.ensure_store_exists().await?;
        let owner = Arc::new(shared.store.register().await?);
        let mut stage = self.stage();
        self.check_new(&stage)?;
        let phase = watch::Sender::new(Phase::Running);
        let engine = spawn(shared.clone(), owner.clone(), phase.clone())?;
        shared.set_owner(Some(owner));
        *stage = Stage::Running { engine, phase };
        Ok(())
    }

    /// Stores a new instance and has the engine run it, once the [middleware](WorkflowStart) lets it; gives its id. If the
    /// engine does not run, or has no room for it, the instance waits in the store. Dropped, the call has started nothing as
    /// long as it waits for the middleware or for its permit; after that, the start may still come about.
    pub async fn start(&self, instance: WorkflowInstance) -> Result<String> {
        let shared = &self.0.shared;
        if self.has_ended() {
            return Err(shared.store.loss.or_closed());
        }
        let about = WorkflowStart {
            definition_id: &instance.workflow_definition_id,
            version: instance.version,
            reference: instance.reference.as_deref(),
            data: &instance.data,
        };
        middleware::starting(&shared.options.workflow_middleware, &about).await?;
        let Some(engine) = self.runtime() else {
            return start::store_new(shared, instance, None).await;
        };
        // After the middleware: that may start instances, too.
        let Some(permit) = shared.channel.permit().await else { return Err(shared.store.loss.or_closed()) };
        // In a task of its own, which goes on if the caller drops its future: an instance that this host owns, but
        // never runs, would wait until the next start.
        let shared = shared.clone();
        let stored = engine.spawn(async move { start::store_new(&shared, instance, Some(permit)).await });
        stored.await.unwrap_or_else(|ended| {
            let message = "the host ended while the instance was being started".to_owned();
            Err(WfeError::CommitUnknown { message, source: Some(ended.into()) })
        })
    }

    /// Starts an instance of a schedule; gives its id.
    pub async fn start_scheduled(&self, spec: &Spec, reference: String) -> Result<String> {
        let shared = &self.0.shared;
        let found = shared.find_definition(&spec.definition, spec.version).ok_or_else(|| {
            WfeError::DefinitionNotFound { id: spec.definition.clone(), version: spec.version.unwrap_or(0) }
        })?;
        let mut instance =
            WorkflowInstance::created_at(&spec.definition, found.version(), spec.data.clone(), shared.now());
        instance.reference = Some(reference);
        self.start(instance).await
    }

    /// What a request needs to be handed to the engine; to be had before the request is stored. Waits while the engine has
    /// much to take up. `None`: it does not run.
    pub async fn permit(&self) -> Option<Permit> {
        if self.is_running() { self.0.shared.channel.permit().await } else { None }
    }

    /// A request of this instance is stored: its actor looks, or the engine acquires it. If the engine does not run, the next
    /// one finds the request in the store.
    pub fn wake(&self, id: &str, permit: Option<Permit>) {
        if self.is_running() {
            self.0.shared.channel.notify(|all| all.request(id, permit));
        }
    }

    /// An event is stored, which is `due` then; `None`: now. It is delivered, and marked as processed when no instance
    /// needs it. `false`: the engine does not run.
    pub fn event_stored(&self, id: &str, due: Option<DateTime<Utc>>) -> bool {
        let runs = self.is_running();
        if runs {
            self.0.shared.channel.notify(|all| all.event_stored(id, due));
        }
        runs
    }

    /// An answer to an external task is stored. The instance that takes it marks it as processed.
    pub fn answer_stored(&self) {
        self.0.shared.channel.notify(Notifications::deliverable);
    }

    /// An event may have been stored whose id is not known.
    pub fn event_in_doubt(&self) {
        self.0.shared.channel.notify(Notifications::event_in_doubt);
    }

    /// There may be external tasks that are free.
    pub fn tasks_changed(&self) {
        self.0.shared.tasks_changed();
    }

    /// Changes whenever external tasks may have become free, and when the engine has ended.
    pub fn watch_tasks(&self) -> watch::Receiver<()> {
        self.0.shared.watch_tasks()
    }

    /// Makes a definition known, and what a schedule of it needs. Stored instances may have waited for it.
    ///
    /// # Errors
    /// [`InvalidDefinition`](WfeError::InvalidDefinition): one of this id and version is registered already.
    pub fn register(&self, definition: Definition) -> Result<()> {
        let shared = &self.0.shared;
        let starter: Arc<dyn Starter> = Arc::new(Ticks(Arc::downgrade(&self.0)));
        let all_own = definitions_for(&definition, &starter)?;
        shared.register(definition)?;
        for own in all_own {
            // One is for all versions: then it is there already.
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
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id. What [`has_ended`](Self::has_ended)
    /// answers, if the engine ends before. Those of the store.
    pub async fn wait_end(&self, id: &str) -> Result<End> {
        let shared = &self.0.shared;
        let _tidy = shared.completions.tidy(id);
        let mut shall_look = false;
        loop {
            // Asked before the wait begins: an engine that ends later ends this wait, too.
            let has_ended = self.has_ended();
            let (end, comes) = shared.completions.wait(id);
            if (shall_look || !comes)
                && let Some(end) = End::of(shared.store.inspect(id).await?)
            {
                return Ok(end);
            }
            if has_ended {
                return Err(shared.store.loss.or_closed());
            }
            let runs = self.is_running();
            tokio::select! {
                // An error: the engine has ended, or it is time to look.
                end = end => match end {
                    Ok(end) => return Ok(Arc::unwrap_or_clone(end)),
                    Err(_) => shall_look = true,
                },
                // An engine that runs looks for all who wait.
                () = shared.options.clock.sleep(shared.options.poll_interval), if !runs => {}
            }
        }
    }

    /// Waits until nothing can happen before time passes or something comes from outside.
    ///
    /// # Errors
    /// The engine does not run, or ends meanwhile.
    pub async fn wait_idle(&self) -> Result<Idle> {
        let closed = || self.0.shared.store.loss.or_closed();
        let Some(permit) = self.permit().await else { return Err(closed()) };
        let (answer, idle) = oneshot::channel();
        self.0.shared.channel.order(Order::Idle(answer, permit)).map_err(|_| closed())?;
        idle.await.map_err(|_| closed())
    }

    /// Lets running bodies end within the grace time, and ends the engine. `beside` is awaited, too. The store is verified
    /// last: a host that ends well says that what it has answered is stored.
    ///
    /// # Errors
    /// [`Closed`](WfeError::Closed): it has ended before. [`Unusable`](WfeError::Unusable): the store is lost.
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

    /// It was stopped, or has ended by itself. It never runs again.
    pub fn has_ended(&self) -> bool {
        self.stage().has_ended(&self.0.shared)
    }

    fn is_running(&self) -> bool {
        self.runtime().is_some()
    }

    /// The engine's own runtime; `None`: it does not run.
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

/// What can be seen of it.
impl Handle {
    pub fn store(&self) -> &Arc<StoreAccess> {
        &self.0.shared.store
    }

    pub fn options(&self) -> &Options {
        &self.0.shared.options
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.0.shared.now()
    }

    /// The definition of this id and version, or (`None`) of its newest version.
    pub fn find_definition(&self, id: &str, version: Option<u32>) -> Option<Definition> {
        self.0.shared.find_definition(id, version)
    }

    pub fn definitions(&self) -> Vec<(String, u32)> {
        self.0.shared.definitions()
    }

    /// An instance as it is stored, if that can be.
    pub async fn inspect(&self, id: &str) -> Result<Loaded> {
        self.0.shared.inspect(id).await
    }

    /// How far the bodies of the instance have come that this engine has taken up.
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

/// Starts instances for ticks, as long as the host is there.
struct Ticks(Weak<Door>);

impl Starter for Ticks {
    fn now(&self) -> Option<DateTime<Utc>> {
        self.0.upgrade().map(|door| door.shared.now())
    }

    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        reference: String,
    ) -> BoxFuture<'a, std::result::Result<(), StepError>> {
        Box::pin(async move {
            let door = self.0.upgrade().ok_or_else(|| StepError::retryable("the host has ended"))?;
            Handle(door).start_scheduled(spec, reference).await?;
            Ok(())
        })
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("definitions", &self.definitions()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
