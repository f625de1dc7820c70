use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
};

use serde_json::Value;
use wfe_core::{
    Result, RetryRefusal, WfeError,
    definition::{Data, to_value},
    models::WorkflowInstance,
    traits::Loaded,
};

use super::{
    start::Started,
    workflow_host::{RESERVED, WorkflowHost, refuse_reserved},
};
use crate::{engine::StartRule, metrics};

/// Makes the new instance from the ended one: `(host, ended instance, version)`.
type Make = Box<dyn FnOnce(&WorkflowHost, &WorkflowInstance, Option<u32>) -> Result<WorkflowInstance> + Send>;

/// A restart with its options. It happens when it is awaited.
#[must_use = "nothing starts before it is awaited"]
pub struct Restarting<D> {
    host: WorkflowHost,
    of: String,
    version: Option<u32>,
    name: Option<String>,
    description: Option<String>,
    make: Make,
    data: PhantomData<fn(D)>,
}

impl WorkflowHost {
    /// Starts a new instance in place of an ended one, with this data, once the result is awaited:
    /// `host.restart(id, &data).await?`. The new instance begins at the first step.
    ///
    /// The new instance runs the newest version of the same definition that is registered with the host;
    /// [`version`](Restarting::version) chooses another one. However the old instance ended, it stays as it is, with its
    /// data and its failures. The two instances are linked: [`status`](Self::status) of each names the other.
    ///
    /// If the old instance was started with a [reference](crate::host::Starting::reference), the reference now belongs
    /// to the new instance: [`find`](Self::find) and later starts with this reference return the new one. An instance can
    /// be restarted once; then restart the new instance. If the old instance was a child, its parent does not receive the
    /// end of the new one. The old instance keeps its name, unless the new one [asks for it](Restarting::name).
    ///
    /// The restart is one transaction: after a crash or a dropped future, it has happened completely or not at all.
    ///
    /// To continue where the instance has failed instead, call [`retry`](Self::retry).
    ///
    /// # Errors
    /// The awaited result is an error in these cases:
    ///
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`CannotRetry`](WfeError::CannotRetry): the instance has not ended, was restarted before,
    ///   or belongs to the engine, as the instance of a schedule does.
    /// * [`Unsupported`](WfeError::Unsupported): the store implements only the base traits.
    /// * The errors of [`Workflow::start`](crate::host::Workflow::start). After
    ///   [`CommitUnknown`](WfeError::CommitUnknown), it is safe to repeat the call: if the restart was stored,
    ///   [`CannotRetry`](WfeError::CannotRetry) names the new instance.
    pub fn restart<D: Data>(&self, id: &str, data: &D) -> Restarting<D> {
        let data = to_value(data);
        Restarting::new(self, id, move |host, ended, version| {
            let definition = host.engine().definition(&ended.workflow_definition_id, version)?;
            definition.instance_of::<D>(data, host.engine().now())
        })
    }

    /// Starts a new instance in place of an ended one, with the data that the ended one had last. Otherwise, this is
    /// [`restart`](Self::restart).
    ///
    /// # Errors
    /// The errors of [`restart`](Self::restart), and [`Invalid`](WfeError::Invalid) if the version to run cannot read
    /// the data.
    pub fn restart_with_its_data(&self, id: &str) -> Restarting<Value> {
        Restarting::with_its_data(self, id)
    }
}

impl<D> Restarting<D> {
    fn new(
        host: &WorkflowHost,
        of: &str,
        make: impl FnOnce(&WorkflowHost, &WorkflowInstance, Option<u32>) -> Result<WorkflowInstance>
        + Send
        + 'static,
    ) -> Self {
        Self {
            host: host.clone(),
            of: of.to_owned(),
            version: None,
            name: None,
            description: None,
            make: Box::new(make),
            data: PhantomData,
        }
    }

    pub(super) fn with_its_data(host: &WorkflowHost, of: &str) -> Self {
        Self::new(host, of, |host, ended, version| {
            let definition = host.engine().definition(&ended.workflow_definition_id, version)?;
            let data = ended.data.clone();
            definition.check_data(&data)?;
            Ok(WorkflowInstance::created_at(definition.id(), definition.version(), data, host.engine().now()))
        })
    }

    /// Sets the version of the definition to run. By default, it is the newest registered version.
    pub fn version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }

    /// Sets the name of the new instance, unique among all instances. By default, and if the given name is empty, the
    /// new instance's id is its name, and the old instance keeps its own.
    ///
    /// If the old instance has this name, the name passes to the new one, and the id of the old one becomes its name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the description of the new instance. By default, it is that of the old one.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    async fn run(self) -> Result<Started<D>> {
        let Self { host, of, version, name, description, make, .. } = self;
        let Loaded { instance: ended, attributes, .. } = host.store().inspect(&of).await?;
        if ended.workflow_definition_id.starts_with(RESERVED) {
            return Err(WfeError::CannotRetry { id: of, reason: RetryRefusal::Engine });
        }
        let mut instance = make(&host, &ended, version)?;
        instance.reference = ended.reference;
        instance.name = name.unwrap_or_default();
        refuse_reserved("instance", "name", &instance.name)?;
        instance.description = description.or(ended.description);
        let stored = host.engine().start(instance, StartRule::Restart { of, attributes }).await?;
        if stored.is_new {
            metrics::requested("restart", "program");
        }
        Ok(Started::of(&host, stored))
    }
}

impl<D: 'static> IntoFuture for Restarting<D> {
    type Output = Result<Started<D>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<D> fmt::Debug for Restarting<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, version, name, .. } = self;
        f.debug_struct("Restarting")
            .field("of", of)
            .field("version", version)
            .field("name", name)
            .finish_non_exhaustive()
    }
}
