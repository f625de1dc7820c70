//! Methods with which a test reads the state of instances.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use wfe::{
    Outcome, Result, WfeError,
    models::{ExecutionPointer, PointerStatus},
    status::{InstanceStatus, State},
    traits::{Finished, StepFailure, StepStore},
};

use super::TestHost;

/// The maximum number of rows that one read of the store returns.
const PAGE: usize = 256;

impl TestHost {
    /// Returns how an instance ended, or `None` if it has not ended.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::outcome`](wfe::WorkflowHost::outcome).
    pub async fn outcome<D: DeserializeOwned>(&self, id: &str) -> Result<Option<Outcome<D>>> {
        let host = self.host();
        if host.status(id).await?.state.is_final() { host.outcome(id).await.map(Some) } else { Ok(None) }
    }

    /// Returns the current state of an instance, and what the instance waits for.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::status`](wfe::WorkflowHost::status).
    pub async fn status(&self, id: &str) -> Result<InstanceStatus> {
        self.host().status(id).await
    }

    /// Returns the stable ids of the current steps of an instance.
    ///
    /// # Errors
    /// The errors of [`status`](Self::status).
    pub async fn current_steps(&self, id: &str) -> Result<Vec<String>> {
        Ok(self.status(id).await?.current_steps)
    }

    /// Returns the data of an instance as it is stored now.
    ///
    /// # Errors
    /// The errors of [`WorkflowHost::data`](wfe::WorkflowHost::data).
    pub async fn data<D: DeserializeOwned>(&self, id: &str) -> Result<D> {
        self.host().data(id).await
    }

    /// Returns the live execution pointers of an instance.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    pub async fn pointers(&self, id: &str) -> Result<Vec<ExecutionPointer>> {
        Ok(self.store.get_workflow_instance(id).await?.execution_pointers)
    }

    /// Returns the finished execution pointers of an instance in this container, in order of completion. Pass an empty
    /// string for the main path, which is in no container.
    ///
    /// # Errors
    /// * [`Unsupported`](WfeError::Unsupported): the store implements only the base traits (those of
    ///   [`PersistenceProvider`](wfe_core::traits::PersistenceProvider)).
    /// * The errors of the store.
    pub async fn history(&self, id: &str, container: &str) -> Result<Vec<Finished>> {
        let (steps, mut all) = (self.steps()?, Vec::<Finished>::new());
        loop {
            let after = all.last().map_or(0, |row| row.number);
            let page = steps.finished(id, container, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            for (_, row) in page {
                all.push(row?);
            }
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Returns the stored failures of an instance, oldest first.
    ///
    /// # Errors
    /// * [`Unsupported`](WfeError::Unsupported): the store cannot list failures.
    /// * The errors of the store.
    pub async fn failures(&self, id: &str) -> Result<Vec<StepFailure>> {
        self.host().failures(id).all().await
    }

    fn steps(&self) -> Result<Arc<dyn StepStore>> {
        self.store.clone().step_store().ok_or(WfeError::Unsupported("the engine's own trait"))
    }
}

/// The visible state of an instance, without the parts that differ from run to run. Use this type to compare two runs
/// of the same story.
#[derive(Debug, Clone, PartialEq)]
pub struct FinalState {
    /// Whether the instance has ended, and how.
    pub state: State,
    /// The `end` step that completed the instance. `None` means that no such step did.
    pub end_step: Option<String>,
    /// The data of the instance.
    pub data: Value,
    /// The live execution pointers by their ids, each with its status.
    pub pointers: BTreeMap<String, PointerStatus>,
    /// The failures of the instance's steps. Each failure is given by the id of its step, the number of its attempt and
    /// its code.
    pub failures: BTreeSet<(String, u32, String)>,
}

impl TestHost {
    /// Returns the state of an instance in a form that can be compared between two runs.
    ///
    /// # Errors
    /// The errors of [`status`](Self::status) and [`failures`](Self::failures).
    pub async fn final_state(&self, id: &str) -> Result<FinalState> {
        let status = self.status(id).await?;
        let failures = self.failures(id).await?.into_iter();
        Ok(FinalState {
            state: status.state,
            end_step: status.end_step,
            data: self.data(id).await?,
            pointers: self.pointers(id).await?.into_iter().map(|p| (p.id, p.status)).collect(),
            failures: failures.map(|f| (f.step, f.attempt, f.code)).collect(),
        })
    }
}
