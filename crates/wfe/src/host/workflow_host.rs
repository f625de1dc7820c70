use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::{
    runtime::Handle,
    sync::{broadcast, mpsc, oneshot, watch},
};
use wfe_core::{
    Result, WfeError, definition::Definition, executor::LifecycleEvent, steps::StepError,
    traits::PersistenceProvider,
};

use crate::engine::state::options::Options;
use crate::{
    engine::{
        self,
        command::Command,
        message::Phase,
        schedule::definition::{Spec, Starter, definitions_for},
        state::shared::Shared,
    },
    host::builder::HostBuilder,
    store::Guarantees,
};

/// What the names of the engine's own events, activities and definitions begin with, and the ids of its events.
pub(crate) use wfe_core::traits::OWN_NAMES as RESERVED;

/// Runs workflows on a store. Cheap to clone: every clone is the same host.
///
/// Dropping the last clone ends the host as if the process had died: nothing that was stored is lost, and steps that
/// were running are run again by the next host. [`stop`](Self::stop) lets them end first.
///
/// A step that has captured a clone, or a middleware that has, keeps the host alive, because the host keeps it: then only
/// `stop` ends it. Either call that, or give the step the sender of a channel instead, and hold the clone at the
/// other end of it.
#[derive(Clone)]
pub struct WorkflowHost(pub(super) Arc<Inner>);

pub(crate) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) stage: Mutex<Stage>,
}

pub(super) enum Stage {
    New,
    /// With the way to the engine, its runtime, and its phase.
    Running(mpsc::UnboundedSender<Command>, Handle, watch::Sender<Phase>),
    Stopped,
}

impl Stage {
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::New => false,
            Self::Running(commands, ..) => commands.is_closed(),
            Self::Stopped => true,
        }
    }
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
    ///
    /// ```
    /// # use wfe::{Guarantees, WorkflowHost};
    /// # use wfe_sqlite::SqlitePersistenceProvider;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await?);
    /// assert_eq!(host.guarantees(), Guarantees::OneTransactionPerStep);
    /// # host.stop().await
    /// # }
    /// ```
    #[must_use]
    pub fn guarantees(&self) -> Guarantees {
        self.0.shared.guarantees
    }

    /// Makes a definition known. Stored instances that waited for it go on.
    ///
    /// # Errors
    /// * [`InvalidDefinition`](WfeError::InvalidDefinition): one of this id and version is registered already.
    /// * [`Invalid`](WfeError::Invalid): its id begins with `wfe.`, which is the engine's.
    pub fn register(&self, definition: Definition) -> Result<()> {
        let (shared, id) = (&self.0.shared, definition.id());
        if id.starts_with(RESERVED) {
            return Err(WfeError::Invalid(format!(
                "the definition's id {id:?} begins with {RESERVED:?}, as those of the engine's own do"
            )));
        }
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
        self.tell(Command::Registered);
        Ok(())
    }

    /// Brings the host to life: interrupted instances go on by themselves. Steps run on the runtime that this is
    /// called in; the engine has a thread of its own.
    ///
    /// The host ends with that runtime: when that is dropped, it is as if the process had died, other hosts go on with what
    /// this one ran, and it answers as one that was stopped. A host for several runtimes (the tests of a program, each with
    /// one of its own) is started on one that outlives them.
    ///
    /// It ends, too, when its store says that it is lost ([`Unusable`](WfeError::Unusable): the database was removed, replaced
    /// or damaged under it). No step begins any more, those that run have their cancellation token fired, one error is
    /// logged, and whatever the host is asked is answered with what the store has said. Open the store anew, and make a new
    /// host on it.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): it was started before. [`Closed`](WfeError::Closed): it has ended.
    /// * Those of the store, which is created or upgraded first.
    pub async fn start(&self) -> Result<()> {
        let shared = &self.0.shared;
        self.check_new()?;
        shared.provider.ensure_store_exists().await?;
        let owner = Arc::new(shared.store.register().await?);
        let mut stage = self.stage();
        self.check_stage(&stage)?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let phase = watch::Sender::new(Phase::Running);
        let engine = engine::spawn(shared.clone(), owner.clone(), receiver, phase.clone())?;
        shared.set_owner(Some(owner));
        *stage = Stage::Running(commands, engine, phase);
        Ok(())
    }

    /// What happens from now on, each event after the commit it tells of, and those of one instance in their order. A host
    /// tells of the instances that it starts, children of those that it runs among them, and of what becomes of those that it
    /// runs itself: with several hosts on a store, one may tell of a start and another one of the rest. A process that dies
    /// between a commit and the telling never tells of it.
    ///
    /// A receiver that falls far behind is told how many events it missed.
    ///
    /// ```
    /// use wfe::{Lifecycle, WorkflowHost, definition::{WorkflowBuilder, inline}};
    /// use wfe_sqlite::SqlitePersistenceProvider;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await?);
    /// host.register(WorkflowBuilder::<u32>::new("w", 1).then("only", inline(|_, _| async { Ok(()) })).build()?)?;
    /// host.start().await?;
    /// let mut events = host.lifecycle();
    /// host.start_workflow("w", &1_u32).await?;
    /// let mut told = Vec::new();
    /// loop {
    ///     let event = events.recv().await.expect("the host goes on, and this is not far behind");
    ///     told.push(match event.what {
    ///         Lifecycle::StepStarted { step, .. } => format!("{step} begins"),
    ///         Lifecycle::StepCompleted { step, .. } => format!("{step} ends"),
    ///         Lifecycle::Completed => break,
    ///         other => format!("{other:?}"),
    ///     });
    /// }
    /// assert_eq!(told, ["Started", "only begins", "only ends"]);
    /// # host.stop().await
    /// # }
    /// ```
    #[must_use]
    pub fn lifecycle(&self) -> broadcast::Receiver<LifecycleEvent> {
        self.0.shared.lifecycle.subscribe()
    }

    /// Ends the host: no step begins any more, those that run may end within the grace time, and their results are
    /// stored. A step that takes longer has its cancellation token fired and is left, for a second if it does not block its
    /// thread; it is run again by the next host. Everything else stays in the store for the next start.
    ///
    /// The host's [workers](crate::Worker) end with it, on a host that was never started too: they claim nothing any more,
    /// and may finish what they work on within the same grace time. What they have not answered then is dropped and given
    /// back, so that workers of other hosts get it at once.
    ///
    /// # Errors
    /// * [`Closed`](WfeError::Closed): it was stopped before, or has ended with the runtime that it was started on. Also at once
    ///   while another call of this is under way, which it does not wait for.
    /// * [`Unusable`](WfeError::Unusable): the store is lost: its file was removed, replaced or damaged under it. The host has
    ///   ended, if not before, then now. What it was doing last may not be stored, and of what it has stored nobody knows
    ///   whether it is still there.
    pub async fn stop(&self) -> Result<()> {
        let stage = std::mem::replace(&mut *self.stage(), Stage::Stopped);
        if matches!(stage, Stage::Stopped) {
            return Err(self.0.shared.loss.or_closed());
        }
        let Shared { store, loss, claims, post, options, .. } = &*self.0.shared;
        claims.close();
        post.work_is_there();
        let workers = claims.drain(options.grace);
        let Stage::Running(commands, _, phase) = stage else {
            workers.await;
            return store.verify().await;
        };
        phase.send_replace(Phase::Draining);
        let (answer, stopped) = oneshot::channel();
        let engine = async { commands.send(Command::Stop(answer)).is_ok() && stopped.await.is_ok() };
        let (is_stopped, ()) = tokio::join!(engine, workers);
        // A host that ends well says that what it has answered is stored.
        if is_stopped { store.verify().await } else { Err(loss.or_closed()) }
    }

    /// Tells the engine, if the host runs; otherwise the next start sees it in the store.
    pub(super) fn tell(&self, command: Command) {
        if let Some((commands, _)) = self.engine() {
            // It fails only if the engine has ended; then the next start sees it.
            let _later = commands.send(command);
        }
    }

    /// The way to the engine, and its runtime; `None`: the host does not run, or the engine has ended.
    pub(super) fn engine(&self) -> Option<(mpsc::UnboundedSender<Command>, Handle)> {
        match &*self.stage() {
            Stage::Running(commands, engine, _) if !commands.is_closed() => {
                Some((commands.clone(), engine.clone()))
            }
            Stage::New | Stage::Running(..) | Stage::Stopped => None,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// It was stopped, or its engine has ended by itself. It never runs again.
    pub(crate) fn has_ended(&self) -> bool {
        self.stage().has_ended()
    }

    pub(super) fn check_new(&self) -> Result<()> {
        self.check_stage(&self.stage())
    }

    pub(super) fn check_stage(&self, stage: &Stage) -> Result<()> {
        match stage {
            _ if stage.has_ended() => Err(self.0.shared.loss.or_closed()),
            Stage::Running(..) => Err(WfeError::Invalid("the host was started already".to_owned())),
            Stage::New | Stage::Stopped => Ok(()),
        }
    }

    pub(super) fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.0.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts instances for ticks, as long as the host is there.
struct Ticks(Weak<Inner>);

impl Starter for Ticks {
    fn now(&self) -> Option<DateTime<Utc>> {
        self.0.upgrade().map(|host| host.shared.now())
    }

    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        reference: String,
    ) -> BoxFuture<'a, std::result::Result<(), StepError>> {
        Box::pin(async move {
            let host = self.0.upgrade().ok_or_else(|| StepError::retryable("the host has ended"))?;
            WorkflowHost(host).start_scheduled(spec, reference).await?;
            Ok(())
        })
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
