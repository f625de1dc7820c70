use serde::de::DeserializeOwned;
use wfe_core::{Result, WfeError, steps::Results};

use super::workflow_host::{WorkflowHost, refuse_empty_reference};
use crate::{
    engine::Outcome,
    host::{failures::Failures, status::InstanceStatus},
};

impl WorkflowHost {
    /// Waits until an instance has ended, and returns how it ended. The instance may have ended long ago, and another
    /// host on the same store may run it. The host need not be started: it then polls the store
    /// ([`poll_interval`](crate::host::HostBuilder::poll_interval)).
    ///
    /// The call keeps waiting while the instance is suspended, and while no host that has its definition runs on the
    /// store. A suspended instance, and a store without a living host, are logged once, with what to do.
    /// [`status`](Self::status) shows what an instance waits for. On a host of a test (`TestHost` of `wfe-testkit`), a
    /// wait while no host runs is an error.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Serialization`](WfeError::Serialization): the data of the instance does not deserialize as `D`.
    /// * [`Invalid`](WfeError::Invalid): on a host of a test, no host runs on the store.
    /// * [`Closed`](WfeError::Closed): the host ended before the instance did, by [`stop`](Self::stop) or with the
    ///   runtime on which it was started.
    /// * [`Unusable`](WfeError::Unusable): the host has ended because its store is lost.
    pub async fn outcome<D: DeserializeOwned>(&self, id: &str) -> Result<Outcome<D>> {
        self.engine().wait_end(id).await?.typed(id)
    }

    /// Another name of [`outcome`](Self::outcome).
    ///
    /// # Errors
    /// The errors of [`outcome`](Self::outcome).
    pub async fn wait_for<D: DeserializeOwned>(&self, id: &str) -> Result<Outcome<D>> {
        self.outcome(id).await
    }

    /// Returns the id of the instance to which this reference belongs: the instance of this definition that was
    /// [started with the reference](crate::host::Starting::reference), or the newest [restart](Self::restart) of it.
    /// `None` means that there is no such instance. [`Workflow::find`](crate::host::Workflow::find) is the typed form.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the reference is empty.
    /// * [`Unsupported`](WfeError::Unsupported): the store cannot look up references.
    /// * The errors of the store.
    pub async fn find(&self, definition: &str, reference: &str) -> Result<Option<String>> {
        refuse_empty_reference(reference)?;
        self.store().find(definition, reference).await
    }

    /// Returns the status of an instance: at which steps it is, and what it waits for.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Corrupt`](WfeError::Corrupt): the stored state of the instance does not decode, or contradicts itself. The
    ///   error names the row. A host that claims such an instance suspends it. The state contradicts itself if
    ///   * the instance has begun, but has no execution pointers,
    ///   * it waits for an event, a child or an answer, but has no subscription, or its subscription belongs to another
    ///     wait,
    ///   * it could run, but has no time at which a host would claim it, or
    ///   * a step has a status from which it can never continue.
    pub async fn status(&self, id: &str) -> Result<InstanceStatus> {
        let loaded = self.engine().inspect(id).await?;
        let (definition, version) = (&loaded.instance.workflow_definition_id, loaded.instance.version);
        let is_registered = self.engine().is_registered(definition, version);
        let bodies = self.engine().bodies_of(id);
        let mut status = InstanceStatus::of(loaded, is_registered, &bodies, self.engine().now());
        let retried: Vec<String> = status.retries().map(|(pointer, _)| pointer.to_owned()).collect();
        if retried.is_empty() {
            return Ok(status);
        }
        let failures = match self.store().last_failures(id, &retried).await {
            Ok(failures) => failures,
            Err(WfeError::Unsupported(_)) => return Ok(status), // `last` stays `None`
            Err(error) => return Err(error),
        };
        for failure in failures {
            let at = &failure.error.execution_pointer_id;
            if let Some((_, last)) = status.retries().find(|(pointer, _)| pointer == at) {
                *last = Some(Box::new(failure));
            }
        }
        Ok(status)
    }

    /// Returns the stored failures of an instance, oldest first, read page by page. They include the failures of
    /// attempts that were retried. Each failure has its code and its chain of causes. The failures stay readable
    /// after the instance has ended. An unknown instance has no failures.
    #[must_use]
    pub fn failures(&self, id: &str) -> Failures {
        Failures::new(self.store().steps.clone(), id)
    }

    /// Returns the data of an instance as it is stored now, whether the instance runs or has ended.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Serialization`](WfeError::Serialization): the data does not deserialize as `D`.
    pub async fn data<D: DeserializeOwned>(&self, id: &str) -> Result<D> {
        let loaded = self.store().inspect(id).await?;
        Ok(serde_json::from_value(loaded.instance.data)?)
    }

    /// Returns the results of a finished for-each on the main path of an instance, read page by page. The results
    /// come in the order in which the iterations completed. They stay readable after the instance has ended.
    ///
    /// ```
    /// use wfe::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let squares = WorkflowBuilder::<Vec<u32>>::new("squares", 1)
    ///     .for_each("all", |numbers| numbers.clone(), |one| one.call("square", |_, _, n| Ok(n * n)))
    ///     .build()?;
    /// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    /// let squares = host.register(squares)?;
    /// host.start().await?;
    /// let instance = squares.start(&vec![2, 3]).await?;
    /// instance.outcome().await?;
    /// let (mut lines, mut results) = (Vec::new(), instance.results::<u32>("all"));
    /// while let Some(one) = results.next().await.expect("they are numbers, and the store can be read") {
    ///     lines.push(format!("{}: {:?}", one.item, one.result.ok().flatten()));
    /// }
    /// assert_eq!(lines, ["2: Some(Number(4))", "3: Some(Number(9))"]);
    /// assert_eq!(instance.data().await?, [2, 3]);
    /// # host.stop().await
    /// # }
    /// ```
    #[must_use]
    pub fn results<T: DeserializeOwned>(&self, id: &str, for_each: &str) -> Results<T> {
        Results::of_instance(self.store().steps.clone(), id, for_each)
    }
}
