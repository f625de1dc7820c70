use std::{
    fmt,
    future::{Future, IntoFuture},
    ops::Deref,
    pin::Pin,
};

use serde_json::{Map, Value};
#[cfg(doc)]
use wfe_core::WfeError;
use wfe_core::{
    Result,
    definition::{Data, WorkflowName, to_value},
    limits::check_attributes,
    traits::Known,
};

use super::{
    instance::Instance,
    workflow_host::{WorkflowHost, refuse_empty_reference, refuse_reserved},
};
use crate::engine::{StartRule, StoredStart};

/// A workflow on a host: starts its instances, with data of type `D`. [`WorkflowHost::register`] and
/// [`WorkflowHost::workflow`] return it. Cheap to clone.
pub struct Workflow<D> {
    host: WorkflowHost,
    name: WorkflowName<D>,
}

impl<D: Data> Workflow<D> {
    /// The id of the definition.
    #[must_use]
    pub fn id(&self) -> &str {
        self.name.name()
    }

    pub(super) fn host(&self) -> &WorkflowHost {
        &self.host
    }

    /// Finds the instance to which this reference belongs: the instance that was started with the reference, or the newest
    /// [restart](WorkflowHost::restart) of it. `None` means that no instance of this workflow has the reference.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::find`].
    pub async fn find(&self, reference: &str) -> Result<Option<Instance<D>>> {
        let found = self.host.find(self.name.name(), reference).await?;
        Ok(found.map(|id| self.host.instance(id)))
    }

    /// The instance with this id, with typed calls. Nothing is read: an unknown id, or an instance of another workflow, is
    /// an error of the calls.
    #[must_use]
    pub fn instance(&self, id: impl Into<String>) -> Instance<D> {
        self.host.instance(id)
    }

    /// Starts an instance with this data, once the result is awaited: `orders.start(&order).await?`. Options come
    /// before: `orders.start(&order).reference("order-17").await?`.
    ///
    /// By default, the instance runs the newest version of the definition that is registered with the host. When this
    /// returns, the instance is stored. If the host is not started, the instance waits in the store. If the host runs
    /// and the future is dropped, the instance may still be stored; if so, it runs.
    ///
    /// ```
    /// use wfe::prelude::*;
    ///
    /// fn version(number: u32) -> Result<Definition<u32>, Error> {
    ///     WorkflowBuilder::<u32>::new("w", number).change("write", move |data| *data = number).build()
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    /// host.register(version(1)?)?;
    /// let workflow = host.register(version(2)?)?;
    /// host.start().await?;
    /// assert_eq!(workflow.start(&0).await?.outcome().await?.completed()?, 2);
    /// let old = workflow.start(&0).version(1).reference("order 7").await?;
    /// assert_eq!(old.outcome().await?.completed()?, 1);
    /// // A second start with the same reference finds the same instance.
    /// let again = workflow.start(&0).reference("order 7").await?;
    /// assert_eq!((again.id(), again.is_new), (old.id(), false));
    /// # host.stop().await
    /// # }
    /// ```
    ///
    /// Data of another type does not compile:
    ///
    /// ```compile_fail,E0308
    /// use wfe::prelude::*;
    ///
    /// async fn start(numbers: &Workflow<u32>) {
    ///     let _ = numbers.start(&"one").await;
    /// }
    /// ```
    ///
    /// # Errors
    /// The awaited result is an error in these cases:
    ///
    /// * [`DefinitionNotFound`](WfeError::DefinitionNotFound): the definition is not registered. The error has version
    ///   0 if no version is registered.
    /// * [`Invalid`](WfeError::Invalid): the definition has another data type; or the given name begins with `wfe.`,
    ///   which is reserved for the engine; or the given reference is empty.
    /// * [`AlreadyExists`](WfeError::AlreadyExists): another instance has the given name, and the new one does not
    ///   replace it.
    /// * [`AlreadyStarted`](WfeError::AlreadyStarted): the reference is known, and the start
    ///   [refuses](Known::Refuse) a known reference. The error names the stored instance.
    /// * [`Unsupported`](WfeError::Unsupported): the store supports only [`Known::Existing`].
    /// * [`Closed`](WfeError::Closed): the host was stopped, or it ended because the runtime on which it was started
    ///   has ended.
    /// * [`Unusable`](WfeError::Unusable): the store is lost, and the host has ended or will end soon.
    /// * The errors of the store. After [`CommitUnknown`](WfeError::CommitUnknown) the instance may or may not be
    ///   stored. If the caller gave a reference, it is safe to start the instance again.
    pub fn start(&self, data: &D) -> Starting<D> {
        Starting {
            workflow: self.clone(),
            data: to_value(data),
            reference: None,
            known: Known::Existing,
            version: None,
            name: None,
            description: None,
            attributes: Map::new(),
        }
    }
}

// Derived, these would ask the same of the data.
impl<D> Clone for Workflow<D> {
    fn clone(&self) -> Self {
        Self { host: self.host.clone(), name: self.name.clone() }
    }
}

impl<D> fmt::Debug for Workflow<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Workflow").field(&self.name.name()).finish()
    }
}

/// A start with its options. It happens when it is awaited.
#[must_use = "nothing starts before it is awaited"]
pub struct Starting<D> {
    workflow: Workflow<D>,
    /// The data, or why they cannot be serialised, which the awaited result tells.
    data: serde_json::Result<Value>,
    reference: Option<String>,
    known: Known,
    version: Option<u32>,
    name: Option<String>,
    description: Option<String>,
    attributes: Map<String, Value>,
}

impl<D> Starting<D> {
    /// Sets the caller's own key for the instance. It makes the start idempotent: a second start with the same
    /// definition id and reference starts nothing and returns the stored instance, whatever its version and status.
    /// [`if_known`](Self::if_known) chooses another behaviour. Without a reference, every start creates an instance.
    /// An empty reference is refused when the start is awaited.
    ///
    /// Steps can read the reference with [`Ctx::reference`](wfe_core::steps::Ctx::reference).
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// Sets what happens if an instance with the same definition id and [reference](Self::reference) is stored already.
    /// By default, the start returns the stored instance ([`Known::Existing`]). The store decides in the transaction of
    /// the start, so two processes that start with the same reference never have two instances of it that run. Without a
    /// reference, this has no effect.
    ///
    /// With [`Known::RestartIfFailed`], several starts at the same time do not count as one. The first one restarts the
    /// failed instance. If the new instance fails before the next start is stored, that start restarts it once more.
    ///
    /// ```
    /// use wfe::{host::Known, prelude::*};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let fails = WorkflowBuilder::<bool>::new("import", 1)
    ///     .call("read", |_, good| if *good { Ok(()) } else { Err(StepError::fatal("no such file")) });
    /// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    /// let imports = host.register(fails.build()?)?;
    /// host.start().await?;
    /// let first = imports.start(&false).reference("2026-03").await?;
    /// first.outcome().await?;
    /// let second = imports.start(&true).reference("2026-03").if_known(Known::RestartIfFailed).await?;
    /// assert_eq!((second.is_new, second.restart_of.as_deref()), (true, Some(first.id())));
    /// assert!(second.outcome().await?.completed()?);
    /// // It completed, so the next start finds it.
    /// let third = imports.start(&true).reference("2026-03").if_known(Known::RestartIfFailed).await?;
    /// assert_eq!((third.is_new, third.id()), (false, second.id()));
    /// let refused = imports.start(&true).reference("2026-03").if_known(Known::Refuse).await;
    /// assert_eq!(refused.unwrap_err().code(), "already-started");
    /// # host.stop().await
    /// # }
    /// ```
    pub fn if_known(mut self, known: Known) -> Self {
        self.known = known;
        self
    }

    /// Sets the version of the definition to run. By default, it is the newest registered version.
    pub fn version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }

    /// Sets a human-readable name, unique among all instances. By default, and if the given name is empty, the
    /// instance's id is its name.
    ///
    /// If the start [restarts](Known::RestartIfFailed) a failed instance that has this name, the name passes to the new
    /// instance, and the id of the failed one becomes its name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets a human-readable description. The engine does not use it.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets an attribute of the instance: a text, a number or a boolean, by which operators find the instance in listings.
    /// A later call with the same key replaces the value. Steps can change the attributes
    /// ([`Ctx::set_attribute`](wfe_core::steps::Ctx::set_attribute)). A start that finds a stored instance changes nothing
    /// of that instance.
    ///
    /// When the start is awaited, it fails with [`Invalid`](WfeError::Invalid) or [`Unstorable`](WfeError::Unstorable) if
    /// [no attribute](wfe_core::limits::check_attributes) can have the key or the value, and with
    /// [`Unsupported`](WfeError::Unsupported) if the store keeps no attributes.
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }
}

impl<D: Data> Starting<D> {
    async fn run(self) -> Result<Started<D>> {
        let Self {
            workflow: Workflow { host, name: definition },
            data,
            reference,
            known,
            version,
            name,
            description,
            attributes,
        } = self;
        let engine = host.engine();
        let found = engine.definition(definition.name(), version)?;
        let mut instance = found.instance_of::<D>(data, engine.now())?;
        instance.name = name.unwrap_or_default();
        refuse_reserved("instance", "name", &instance.name)?;
        check_attributes(&attributes)?;
        reference.as_deref().map_or(Ok(()), refuse_empty_reference)?;
        instance.reference = reference;
        instance.description = description;
        let stored = engine.start(instance, StartRule::Known { known, attributes }).await?;
        Ok(Started::of(&host, stored))
    }
}

impl<D: Data> IntoFuture for Starting<D> {
    type Output = Result<Started<D>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<D> fmt::Debug for Starting<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workflow, reference, known, version, name, .. } = self;
        f.debug_struct("Starting")
            .field("workflow", workflow)
            .field("reference", reference)
            .field("known", known)
            .field("version", version)
            .field("name", name)
            .finish_non_exhaustive()
    }
}

/// A stored instance, and whether this call has started it. It dereferences to the [`Instance`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Started<D> {
    /// The instance.
    pub instance: Instance<D>,
    /// Whether this call started the instance. False: an instance with the same definition id and
    /// [reference](Starting::reference) was stored before.
    pub is_new: bool,
    /// The id of the ended instance that the new instance replaces. `None`: the start was no
    /// [restart](WorkflowHost::restart).
    pub restart_of: Option<String>,
}

impl<D> Started<D> {
    pub(super) fn of(host: &WorkflowHost, stored: StoredStart) -> Self {
        let StoredStart { id, is_new, restart_of } = stored;
        Self { instance: host.instance(id), is_new, restart_of }
    }

    /// The id of the instance, without the host.
    #[must_use]
    pub fn into_id(self) -> String {
        self.instance.into_id()
    }
}

impl<D> Deref for Started<D> {
    type Target = Instance<D>;

    fn deref(&self) -> &Instance<D> {
        &self.instance
    }
}

impl WorkflowHost {
    /// The workflow with this name, for a process that starts instances without the definition at hand. The definition
    /// must be registered before the first start.
    #[must_use]
    pub fn workflow<D: Data>(&self, name: WorkflowName<D>) -> Workflow<D> {
        Workflow { host: self.clone(), name }
    }

    /// Starts an instance of the newest version of a definition, and returns its id once the instance is stored. It is
    /// another form of [`Workflow::start`], whose documentation has the rules.
    ///
    /// If the host is not started, the instance is stored and waits. If the host runs and the returned future is
    /// dropped, the instance may still be stored; if so, it runs.
    ///
    /// # Errors
    /// The errors of [`Workflow::start`].
    pub async fn start_workflow<D: Data>(&self, definition: &str, data: &D) -> Result<String> {
        let started = self.workflow(WorkflowName::named(definition.to_owned())).start(data).await?;
        Ok(started.into_id())
    }
}
