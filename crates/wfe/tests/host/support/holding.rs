use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{Notify, Semaphore};
use wfe::{
    Result,
    models::{Event, PointerStatus, WorkflowInstance},
    traits::{
        Claimed, Committed, Control, Fence, Loaded, Owner, PersistenceProvider, Published, Requested,
        Started, StepCommit, StepStore,
    },
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
    /// How often due instances were claimed.
    pub claims: Count,
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

    /// Lets the one go on that has come, and shuts behind it.
    pub fn shut_behind(&self) {
        self.shut();
        self.open();
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
pub fn after_child_starts(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::ChildStart }))
}

/// A provider that holds the answers to loads.
pub fn after_loads(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Load }))
}

/// A provider that holds events before they are stored.
pub fn before_events(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Event }))
}

/// A provider that holds control requests before they are stored.
pub fn before_requests(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Request }))
}

/// A provider that holds starts before they are stored.
pub fn before_starts(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::NewInstance }))
}

/// A provider that holds what ends an instance before it is stored.
pub fn before_ends(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::End }))
}

/// A provider that holds the answers to commits that give an instance back, after they were stored.
pub fn after_releases(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Release }))
}

/// A provider that holds the answers to claims, after what they claim is stored.
pub fn holding_claims(inner: Arc<dyn PersistenceProvider>, gate: &Gate) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Holding { inner, gate: gate.clone(), at: At::Claim }))
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
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>> {
        match self.asked.up() {
            1 => self.second.notified().await,
            2 => self.second.notify_one(),
            _ => {}
        }
        self.inner.clone().step_store().unwrap().items(id, container, from, limit).await
    }
}

#[derive(PartialEq)]
enum At {
    Load,
    Status,
    Result,
    Start,
    ChildStart,
    Event,
    Request,
    NewInstance,
    End,
    Release,
    Claim,
}

struct Holding {
    inner: Arc<dyn PersistenceProvider>,
    gate: Gate,
    at: At,
}

impl Holding {
    fn steps(&self) -> Arc<dyn StepStore> {
        self.inner.clone().step_store().unwrap()
    }
}

#[async_trait]
impl Layer for Holding {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        if self.at == At::NewInstance {
            self.gate.pass().await;
        }
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
        if self.at == At::End && step.status.is_some_and(wfe::models::WorkflowStatus::is_final) {
            self.gate.pass().await;
        }
        let committed = self.steps().commit_step(fence, step).await;
        if (self.at == At::ChildStart && !step.created.is_empty()) || (self.at == At::Release && step.release)
        {
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

    async fn create_event(&self, event: &Event) -> Result<String> {
        if self.at == At::Event {
            self.gate.pass().await;
        }
        self.inner.create_event(event).await
    }

    async fn create_event_now(&self, event: &Event) -> Result<String> {
        if self.at == At::Event {
            self.gate.pass().await;
        }
        self.inner.create_event_now(event).await
    }

    async fn publish(&self, event: &Event, is_dated: bool, receiver: Option<&str>) -> Result<Published> {
        if self.at == At::Event {
            self.gate.pass().await;
        }
        self.steps().publish(event, is_dated, receiver).await
    }

    async fn request(&self, id: &str, control: Control) -> Result<Requested> {
        if self.at == At::Request {
            self.gate.pass().await;
        }
        self.steps().request(id, control).await
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        let claimed = self.steps().claim(owner, definitions, as_at, limit).await;
        self.gate.claims.up();
        if self.at == At::Claim {
            self.gate.pass().await;
        }
        claimed
    }
}
