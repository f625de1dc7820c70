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

/// What a start may say beside the data.
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
/// // The same reference: the same instance.
/// assert_eq!(host.start_workflow_with("w", &0_u32, options).await?, old);
/// # host.stop().await
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The caller's own key. It makes the start idempotent: a second start with the same definition id and reference
    /// gives the id of the instance already stored, whatever its version or status, and starts nothing. The steps find it
    /// in [`Ctx::reference`](wfe_core::steps::Ctx::reference).
    pub reference: Option<String>,
    /// The version to run; `None`: the newest one registered.
    pub version: Option<u32>,
    /// A second unique name, for people; `None`: the id.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
}

impl WorkflowHost {
    /// Starts an instance of the newest version of a definition; returns its id once it is stored.
    ///
    /// On a host that is not started, the instance is stored and waits. On a started one, a start whose future is
    /// dropped may still come about; the instance runs then.
    ///
    /// # Errors
    /// * [`DefinitionNotFound`](WfeError::DefinitionNotFound) (with version 0: no version is registered).
    /// * [`Invalid`](WfeError::Invalid): the definition runs on data of another type; or a name is given that begins with
    ///   `wfe.`.
    /// * [`Closed`](WfeError::Closed): the host was stopped, or has ended with the runtime that it was started on.
    /// * [`Unusable`](WfeError::Unusable): the store is lost, and the host has ended or is about to.
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
        let found = shared.find_definition(definition, options.version).ok_or_else(|| {
            WfeError::DefinitionNotFound { id: definition.to_owned(), version: options.version.unwrap_or(0) }
        })?;
        let mut instance = found.instance(data, shared.now())?;
        instance.name = options.name.unwrap_or_default();
        if instance.name.starts_with(RESERVED) {
            return Err(WfeError::Invalid(format!(
                "the workflow's name {:?} begins with {RESERVED:?}, as those of the engine's own do",
                instance.name
            )));
        }
        instance.reference = options.reference;
        instance.description = options.description;
        self.start_instance(instance).await
    }

    /// Stores an instance and, on a started host, runs it.
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
        // Run to its end even if the caller goes away: an instance that this host owns, but never takes up, would
        // stand still until the next start.
        let shared = shared.clone();
        let stored = engine.spawn(async move { store_new(&shared, instance, Some(commands)).await });
        stored.await.unwrap_or_else(|ended| {
            let message = "the host has ended during the start".to_owned();
            Err(WfeError::CommitUnknown { message, source: Some(ended.into()) })
        })
    }
}

/// Stores a new instance and, with `commands`, hands it to the engine that they go to.
async fn store_new(
    shared: &Arc<Shared>,
    mut instance: WorkflowInstance,
    commands: Option<mpsc::UnboundedSender<Command>>,
) -> Result<String> {
    // Without room in memory the instance waits in the store, and is claimed later.
    let limited = shared.options.limits.instances(&instance.workflow_definition_id);
    let place = limited.and_then(|places| take_places(places, 1));
    let has_room = commands.is_some() && shared.room() > 0 && place.is_some() == limited.is_some();
    let mut owner = if has_room { shared.owner() } else { None };
    // Without an owner anybody may claim it, this host too, as soon as it is stored.
    let birth = || shared.births.of_definition(&instance.workflow_definition_id);
    let mut _birth = owner.is_none().then(birth);
    let mut started = shared.store.start(owner.as_deref(), &instance).await;
    if let Err(WfeError::OwnerLost { .. }) = started {
        // Nothing was stored. The engine's next look finds that it needs another owner.
        (owner, _birth) = (None, Some(birth()));
        started = shared.store.start(None, &instance).await;
    }
    let started = match started {
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
