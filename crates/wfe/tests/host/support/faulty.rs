use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe::{
    Result, WfeError,
    traits::{Claimed, Committed, Fence, Loaded, Owner, PersistenceProvider, StepCommit, StepStore},
};
use wfe_testkit::{Layer, Layered};

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
    /// A wait was closed behind the engine's back.
    Stale,
}

/// A provider whose commits meet these faults, one after the other and again from the first.
pub fn faulty(inner: Arc<dyn PersistenceProvider>, faults: Vec<Fault>) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Faulty { faults, ..Faulty::sound(inner) }))
}

/// A provider that will never take those commits, as one with narrower limits than others.
pub fn refusing(
    inner: Arc<dyn PersistenceProvider>,
    refuses: impl Fn(&StepCommit) -> bool + Send + Sync + 'static,
) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Faulty { refuses: Some(Box::new(refuses)), ..Faulty::sound(inner) }))
}

/// A provider whose commits meet the faults that are chosen for them.
pub fn choosing(
    inner: Arc<dyn PersistenceProvider>,
    choose: impl Fn(&StepCommit) -> Fault + Send + Sync + 'static,
) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Faulty { choose: Some(Box::new(choose)), ..Faulty::sound(inner) }))
}

/// A provider whose instances cannot be loaded.
pub fn unreadable(inner: Arc<dyn PersistenceProvider>) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Faulty { unreadable: true, ..Faulty::sound(inner) }))
}

/// A provider that does this after each claim, before it answers.
pub fn after_claims(
    inner: Arc<dyn PersistenceProvider>,
    act: impl Fn() + Send + Sync + 'static,
) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Faulty { claimed: Some(Box::new(act)), ..Faulty::sound(inner) }))
}

/// A provider with the plain traits alone, as a minimal store of somebody else's.
pub fn plain(inner: Arc<dyn PersistenceProvider>) -> Arc<dyn PersistenceProvider> {
    Arc::new(Layered(Plain(inner)))
}

struct Plain(Arc<dyn PersistenceProvider>);

impl Layer for Plain {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.0
    }

    fn has_step_store(&self) -> bool {
        false
    }
}

/// Which commits it will never take.
type Refuses = dyn Fn(&StepCommit) -> bool + Send + Sync;
/// What goes wrong with a commit.
type Choose = dyn Fn(&StepCommit) -> Fault + Send + Sync;

struct Faulty {
    inner: Arc<dyn PersistenceProvider>,
    faults: Vec<Fault>,
    commits: Mutex<usize>,
    unreadable: bool,
    claimed: Option<Box<dyn Fn() + Send + Sync>>,
    refuses: Option<Box<Refuses>>,
    choose: Option<Box<Choose>>,
}

impl Faulty {
    fn sound(inner: Arc<dyn PersistenceProvider>) -> Self {
        Self {
            inner,
            faults: vec![Fault::None],
            commits: Mutex::new(0),
            unreadable: false,
            claimed: None,
            refuses: None,
            choose: None,
        }
    }

    fn steps(&self) -> Arc<dyn StepStore> {
        self.inner.clone().step_store().unwrap()
    }
}

#[async_trait]
impl Layer for Faulty {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let in_turn = || {
            let mut commits = self.commits.lock().unwrap();
            *commits += 1;
            self.faults[*commits % self.faults.len()]
        };
        let fault = self.choose.as_ref().map_or_else(in_turn, |choose| choose(step));
        let (message, source) = ("injected".to_owned(), None);
        if self.refuses.as_ref().is_some_and(|refuses| refuses(step)) {
            return Err(WfeError::Unstorable { what: "it".to_owned(), reason: message, source });
        }
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
            Fault::Stale => Err(WfeError::SubscriptionNotFound(message)),
        }
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
}
