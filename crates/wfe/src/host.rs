use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde::de::DeserializeOwned;
use tokio::{
    runtime::Handle,
    sync::{broadcast, mpsc, oneshot, watch},
};
use wfe_core::{
    Result, WfeError,
    definition::{Data, Definition},
    executor::{Lifecycle, LifecycleEvent},
    models::WorkflowInstance,
    steps::Results,
    traits::{Claimed, Control, Fence, Loaded, PersistenceProvider},
};

use crate::{
    engine::{self, Begin, Command, Phase},
    options::{HostBuilder, Options},
    outcome::{End, Guarantees, InstanceStatus, Outcome},
    shared::Shared,
};

/// Runs workflows on a store. Cheap to clone: every clone is the same host.
///
/// Dropping the last clone ends the host as if the process had died: nothing that was stored is lost, and steps that
/// were running are run again by the next host. [`stop`](Self::stop) lets them end first.
#[derive(Clone)]
pub struct WorkflowHost(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    stage: Mutex<Stage>,
}

enum Stage {
    New,
    /// With the way to the engine, its runtime, and its phase.
    Running(mpsc::UnboundedSender<Command>, Handle, watch::Sender<Phase>),
    Stopped,
}

/// What a start may say beside the data.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The caller's own key. It makes the start idempotent: a second start with the same definition id and reference
    /// gives the id of the instance already stored, whatever its version or status, and starts nothing.
    pub reference: Option<String>,
    /// The version to run; `None`: the newest one registered.
    pub version: Option<u32>,
    /// A second unique name, for people; `None`: the id.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
}

impl WorkflowHost {
    /// A host on this store, with the default settings.
    pub fn new(provider: impl PersistenceProvider + 'static) -> Self {
        Self::builder(provider).build()
    }

    /// A host on this store, with settings of its own.
    pub fn builder(provider: impl PersistenceProvider + 'static) -> HostBuilder {
        Self::builder_shared(Arc::new(provider))
    }

    /// As [`builder`](Self::builder), for a store that the program uses too.
    #[must_use]
    pub fn builder_shared(provider: Arc<dyn PersistenceProvider>) -> HostBuilder {
        HostBuilder::new(provider)
    }

    pub(crate) fn assemble(provider: Arc<dyn PersistenceProvider>, options: Options) -> Self {
        let shared = Arc::new(Shared::new(provider, options));
        Self(Arc::new(Inner { shared, stage: Mutex::new(Stage::New) }))
    }

    /// What the store below this host can promise.
    #[must_use]
    pub fn guarantees(&self) -> Guarantees {
        self.0.shared.guarantees
    }

    /// Makes a definition known. Stored instances that waited for it go on.
    ///
    /// # Errors
    /// [`InvalidDefinition`](WfeError::InvalidDefinition): one of this id and version is registered already.
    pub fn register(&self, definition: Definition) -> Result<()> {
        self.0.shared.register(definition)?;
        self.tell(Command::Registered);
        Ok(())
    }

    /// Brings the host to life: interrupted instances go on by themselves. Steps run on the runtime that this is
    /// called in; the engine has a thread of its own.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): it was started before. [`Closed`](WfeError::Closed): it was stopped.
    /// * Those of the store, which is created or upgraded first.
    pub async fn start(&self) -> Result<()> {
        let shared = &self.0.shared;
        self.check_new()?;
        shared.provider.ensure_store_exists().await?;
        let owner = Arc::new(shared.store.enlist().await?);
        let mut stage = self.stage();
        check_new(&stage)?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let phase = watch::Sender::new(Phase::Running);
        let engine = engine::spawn(shared.clone(), owner.clone(), receiver, phase.clone())?;
        shared.set_owner(Some(owner));
        *stage = Stage::Running(commands, engine, phase);
        Ok(())
    }

    /// Starts an instance of the newest version of a definition; returns its id once it is stored.
    ///
    /// On a host that is not started, the instance is stored and waits. On a started one, a start whose future is
    /// dropped may still come about; the instance runs then.
    ///
    /// # Errors
    /// * [`DefinitionNotFound`](WfeError::DefinitionNotFound) (with version 0: no version is registered).
    /// * [`Invalid`](WfeError::Invalid): the definition runs on data of another type.
    /// * [`Closed`](WfeError::Closed): the host was stopped.
    /// * Those of the store; after [`CommitUnknown`](WfeError::CommitUnknown) the instance may have been started: a
    ///   reference ([`StartOptions`]) makes it safe to try again.
    pub async fn start_workflow<D: Data>(&self, definition: &str, data: &D) -> Result<String> {
        self.start_workflow_with(definition, data, StartOptions::default()).await
    }

    /// As [`start_workflow`](Self::start_workflow), with options.
    ///
    /// # Errors
    /// Those of [`start_workflow`](Self::start_workflow); [`AlreadyExists`](WfeError::AlreadyExists): another instance
    /// has the name.
    pub async fn start_workflow_with<D: Data>(
        &self,
        definition: &str,
        data: &D,
        options: StartOptions,
    ) -> Result<String> {
        let shared = &self.0.shared;
        let found = match options.version {
            None => shared.newest_definition(definition),
            Some(version) => shared.definition(definition, version),
        };
        let found = found.ok_or_else(|| WfeError::DefinitionNotFound {
            id: definition.to_owned(),
            version: options.version.unwrap_or(0),
        })?;
        let mut instance = found.instance(data, shared.now())?;
        instance.name = options.name.unwrap_or_default();
        instance.reference = options.reference;
        instance.description = options.description;
        if matches!(*self.stage(), Stage::Stopped) {
            return Err(WfeError::Closed("the host"));
        }
        let Some((commands, engine)) = self.engine() else {
            let id = store_new(shared, instance, None).await?;
            self.tell(Command::Look); // it may have been started meanwhile
            return Ok(id);
        };
        // Run to its end even if the caller goes away: an instance that this host owns, but never takes up, would
        // stand still until the next start.
        let shared = shared.clone();
        let stored = engine.spawn(async move { store_new(&shared, instance, Some(commands)).await });
        stored.await.unwrap_or_else(|ended| {
            let message = "the host was stopped during the start".to_owned();
            Err(WfeError::CommitUnknown { message, source: Some(ended.into()) })
        })
    }

    /// Waits for the end of an instance, which may have ended long ago or be run by another host on the same store.
    /// While it is suspended, this goes on waiting; [`status`](Self::status) tells.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Serialization`](WfeError::Serialization): its data is not a `D`.
    /// * [`Closed`](WfeError::Closed): the host was stopped before the end.
    pub async fn wait_for<D: DeserializeOwned>(&self, id: &str) -> Result<Outcome<D>> {
        let shared = &self.0.shared;
        let _tidy = Tidy(shared, id);
        let mut shall_look = false;
        loop {
            let was_stopped = matches!(*self.stage(), Stage::Stopped);
            let (end, comes) = shared.waiters.wait(id);
            if (shall_look || !comes)
                && let Some(end) = End::of(shared.store.load(id).await?)
            {
                return end.typed(id);
            }
            if was_stopped {
                return Err(WfeError::Closed("the host"));
            }
            let runs = self.engine().is_some_and(|(engine, _)| !engine.is_closed());
            tokio::select! {
                // An error: the host stopped, or it is time to look.
                end = end => match end {
                    Ok(end) => return Arc::unwrap_or_clone(end).typed(id),
                    Err(_) => shall_look = true,
                },
                // The engine of a host that runs looks for all who wait.
                () = shared.options.clock.sleep(shared.options.poll_interval), if !runs => {}
            }
        }
    }

    /// Where an instance stands.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    pub async fn status(&self, id: &str) -> Result<InstanceStatus> {
        let loaded = self.0.shared.store.load(id).await?;
        let (definition, version) = (&loaded.instance.workflow_definition_id, loaded.instance.version);
        let is_registered = self.0.shared.definition(definition, version).is_some();
        Ok(InstanceStatus::of(loaded, is_registered))
    }

    /// The results of a finished for-each on the main path of an instance, in order of completion, read page by page;
    /// also after the instance has ended.
    #[must_use]
    pub fn results<T: DeserializeOwned>(&self, id: &str, for_each: &str) -> Results<T> {
        Results::of_instance(self.0.shared.store.clone(), id, for_each)
    }

    /// Asks an instance to stand still once its running steps have ended. Returns once the request is stored: it will
    /// take effect, whoever runs the instance. After the end of the instance it changes nothing.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    pub async fn suspend(&self, id: &str) -> Result<()> {
        self.request(id, Control::Suspend).await
    }

    /// Asks a suspended instance to go on; as [`suspend`](Self::suspend). A step whose failure suspended it is tried
    /// again, with all its retries.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    pub async fn resume(&self, id: &str) -> Result<()> {
        self.request(id, Control::Resume).await
    }

    /// Asks an instance to end before its end, undoing what it can; as [`suspend`](Self::suspend). Running steps get
    /// their cancellation token fired.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    pub async fn cancel(&self, id: &str) -> Result<()> {
        self.request(id, Control::Cancel).await
    }

    /// Asks an instance to end as it stands; as [`cancel`](Self::cancel), but nothing is undone.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    pub async fn terminate(&self, id: &str) -> Result<()> {
        self.request(id, Control::Terminate).await
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        self.0.shared.store.request(id, control).await?;
        self.tell(Command::Wake(id.to_owned()));
        Ok(())
    }

    /// What happens from now on, each event after the commit it tells of. A receiver that falls far behind is told how
    /// many events it missed.
    #[must_use]
    pub fn lifecycle(&self) -> broadcast::Receiver<LifecycleEvent> {
        self.0.shared.lifecycle.subscribe()
    }

    /// Ends the host: no step begins any more, those that run may end within the grace time, and their results are
    /// stored. A step that takes longer has its cancellation token fired and is left; it is run again by the next
    /// host. Everything else stays in the store for the next start.
    ///
    /// # Errors
    /// [`Closed`](WfeError::Closed): it was stopped before.
    pub async fn stop(&self) -> Result<()> {
        let stage = std::mem::replace(&mut *self.stage(), Stage::Stopped);
        match stage {
            Stage::New => Ok(()),
            Stage::Stopped => Err(WfeError::Closed("the host")),
            Stage::Running(commands, _, phase) => {
                phase.send_replace(Phase::Draining);
                let (answer, stopped) = oneshot::channel();
                let ended = commands.send(Command::Stop(answer)).is_err() || stopped.await.is_err();
                if ended {
                    return Err(WfeError::Closed("the engine"));
                }
                Ok(())
            }
        }
    }

    /// Tells the engine, if the host runs; otherwise the next start sees it in the store.
    fn tell(&self, command: Command) {
        if let Some((commands, _)) = self.engine() {
            // It fails only if the engine has ended; then the next start sees it.
            let _later = commands.send(command);
        }
    }

    /// The way to the engine, and its runtime; `None`: the host does not run.
    fn engine(&self) -> Option<(mpsc::UnboundedSender<Command>, Handle)> {
        match &*self.stage() {
            Stage::Running(commands, engine, _) => Some((commands.clone(), engine.clone())),
            Stage::New | Stage::Stopped => None,
        }
    }

    fn check_new(&self) -> Result<()> {
        check_new(&self.stage())
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.0.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WorkflowHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkflowHost")
            .field("guarantees", &self.guarantees())
            .field("definitions", &self.0.shared.definitions())
            .finish_non_exhaustive()
    }
}

fn check_new(stage: &Stage) -> Result<()> {
    match stage {
        Stage::New => Ok(()),
        Stage::Running(..) => Err(WfeError::Invalid("the host was started already".to_owned())),
        Stage::Stopped => Err(WfeError::Closed("the host")),
    }
}

/// Stores a new instance and, with `commands`, hands it to the engine that they go to.
async fn store_new(
    shared: &Arc<Shared>,
    mut instance: WorkflowInstance,
    commands: Option<mpsc::UnboundedSender<Command>>,
) -> Result<String> {
    // Without room in memory the instance waits in the store, and is claimed later.
    let owner = if commands.is_some() && shared.room() > 0 { shared.owner() } else { None };
    let started = match shared.store.start(owner.as_deref(), &instance).await {
        Ok(started) => started,
        Err(error) => {
            if matches!(error, WfeError::CommitUnknown { .. })
                && let Some(commands) = commands
            {
                // It fails only if the engine has ended, and its owner with it.
                let _ended = commands.send(Command::Doubt);
            }
            return Err(error);
        }
    };
    if !started.is_new {
        return Ok(started.id);
    }
    shared.publish(LifecycleEvent {
        instance_id: started.id.as_str().into(),
        definition_id: instance.workflow_definition_id.as_str().into(),
        version: instance.version,
        time: instance.create_time,
        what: Lifecycle::Started,
    });
    let command = started.fence.zip(owner).map_or(Command::Look, |(fence, owner)| {
        if instance.name.is_empty() {
            instance.name.clone_from(&started.id);
        }
        instance.id.clone_from(&started.id);
        let claimed = Claimed { id: started.id.clone(), fence, claims: 1 };
        let loaded = just_started(instance, fence, owner.id());
        let work = shared.begin(&started.id, owner);
        Command::Run(Box::new(Begin { claimed, loaded, work }))
    });
    if let Some(commands) = commands {
        // It fails only if the engine has ended; then the next start sees the instance.
        let _later = commands.send(command);
    }
    Ok(started.id)
}

/// What the store has of an instance that was started just now. Revision 0: it was never changed since.
fn just_started(instance: WorkflowInstance, fence: Fence, owner: u64) -> Loaded {
    Loaded {
        instance,
        revision: 0,
        fence,
        owner: Some(owner),
        control: None,
        ending: None,
        cause: None,
        parent: None,
        waits: Vec::new(),
        deliveries: Vec::new(),
    }
}

/// Forgets a waiter whose wait is over or was dropped.
struct Tidy<'a>(&'a Shared, &'a str);

impl Drop for Tidy<'_> {
    fn drop(&mut self) {
        self.0.waiters.tidy(self.1);
    }
}
