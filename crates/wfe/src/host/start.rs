use std::sync::Arc;

use tokio::sync::mpsc;
use wfe_core::{
    Result, WfeError,
    definition::Data,
    executor::LifecycleEvent,
    models::WorkflowInstance,
    traits::{Claimed, Deaths, Fence, Loaded},
};

use super::workflow_host::{RESERVED, WorkflowHost};
use crate::engine::{
    command::{Begin, Command},
    state::shared::Shared,
    steps::{
        middleware::{self, WorkflowStart},
        slots::take_places,
    },
};

/// Options for starting an instance.
///
/// ```
/// use wfe::{Outcome, StartOptions, WorkflowHost, definition::{Definition, WorkflowBuilder, inline}};
/// use wfe_sqlite::SqlitePersistenceProvider;
///
/// fn version(number: u32) -> wfe::Result<Definition> {
///     WorkflowBuilder::<u32>::new("w", number)
///         .then("write", inline(move |_, _| async move { Ok(number) }).output(|n, data| *data = *n))
///         .build()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await?);
/// host.register(version(1)?)?;
/// host.register(version(2)?)?;
/// host.start().await?;
/// let newest = host.start_workflow("w", &0_u32).await?;
/// assert_eq!(host.outcome::<u32>(&newest).await?, Outcome::Completed(2));
/// let options = StartOptions { version: Some(1), reference: Some("order 7".to_owned()), ..StartOptions::default() };
/// let old = host.start_workflow_with("w", &0_u32, options.clone()).await?;
/// assert_eq!(host.outcome::<u32>(&old).await?, Outcome::Completed(1));
/// // A second start with the same reference returns the same instance.
/// assert_eq!(host.start_workflow_with("w", &0_u32, options).await?, old);
/// # host.stop().await
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The caller's own key for the instance. It makes the start idempotent: a second start with the same definition
    /// id and reference starts nothing and returns the id of the stored instance, whatever its version and status.
    /// Steps can read the reference with [`Ctx::reference`](wfe_core::steps::Ctx::reference). `None`: every start
    /// creates an instance.
    pub reference: Option<String>,
    /// The version of the definition to run. `None`: the newest registered version.
    pub version: Option<u32>,
    /// A human-readable name, unique among all instances. `None`: the id.
    pub name: Option<String>,
    /// A human-readable description. The engine does not use it.
    pub description: Option<String>,
}

impl WorkflowHost {
    /// Starts an instance of the newest version of a definition. Returns the instance's id once the instance is
    /// stored.
    ///
    /// If the host is not started, the instance is stored and waits. If the host runs and the returned future is
    /// dropped, the instance may still be stored; if so, it runs.
    ///
    /// # Errors
    /// * [`DefinitionNotFound`](WfeError::DefinitionNotFound): the definition is not registered. In the error,
    ///   version 0 means that no version is.
    /// * [`Invalid`](WfeError::Invalid): the definition has another data type; or the given name begins with `wfe.`,
    ///   which is reserved for the engine.
    /// * [`Closed`](WfeError::Closed): the host was stopped, or has ended with the runtime on which it was started.
    /// * [`Unusable`](WfeError::Unusable): the store is lost, and the host has ended or is about to end.
    /// * The errors of the store. After [`CommitUnknown`](WfeError::CommitUnknown) the instance may or may not be
    ///   stored. If the caller gave a reference ([`StartOptions`]), it is safe to start the instance again.
    pub async fn start_workflow<D: Data>(&self, definition: &str, data: &D) -> Result<String> {
        self.start_workflow_with(definition, data, StartOptions::default()).await
    }

    /// Starts an instance with options; otherwise like [`start_workflow`](Self::start_workflow).
    ///
    /// # Errors
    /// * Those of [`start_workflow`](Self::start_workflow).
    /// * [`AlreadyExists`](WfeError::AlreadyExists): another instance has the given name.
    pub async fn start_workflow_with<D: Data>(
        &self,
        definition: &str,
        data: &D,
        options: StartOptions,
    ) -> Result<String> {
        let shared = &self.0.shared;
        let found = shared.find_definition(definition, options.version).ok_or_else(|| {
            WfeError::DefinitionNotFound { id: definition.to_owned(), version: options.version.unwrap_or(0) }
        })?;
        let mut instance = found.instance(data, shared.now())?;
        instance.name = options.name.unwrap_or_default();
        if instance.name.starts_with(RESERVED) {
            return Err(WfeError::Invalid(format!(
                "instance name {:?} begins with {RESERVED:?}, which is reserved for the engine; choose another name",
                instance.name
            )));
        }
        instance.reference = options.reference;
        instance.description = options.description;
        self.start_instance(instance).await
    }

    /// Stores an instance and, if the host runs, runs the instance.
    pub(crate) async fn start_instance(&self, instance: WorkflowInstance) -> Result<String> {
        let shared = &self.0.shared;
        if self.has_ended() {
            return Err(shared.loss.or_closed());
        }
        middleware::starting(
            &shared.options.workflow_middleware,
            &WorkflowStart {
                definition_id: &instance.workflow_definition_id,
                version: instance.version,
                reference: instance.reference.as_deref(),
                data: &instance.data,
            },
        )
        .await?;
        let Some((commands, engine)) = self.engine() else {
            let id = store_new(shared, instance, None).await?;
            self.tell(Command::Look); // it may have been started meanwhile
            return Ok(id);
        };
        // In a task of its own, which goes on if the caller drops its future: an instance that this host owns, but
        // never runs, would wait until the next start.
        let shared = shared.clone();
        let stored = engine.spawn(async move { store_new(&shared, instance, Some(commands)).await });
        stored.await.unwrap_or_else(|ended| {
            let message = "the host ended while the instance was being started".to_owned();
            Err(WfeError::CommitUnknown { message, source: Some(ended.into()) })
        })
    }
}

/// Stores a new instance and, if `commands` is given, hands it to that engine.
async fn store_new(
    shared: &Arc<Shared>,
    mut instance: WorkflowInstance,
    commands: Option<mpsc::UnboundedSender<Command>>,
) -> Result<String> {
    // Without a free slot the instance waits in the store, and is claimed later.
    let limited = shared.options.limits.instances(&instance.workflow_definition_id);
    let place = limited.and_then(|places| take_places(places, 1));
    let has_room = commands.is_some() && shared.room() > 0 && place.is_some() == limited.is_some();
    let mut owner = if has_room { shared.owner() } else { None };
    // Without an owner, every host, including this one, may claim the instance as soon as it is stored.
    let birth = || shared.births.of_definition(&instance.workflow_definition_id);
    let mut _birth = owner.is_none().then(birth);
    let mut started = shared.store.start(owner.as_deref(), &instance).await;
    if let Err(WfeError::OwnerLost { .. }) = started {
        // Nothing was stored. The engine's next claim finds that the host needs another owner.
        (owner, _birth) = (None, Some(birth()));
        started = shared.store.start(None, &instance).await;
    }
    let started = match started {
        Ok(started) => started,
        Err(error) => {
            if matches!(error, WfeError::CommitUnknown { .. })
                && let Some(commands) = commands
            {
                // Fails only if the engine has ended, and its owner with it.
                let _ended = commands.send(Command::Doubt);
            }
            return Err(error);
        }
    };
    if !started.is_new {
        return Ok(started.id);
    }
    instance.id.clone_from(&started.id);
    shared.publish(LifecycleEvent::started(&instance));
    let command = started.fence.zip(owner).map_or(Command::Look, |(fence, owner)| {
        if instance.name.is_empty() {
            instance.name.clone_from(&started.id);
        }
        let claimed = Claimed { id: started.id.clone(), fence, deaths: Deaths::default() };
        let loaded = just_started(instance, fence, owner.id());
        let work = shared.begin(&started.id, owner, place);
        Command::Run(Box::new(Begin { claimed, loaded, work }))
    });
    if let Some(commands) = commands {
        // Fails only if the engine has ended; then the next start finds the instance.
        let _later = commands.send(command);
    }
    Ok(started.id)
}

/// What the store holds of an instance that was just started. Revision 0: the instance has not changed since.
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
