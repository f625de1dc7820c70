//! What a test sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use wfe::{
    InstanceStatus, Outcome, Result, WfeError,
    models::{ExecutionPointer, PointerStatus, WorkflowStatus},
    traits::{Ending, Finished, StepFailure, StepStore},
};

use super::TestHost;

/// Rows read from the store at once.
const PAGE: usize = 256;

impl TestHost {
    /// How an instance has ended; `None`: it has not.
    ///
    /// # Errors
    /// Those of [`WorkflowHost::wait_for`](wfe::WorkflowHost::wait_for).
    pub async fn outcome<D: DeserializeOwned>(&self, id: &str) -> Result<Option<Outcome<D>>> {
        let host = self.host();
        if host.status(id).await?.status.is_final() { host.outcome(id).await.map(Some) } else { Ok(None) }
    }

    /// As [`WorkflowHost::status`](wfe::WorkflowHost::status): where an instance stands, and why it waits.
    ///
    /// # Errors
    /// Those of [`WorkflowHost::status`](wfe::WorkflowHost::status).
    pub async fn status(&self, id: &str) -> Result<InstanceStatus> {
        self.host().status(id).await
    }

    /// The stable ids of the steps at which it stands.
    ///
    /// # Errors
    /// Those of [`status`](Self::status).
    pub async fn current_steps(&self, id: &str) -> Result<Vec<String>> {
        Ok(self.status(id).await?.current_steps)
    }

    /// As [`WorkflowHost::data`](wfe::WorkflowHost::data).
    ///
    /// # Errors
    /// Those of [`WorkflowHost::data`](wfe::WorkflowHost::data).
    pub async fn data<D: DeserializeOwned>(&self, id: &str) -> Result<D> {
        self.host().data(id).await
    }

    /// Its live pointers.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    pub async fn pointers(&self, id: &str) -> Result<Vec<ExecutionPointer>> {
        Ok(self.store.get_workflow_instance(id).await?.execution_pointers)
    }

    /// Its finished pointers that are history, inside of this pointer (empty: the main path), in order of completion.
    ///
    /// # Errors
    /// Those of the store; [`Unsupported`](WfeError::Unsupported): it has only the plain traits.
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

    /// The failures of its steps, oldest first.
    ///
    /// # Errors
    /// Those of the store; [`Unsupported`](WfeError::Unsupported): it does not offer them.
    pub async fn failures(&self, id: &str) -> Result<Vec<StepFailure>> {
        self.host().failures(id).all().await
    }

    fn steps(&self) -> Result<Arc<dyn StepStore>> {
        self.store.clone().step_store().ok_or(WfeError::Unsupported("the engine's own trait"))
    }
}

/// Where an instance stands or how it ended, as far as anybody can see and without what differs from run to run: to
/// compare two runs of one story.
#[derive(Debug, Clone, PartialEq)]
pub struct FinalState {
    /// Its status.
    pub status: WorkflowStatus,
    /// How it ended; `None`: it has not.
    pub ending: Option<Ending>,
    /// Its data.
    pub data: Value,
    /// Its live pointers, and how each stands.
    pub pointers: BTreeMap<String, PointerStatus>,
    /// The failures of its steps: step, attempt, code.
    pub failures: BTreeSet<(String, u32, String)>,
}

impl TestHost {
    /// The state of an instance, to compare it.
    ///
    /// # Errors
    /// Those of [`status`](Self::status) and [`failures`](Self::failures).
    pub async fn final_state(&self, id: &str) -> Result<FinalState> {
        let status = self.status(id).await?;
        let failures = self.failures(id).await?.into_iter();
        Ok(FinalState {
            status: status.status,
            ending: status.ending,
            data: self.data(id).await?,
            pointers: self.pointers(id).await?.into_iter().map(|p| (p.id, p.status)).collect(),
            failures: failures.map(|f| (f.step, f.attempt, f.code)).collect(),
        })
    }
}
