use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use wfe::{
    Result, WfeError,
    models::WorkflowInstance,
    traits::{
        Claimed, Committed, Control, Fence, Finished, Loaded, Owner, PersistenceProvider, Started,
        StepCommit, StepStore,
    },
};

use super::Wrapped;

/// What goes wrong with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It is stored, but the answer does not tell.
    StoredUnknown,
    /// It is not stored, and the answer does not tell.
    UnstoredUnknown,
    Busy,
    Full,
    Broken,
    Invalid,
}

/// A provider whose commits meet these faults, one after the other and again from the first.
pub fn faulty(inner: Arc<dyn PersistenceProvider>, faults: Vec<Fault>) -> Arc<dyn PersistenceProvider> {
    let steps =
        Faulty { inner: inner.clone(), faults, commits: Mutex::new(0), unreadable: false, claimed: None };
    Arc::new(Wrapped { inner, steps: Some(Box::new(steps)) })
}

/// A provider whose instances cannot be loaded.
pub fn unreadable(inner: Arc<dyn PersistenceProvider>) -> Arc<dyn PersistenceProvider> {
    let faults = vec![Fault::None];
    let steps =
        Faulty { inner: inner.clone(), faults, commits: Mutex::new(0), unreadable: true, claimed: None };
    Arc::new(Wrapped { inner, steps: Some(Box::new(steps)) })
}

/// A provider that does this after each claim, before it answers.
pub fn after_claims(
    inner: Arc<dyn PersistenceProvider>,
    act: impl Fn() + Send + Sync + 'static,
) -> Arc<dyn PersistenceProvider> {
    let (faults, claimed) = (vec![Fault::None], Some(Box::new(act) as Box<_>));
    let steps = Faulty { inner: inner.clone(), faults, commits: Mutex::new(0), unreadable: false, claimed };
    Arc::new(Wrapped { inner, steps: Some(Box::new(steps)) })
}

struct Faulty {
    inner: Arc<dyn PersistenceProvider>,
    faults: Vec<Fault>,
    commits: Mutex<usize>,
    unreadable: bool,
    claimed: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Faulty {
    fn steps(&self) -> &dyn StepStore {
        self.inner.step_store().unwrap()
    }
}

#[async_trait]
impl StepStore for Faulty {
    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let fault = {
            let mut commits = self.commits.lock().unwrap();
            *commits += 1;
            self.faults[*commits % self.faults.len()]
        };
        let (message, source) = ("injected".to_owned(), None);
        match fault {
            Fault::None => self.steps().commit_step(fence, step).await,
            Fault::StoredUnknown => {
                self.steps().commit_step(fence, step).await?;
                Err(WfeError::CommitUnknown { message, source })
            }
            Fault::UnstoredUnknown => Err(WfeError::CommitUnknown { message, source }),
            Fault::Busy => Err(WfeError::Busy { message, source }),
            Fault::Full => Err(WfeError::Full { message, source }),
            Fault::Broken => Err(WfeError::Storage { message, source }),
            Fault::Invalid => Err(WfeError::Invalid(message)),
        }
    }

    async fn enlist(&self) -> Result<Owner> {
        self.steps().enlist().await
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        self.steps().start(owner, instance).await
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        let claimed = self.steps().claim(owner, definitions, as_at, limit).await;
        self.claimed.iter().for_each(|act| act());
        claimed
    }

    async fn acquire(&self, owner: &Owner, id: &str, as_at: DateTime<Utc>) -> Result<Option<Claimed>> {
        self.steps().acquire(owner, id, as_at).await
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        if self.unreadable {
            let (table, column, row) = ("workflows", "data", id.to_owned());
            return Err(WfeError::Corrupt {
                table,
                column,
                row,
                message: "injected".to_owned(),
                source: None,
            });
        }
        self.steps().load(id).await
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        self.steps().request(id, control).await
    }

    async fn finish_event(&self, event_id: &str) -> Result<bool> {
        self.steps().finish_event(event_id).await
    }

    async fn finished(&self, id: &str, container: &str, after: u64, limit: usize) -> Result<Vec<Finished>> {
        self.steps().finished(id, container, after, limit).await
    }

    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>> {
        self.steps().items(id, container, from, limit).await
    }

    async fn upcoming(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>> {
        self.steps().upcoming(definitions, after, limit).await
    }
}
