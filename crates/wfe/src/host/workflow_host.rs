use std::{fmt, sync::Arc};

use tokio::sync::broadcast;
use wfe_core::{
    Result, WfeError,
    definition::{AnyDefinition, Data, Definition, WorkflowName},
    executor::LifecycleEvent,
    traits::PersistenceProvider,
};

use super::{builder::HostBuilder, claim_count::Claims, start::Workflow};
use crate::{
    engine::{Handle, Options},
    store::{Guarantees, StoreAccess},
};

/// The prefix that is reserved for the engine: for names of events, activities and definitions, and for ids of
/// events.
pub(crate) use wfe_core::traits::OWN_NAMES as RESERVED;

/// Refuses a name or id of the program that begins with [`RESERVED`]. `what` and `kind` are words of the message, such as
/// `event` and `id`.
///
/// # Errors
/// [`Invalid`](WfeError::Invalid): `text` begins with the prefix.
pub(crate) fn refuse_reserved(what: &str, kind: &str, text: &str) -> Result<()> {
    if text.starts_with(RESERVED) {
        return Err(WfeError::Invalid(format!(
            "{what} {kind} {text:?} begins with {RESERVED:?}, which is reserved for the engine; choose another {kind}"
        )));
    }
    Ok(())
}

/// Refuses an empty reference. It would be a key like any other, so all starts with it would give one instance.
pub(crate) fn refuse_empty_reference(reference: &str) -> Result<()> {
    if reference.is_empty() {
        return Err(WfeError::Invalid("the reference is empty; leave it out or choose one".to_owned()));
    }
    Ok(())
}

/// Runs workflows on a store. Cheap to clone: every clone is the same host.
///
/// Dropping the last clone ends the host as if the process had crashed: nothing that was stored is lost, and the next
/// host runs the interrupted steps again. Call [`stop`](Self::stop) to let running steps finish first.
///
/// A step or a middleware that captures a clone keeps the host alive, because the host owns the step and the
/// middleware. Such a host ends only when `stop` is called. As an alternative, let the step capture the sender of a
/// channel, and keep the clone where the receiver is.
#[derive(Clone)]
pub struct WorkflowHost(Arc<Inner>);

struct Inner {
    engine: Handle,
    claims: Arc<Claims>,
}

impl WorkflowHost {
    /// Creates a host on this store, with the default settings.
    pub fn new(provider: impl PersistenceProvider + 'static) -> Self {
        Self::builder(provider).build()
    }

    /// Configures a host on this store.
    pub fn builder(provider: impl PersistenceProvider + 'static) -> HostBuilder {
        Self::builder_shared(Arc::new(provider))
    }

    /// Configures a host on a store that the program also uses itself. Otherwise, this is like
    /// [`builder`](Self::builder).
    #[must_use]
    pub fn builder_shared(provider: Arc<dyn PersistenceProvider>) -> HostBuilder {
        HostBuilder::new(provider)
    }

    pub(crate) fn assemble(provider: Arc<dyn PersistenceProvider>, options: Options) -> Self {
        Self(Arc::new(Inner { engine: Handle::new(provider, options), claims: Arc::default() }))
    }

    /// Returns what the store of this host guarantees.
    ///
    /// ```
    /// # use wfe::{host::Guarantees, prelude::*};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    /// assert_eq!(host.guarantees(), Guarantees::OneTransactionPerStep);
    /// # host.stop().await
    /// # }
    /// ```
    #[must_use]
    pub fn guarantees(&self) -> Guarantees {
        self.store().guarantees
    }

    /// Registers a definition, and returns the handle of its workflow, which starts instances of the newest registered
    /// version. Stored instances that waited for this definition continue.
    ///
    /// # Errors
    /// [`InvalidDefinition`](WfeError::InvalidDefinition): a definition with this id and version is already registered.
    pub fn register<D: Data>(&self, definition: Definition<D>) -> Result<Workflow<D>> {
        let name = WorkflowName::named(definition.id().to_owned());
        self.register_any(definition)?;
        Ok(self.workflow(name))
    }

    /// Registers a definition whose data type may be erased, such as one of a list. Otherwise, this is like
    /// [`register`](Self::register).
    ///
    /// # Errors
    /// The errors of [`register`](Self::register), and [`Invalid`](WfeError::Invalid): the definition is one of the
    /// engine itself.
    pub fn register_any(&self, definition: impl Into<AnyDefinition>) -> Result<()> {
        let definition = definition.into();
        refuse_reserved("definition", "id", definition.id())?;
        self.engine().register(definition)
    }

    /// Starts the host: it resumes interrupted instances and runs steps from now on. Steps run on the tokio runtime
    /// on which this is called. The engine has its own thread.
    ///
    /// The host ends when that runtime is dropped, as if the process had crashed: other hosts take over its
    /// instances, and further calls to this host fail as after [`stop`](Self::stop). If several runtimes share a
    /// host, start the host on a runtime that outlives them. This concerns tests, for example, because each test has
    /// its own runtime.
    ///
    /// The host also ends when its store reports that it is lost ([`Unusable`](WfeError::Unusable)): the database was
    /// removed, replaced or damaged while it was open. No further steps start, the cancellation tokens of running
    /// steps are cancelled, and the host logs one error. All further calls to the host return the store's error. To
    /// recover, open the store again and create a new host on it.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the host was started before.
    /// * [`Closed`](WfeError::Closed): the host has ended.
    /// * The errors of the store: before the host starts, the store is created or upgraded if necessary.
    pub async fn start(&self) -> Result<()> {
        self.engine().launch().await
    }

    /// Subscribes to lifecycle events: what happens to instances from now on. Each event is sent after the commit
    /// that it reports. The events of one instance arrive in order.
    ///
    /// A host reports the start of the instances that it starts, including children of instances that it runs. It
    /// reports all later events only for instances that it runs itself. With several hosts on a store, one host may
    /// report the start of an instance, and another host the rest. If a process crashes between a commit and its
    /// event, that event is never sent.
    ///
    /// A receiver that falls far behind gets [`RecvError::Lagged`](broadcast::error::RecvError::Lagged) with the
    /// number of events that it missed.
    ///
    /// ```
    /// use wfe::{host::Lifecycle, prelude::*};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    /// let workflow = host.register(WorkflowBuilder::<u32>::new("w", 1).then("only", async |_, _| Ok(())).build()?)?;
    /// host.start().await?;
    /// let mut events = host.lifecycle();
    /// workflow.start(&1).await?;
    /// let mut seen = Vec::new();
    /// loop {
    ///     let event = events.recv().await.expect("the host runs, and no event was missed");
    ///     seen.push(match event.what {
    ///         Lifecycle::StepStarted { step, .. } => format!("{step} starts"),
    ///         Lifecycle::StepCompleted { step, .. } => format!("{step} completes"),
    ///         Lifecycle::Completed => break,
    ///         other => format!("{other:?}"),
    ///     });
    /// }
    /// assert_eq!(seen, ["Started", "only starts", "only completes"]);
    /// # host.stop().await
    /// # }
    /// ```
    #[must_use]
    pub fn lifecycle(&self) -> broadcast::Receiver<LifecycleEvent> {
        self.engine().lifecycle()
    }

    /// Stops the host. No further steps start. Running steps may finish within the [grace
    /// time](crate::host::HostBuilder::grace), and their results are stored. When the grace time is over, the
    /// cancellation tokens of the steps that still run are cancelled, and `stop` no longer waits for these steps. A
    /// second later the steps are dropped, unless they block their thread. The next host runs the interrupted steps
    /// again. Everything else stays in the store for the next start.
    ///
    /// The [workers](crate::external_tasks::Worker) of the host stop too, even if the host was never started. They
    /// claim nothing further, and may finish their activities within the same grace time. Activities that are not
    /// answered by then are dropped and given back, so that workers of other hosts get them at once.
    ///
    /// After `stop`, the calls that need a host return [`Closed`](WfeError::Closed): [`start`](Self::start), the start
    /// and the restart of instances, and the creation, change and trigger of schedules. So does
    /// [`outcome`](Self::outcome), unless the instance has ended. All calls that only use the store still work:
    /// [`status`](Self::status), [`data`](Self::data), [`failures`](Self::failures) and [`find`](Self::find);
    /// [`publish`](Self::publish) and the answers to activities and user tasks; `suspend`, `resume`, `skip`,
    /// `resume_from`, `cancel`, `terminate` and [`retry`](Self::retry). What they write takes effect on another host, or
    /// on the next one.
    ///
    /// # Errors
    /// * [`Closed`](WfeError::Closed): the host was stopped before, or has ended with the runtime on which it was
    ///   started. A call while another `stop` is in progress also gets this error at once, without waiting.
    /// * [`Unusable`](WfeError::Unusable): the store is lost: its file was removed, replaced or damaged while it was
    ///   open. The host has ended. Its last changes may not be stored, and it is unknown whether earlier changes
    ///   still exist.
    pub async fn stop(&self) -> Result<()> {
        let (claims, grace) = (self.claims(), self.engine().options().grace);
        let workers = || {
            claims.close();
            claims.drain(grace)
        };
        self.engine().stop(workers).await
    }

    pub(crate) fn engine(&self) -> &Handle {
        &self.0.engine
    }

    pub(crate) fn store(&self) -> &StoreAccess {
        self.0.engine.store()
    }

    /// The claims of the workers in this process.
    pub(crate) fn claims(&self) -> &Arc<Claims> {
        &self.0.claims
    }
}

impl fmt::Debug for WorkflowHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkflowHost")
            .field("guarantees", &self.guarantees())
            .field("definitions", &self.engine().definitions())
            .finish_non_exhaustive()
    }
}
