use wfe_core::{Result, WfeError, definition::Data};

use super::workflow_host::{RESERVED, WorkflowHost};

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
    /// Steps can read the reference with [`Ctx::reference`](wfe_core::steps::Ctx::reference). If it is `None`, every
    /// start creates an instance.
    pub reference: Option<String>,
    /// The version of the definition to run. `None` means the newest registered version.
    pub version: Option<u32>,
    /// A human-readable name, unique among all instances. If it is `None`, the instance's id becomes its name.
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
    /// * [`DefinitionNotFound`](WfeError::DefinitionNotFound): the definition is not registered. The error
    ///   has version 0 if no version is registered.
    /// * [`Invalid`](WfeError::Invalid): the definition has another data type; or the given name begins with `wfe.`,
    ///   which is reserved for the engine.
    /// * [`Closed`](WfeError::Closed): the host was stopped, or it ended because the runtime on which it was started has ended.
    /// * [`Unusable`](WfeError::Unusable): the store is lost, and the host has ended or will end soon.
    /// * The errors of the store. After [`CommitUnknown`](WfeError::CommitUnknown) the instance may or may not be
    ///   stored. If the caller gave a reference ([`StartOptions`]), it is safe to start the instance again.
    pub async fn start_workflow<D: Data>(&self, definition: &str, data: &D) -> Result<String> {
        self.start_workflow_with(definition, data, StartOptions::default()).await
    }

    /// Starts an instance with options. Otherwise, this is like [`start_workflow`](Self::start_workflow).
    ///
    /// # Errors
    /// * The errors of [`start_workflow`](Self::start_workflow).
    /// * [`AlreadyExists`](WfeError::AlreadyExists): another instance has the given name.
    pub async fn start_workflow_with<D: Data>(
        &self,
        definition: &str,
        data: &D,
        options: StartOptions,
    ) -> Result<String> {
        let engine = self.engine();
        let found = engine.find_definition(definition, options.version).ok_or_else(|| {
            WfeError::DefinitionNotFound { id: definition.to_owned(), version: options.version.unwrap_or(0) }
        })?;
        let mut instance = found.instance(data, engine.now())?;
        instance.name = options.name.unwrap_or_default();
        if instance.name.starts_with(RESERVED) {
            return Err(WfeError::Invalid(format!(
                "instance name {:?} begins with {RESERVED:?}, which is reserved for the engine; choose another name",
                instance.name
            )));
        }
        instance.reference = options.reference;
        instance.description = options.description;
        engine.start(instance).await
    }
}
