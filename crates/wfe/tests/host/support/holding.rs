use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use wfe::{
    Result,
    models::{PointerStatus, WorkflowInstance},
    traits::{Committed, Fence, Loaded, Owner, PersistenceProvider, Started, StepCommit, StepStore},
};
use wfe_testkit::{Layer, Layered};

use super::Count;

/// Where a call of a store stands still.
#[derive(Clone, Default)]
pub struct Gate {
    is_shut: Arc<AtomicBool>,
    /// How many calls were held.
    pub came: Count,
    /// How many instances were read.
    pub loads: Count,
    go: Arc<Pass>,
}

struct Pass(Semaphore);

impl Default for Pass {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Gate {
    /// For the next one that comes.
    pub fn shut(&self) {
        self.is_shut.store(true, SeqCst);
    }

    /// Lets the one go on that has come.
    pub fn open(&self) {
        self.go.0.add_permits(1);
    }

    async fn pass(&self) {
        if self.is_shut.swap(false, SeqCst) {
            self.came.up();
            self.go.0.acquire().await.unwrap().forget();
        }
    }
}

/// A provider that holds what changes an instance's status before it is stored.
pub fn before_status(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Status }))
}

/// A provider that holds what ends a step before it is stored.
pub fn before_results(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Result }))
}

/// A provider that holds the answers to starts, after they were stored.
pub fn after_starts(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Start }))
}

/// A provider that holds the answers to commits that begin children, after they were stored.
pub fn after_births(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Birth }))
}

/// A provider that holds the answers to loads.
pub fn after_loads(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Load }))
}

/// A provider that answers the first question for items only when there is a second one.
pub fn crossing(inner: Arc<dyn PersistenceProvider>, asked: &Count) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Crossing { inner, asked: asked.clone(), second: Notify::new() }))
}

struct Crossing {
    inner: Arc<dyn PersistenceProvider>,
    asked: Count,
    second: Notify,
}

#[async_trait]
impl Layer for Crossing {
    fn inner(&self) -> &dyn PersistenceProvider {
        &*self.inner
    }

    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>> {
        match self.asked.up() {
            1 => self.second.notified().await,
            2 => self.second.notify_one(),
            _ => {}
        }
        self.inner.step_store().unwrap().items(id, container, from, limit).await
    }
}

#[derive(PartialEq)]
enum At {
    Load,
    Status,
    Result,
    Start,
    Birth,
}

struct Holding {
    inner: Arc<dyn PersistenceProvider>,
    gate: Gate,
    at: At,
}

impl Holding {
    fn steps(&self) -> &dyn StepStore {
        self.inner.step_store().unwrap()
    }
}

#[async_trait]
impl Layer for Holding {
    fn inner(&self) -> &dyn PersistenceProvider {
        &*self.inner
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        let started = self.steps().start(owner, instance).await;
        if self.at == At::Start {
            self.gate.pass().await;
        }
        started
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        if self.at == At::Status && step.status.is_some() {
            self.gate.pass().await;
        }
        let ends_a_step =
            step.finished.iter().chain(&step.upserted).any(|p| p.status == PointerStatus::Complete);
        if self.at == At::Result && ends_a_step {
            self.gate.pass().await;
        }
        let committed = self.steps().commit_step(fence, step).await;
        if self.at == At::Birth && !step.created.is_empty() {
            self.gate.pass().await;
        }
        committed
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        self.gate.loads.up();
        let loaded = self.steps().load(id).await;
        if self.at == At::Load {
            self.gate.pass().await;
        }
        loaded
    }
}
