use std::sync::Arc;

use serde::de::DeserializeOwned;
use wfe_core::{Result, WfeError, steps::Results};

use super::workflow_host::WorkflowHost;
use crate::{
    engine::state::{
        outcome::{End, Outcome},
        shared::Shared,
    },
    host::{failures::Failures, status::InstanceStatus},
};

impl WorkflowHost {
    /// Waits for the end of an instance, which may have ended long ago or be run by another host on the same store.
    /// While it is suspended, this goes on waiting; [`status`](Self::status) tells.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Serialization`](WfeError::Serialization): its data is not a `D`.
    /// * [`Closed`](WfeError::Closed): the host was stopped before the end, or has ended with the runtime that it was
    ///   started on.
    /// * [`Unusable`](WfeError::Unusable): it has ended because its store is lost.
    pub async fn outcome<D: DeserializeOwned>(&self, id: &str) -> Result<Outcome<D>> {
        let shared = &self.0.shared;
        let _tidy = Tidy(shared, id);
        let mut shall_look = false;
        loop {
            let has_ended = self.has_ended();
            let (end, comes) = shared.waiters.wait(id);
            if (shall_look || !comes)
                && let Some(end) = End::of(shared.store.inspect(id).await?)
            {
                return end.typed(id);
            }
            if has_ended {
                return Err(shared.loss.or_closed());
            }
            let runs = self.engine().is_some();
            tokio::select! {
                // An error: the host has ended, or it is time to look.
                end = end => match end {
                    Ok(end) => return Arc::unwrap_or_clone(end).typed(id),
                    Err(_) => shall_look = true,
                },
                // The engine of a host that runs looks for all who wait.
                () = shared.options.clock.sleep(shared.options.poll_interval), if !runs => {}
            }
        }
    }

    /// Where an instance stands, and why it waits.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Corrupt`](WfeError::Corrupt): something stored of it does not decode, or cannot be: it has begun, but its pointers
    ///   are gone; it waits for an event, a child or an answer, but the row of that is gone or another's; it is due, but without
    ///   a time at which anybody would look at it; a step of it is in a status in which nothing goes on. The error names the
    ///   row. A host that takes such an instance up suspends it.
    pub async fn status(&self, id: &str) -> Result<InstanceStatus> {
        let loaded = self.0.shared.inspect(id).await?;
        let (definition, version) = (&loaded.instance.workflow_definition_id, loaded.instance.version);
        let is_registered = self.0.shared.definition(definition, version).is_some();
        let at_hand = self.0.shared.at_hand.of(id);
        let mut status = InstanceStatus::of(loaded, is_registered, &at_hand, self.0.shared.now());
        let retried: Vec<String> = status.retries().map(|(pointer, _)| pointer.to_owned()).collect();
        if retried.is_empty() {
            return Ok(status);
        }
        let failures = match self.0.shared.store.last_failures(id, &retried).await {
            Ok(failures) => failures,
            Err(WfeError::Unsupported(_)) => return Ok(status), // told as `None`
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

    /// The failures of an instance, oldest first, read page by page: those of attempts that were tried again too, each with
    /// its code and its chain of causes. After the end of the instance as well. An unknown instance has none.
    #[must_use]
    pub fn failures(&self, id: &str) -> Failures {
        Failures::new(self.0.shared.store.clone(), id)
    }

    /// The data of an instance as it is stored now, running or ended.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Serialization`](WfeError::Serialization): its data is not a `D`.
    pub async fn data<D: DeserializeOwned>(&self, id: &str) -> Result<D> {
        let loaded = self.0.shared.store.inspect(id).await?;
        Ok(serde_json::from_value(loaded.instance.data)?)
    }

    /// The results of a finished for-each on the main path of an instance, in order of completion, read page by page;
    /// also after the instance has ended.
    ///
    /// ```
    /// use wfe::{WorkflowHost, definition::{WorkflowBuilder, each, inline_item}};
    /// use wfe_sqlite::SqlitePersistenceProvider;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let squares = WorkflowBuilder::<Vec<u32>>::new("squares", 1)
    ///     .for_each("all", each(|numbers: &Vec<u32>| numbers.clone()), |one| {
    ///         one.then("square", inline_item(|_, _, n: u32| async move { Ok(n * n) }))
    ///     })
    ///     .build()?;
    /// let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await?);
    /// host.register(squares)?;
    /// host.start().await?;
    /// let id = host.start_workflow("squares", &vec![2_u32, 3]).await?;
    /// host.outcome::<Vec<u32>>(&id).await?;
    /// let (mut lines, mut results) = (Vec::new(), host.results::<u32>(&id, "all"));
    /// while let Some(one) = results.next().await.expect("they are numbers, and the store can be read") {
    ///     lines.push(format!("{}: {:?}", one.item, one.result.ok().flatten()));
    /// }
    /// assert_eq!(lines, ["2: Some(Number(4))", "3: Some(Number(9))"]);
    /// assert_eq!(host.data::<Vec<u32>>(&id).await?, [2, 3]);
    /// # host.stop().await
    /// # }
    /// ```
    #[must_use]
    pub fn results<T: DeserializeOwned>(&self, id: &str, for_each: &str) -> Results<T> {
        Results::of_instance(self.0.shared.store.clone(), id, for_each)
    }
}

/// Forgets a waiter whose wait is over or was dropped.
struct Tidy<'a>(&'a Shared, &'a str);

impl Drop for Tidy<'_> {
    fn drop(&mut self) {
        self.0.waiters.tidy(self.1);
    }
}
