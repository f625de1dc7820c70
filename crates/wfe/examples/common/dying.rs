//! For the tests of the examples: a process that dies right after something was stored.

use std::{
    env, process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe::{
    Result, WfeError,
    models::{Event, EventSubscription, WorkflowInstance},
    traits::{
        Claimed, Committed, Control, Fence, Owner, PersistenceProvider, Started, StepCommit, StepStore,
    },
};
use wfe_testkit::{Layer, Layered};

/// After how many commits the process dies.
const DIE_AFTER: &str = "WFE_EXAMPLE_DIE_AFTER";

/// This store; if the environment says so, one that ends the process after so many commits.
pub fn over(store: impl PersistenceProvider + 'static) -> Arc<dyn PersistenceProvider> {
    match env::var(DIE_AFTER).ok().and_then(|count| count.parse().ok()) {
        None => Arc::new(store),
        Some(count) => Arc::new(Layered(Dying { store, left: AtomicU64::new(count) })),
    }
}

struct Dying<S> {
    store: S,
    left: AtomicU64,
}

impl<S: PersistenceProvider + 'static> Dying<S> {
    fn steps(&self) -> Result<&dyn StepStore> {
        self.store.step_store().ok_or(WfeError::Unsupported("the engine's own trait"))
    }

    /// Something is on the disk, and nobody has been told of it.
    fn stored(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            process::abort();
        }
    }
}

#[async_trait]
impl<S: PersistenceProvider + 'static> Layer for Dying<S> {
    fn inner(&self) -> &dyn PersistenceProvider {
        &self.store
    }

    async fn create_event(&self, event: &Event) -> Result<String> {
        let id = self.store.create_event(event).await?;
        self.stored();
        Ok(id)
    }

    async fn create_event_now(&self, event: &Event) -> Result<String> {
        let id = self.store.create_event_now(event).await?;
        self.stored();
        Ok(id)
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        let started = self.steps()?.start(owner, instance).await?;
        if started.is_new {
            self.stored();
        }
        Ok(started)
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let committed = self.steps()?.commit_step(fence, step).await?;
        self.stored();
        Ok(committed)
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        let claimed = self.steps()?.claim(owner, definitions, as_at, limit).await?;
        if !claimed.is_empty() {
            self.stored();
        }
        Ok(claimed)
    }

    async fn acquire(&self, owner: &Owner, id: &str, as_at: DateTime<Utc>) -> Result<Option<Claimed>> {
        let claimed = self.steps()?.acquire(owner, id, as_at).await?;
        if claimed.is_some() {
            self.stored();
        }
        Ok(claimed)
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        self.steps()?.request(id, control).await?;
        self.stored();
        Ok(())
    }

    async fn claim_wait(
        &self,
        name: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        let claimed = self.steps()?.claim_wait(name, token, worker, expiry).await?;
        if claimed.is_some() {
            self.stored();
        }
        Ok(claimed)
    }

    async fn answer_wait(&self, wait: &str, token: Option<&str>, event: &Event) -> Result<bool> {
        let answered = self.steps()?.answer_wait(wait, token, event).await?;
        self.stored();
        Ok(answered)
    }
}
