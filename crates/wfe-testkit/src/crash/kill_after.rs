use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe::{
    Result, WfeError,
    models::{Event, EventSubscription, WorkflowInstance},
    traits::{
        Claimed, Committed, Control, Fence, Intervention, Loaded, Owner, PersistenceProvider, Started,
        StepCommit, StepStore, Swept,
    },
};

use super::Effects;
use crate::{Layer, Layered};

/// The environment variable that [`KillAfter::from_env`] heeds: the number of commits, from 1.
pub const KILL_AFTER: &str = "WFE_KILL_AFTER";

/// A store whose process dies right after its n-th commit: it is stored, but nobody has been told.
///
/// A commit is whatever changed the store through the engine: a start, a step's commit, a claim, an event, a request, a
/// worker's claim, heartbeat, release and answer, an event marked as processed, positions given to events that became due.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use wfe_sqlite::SqlitePersistenceProvider;
/// use wfe::WorkflowHost;
/// use wfe_testkit::crash::KillAfter;
///
/// # async fn open() -> wfe::Result<()> {
/// let store = SqlitePersistenceProvider::new("sqlite:///tmp/state.db").await?;
/// let host = WorkflowHost::builder_shared(KillAfter::from_env(Arc::new(store))).build();
/// // WFE_KILL_AFTER=7 program: aborts right after the seventh commit
/// # Ok(())
/// # }
/// ```
pub struct KillAfter {
    inner: Arc<dyn PersistenceProvider>,
    left: AtomicUsize,
    is_dead: AtomicBool,
    death: Box<dyn Fn() + Send + Sync>,
    gone: Option<mpsc::Sender<()>>,
    effects: Option<Effects>,
}

impl KillAfter {
    /// After so many commits (from 1), `death` is called, in the midst of the call that made the last one. If it returns,
    /// the store is as one that is gone: each call, this one included, fails.
    pub fn new(
        inner: Arc<dyn PersistenceProvider>,
        commits: usize,
        death: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (left, is_dead) = (AtomicUsize::new(commits), AtomicBool::new(false));
        Self { inner, left, is_dead, death: Box::new(death), gone: None, effects: None }
    }

    /// As the environment variable [`KILL_AFTER`] says: the process aborts after so many commits, without any clean-up, as
    /// if it had been killed. Without it, or if it is no number: the store as it is.
    #[must_use]
    pub fn from_env(inner: Arc<dyn PersistenceProvider>) -> Arc<dyn PersistenceProvider> {
        match std::env::var(KILL_AFTER).ok().and_then(|commits| commits.parse().ok()) {
            None => inner,
            Some(commits) => Self::new(inner, commits, || std::process::abort()).into_store(),
        }
    }

    /// The store itself.
    #[must_use]
    pub fn into_store(self) -> Arc<dyn PersistenceProvider> {
        Arc::new(Layered(self))
    }

    /// The other end hears that this store and all of its owners are gone by that this is dropped.
    pub(super) fn until_gone(mut self, gone: mpsc::Sender<()>) -> Self {
        self.gone = Some(gone);
        self
    }

    /// Told of what is stored, so that they know what must not happen again.
    pub(super) fn tell(mut self, effects: Effects) -> Self {
        self.effects = Some(effects);
        self
    }

    fn alive(&self) -> Result<Arc<dyn StepStore>> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(WfeError::Closed("the store"));
        }
        self.inner.clone().step_store().ok_or(WfeError::Unsupported("the engine's own trait"))
    }

    /// The answer, if the process is still there to hear it.
    fn heard<T>(&self, answer: Result<T>, changed: impl FnOnce(&T) -> bool) -> Result<T> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(WfeError::Closed("the store"));
        }
        if answer.as_ref().is_ok_and(changed) {
            let one_less = |left: usize| Some(left.saturating_sub(1));
            // It cannot fail: there is always a next value.
            let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).unwrap_or(0);
            if before <= 1 {
                self.is_dead.store(true, Ordering::SeqCst);
                (self.death)();
                return Err(WfeError::Closed("the store"));
            }
        }
        answer
    }
}

#[async_trait]
impl Layer for KillAfter {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn register(&self) -> Result<Owner> {
        let owner = self.alive()?.register().await?;
        let (id, lease) = (owner.id(), owner.lease());
        // In this order: who hears that all is gone may rely on that the owner is.
        let owner = Owner::new(id, (owner, self.gone.clone()));
        Ok(match lease {
            None => owner,
            Some(lease) => owner.with_lease(lease),
        })
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        let answer = self.alive()?.start(owner, instance).await;
        self.heard(answer, |started| started.is_new)
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let answer = self.alive()?.commit_step(fence, step).await;
        if let (Some(effects), Ok(Committed::Done)) = (&self.effects, &answer) {
            effects.settle(step);
        }
        self.heard(answer, |committed| *committed == Committed::Done)
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        let answer = self.alive()?.claim(owner, definitions, as_at, limit).await;
        self.heard(answer, |claimed| !claimed.is_empty())
    }

    async fn acquire(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>> {
        let answer = self.alive()?.acquire(owner, definitions, id, as_at).await;
        self.heard(answer, Option::is_some)
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        let answer = self.alive()?.load(id).await;
        self.heard(answer, |_| false)
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        let answer = self.alive()?.request(id, control).await;
        self.heard(answer, |()| true)
    }

    async fn intervene(&self, id: &str, intervention: &Intervention) -> Result<()> {
        let answer = self.alive()?.intervene(id, intervention).await;
        self.heard(answer, |()| true)
    }

    async fn set_subscription_token(
        &self,
        wait_id: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool> {
        self.alive()?;
        let answer = self.inner.set_subscription_token(wait_id, token, worker, expiry).await;
        self.heard(answer, |is_held| *is_held)
    }

    async fn clear_subscription_token(&self, wait_id: &str, token: &str) -> Result<()> {
        self.alive()?;
        let answer = self.inner.clear_subscription_token(wait_id, token).await;
        self.heard(answer, |()| true)
    }

    async fn finish_event(&self, event_id: &str) -> Result<bool> {
        let answer = self.alive()?.finish_event(event_id).await;
        self.heard(answer, |is_done| *is_done)
    }

    async fn finish_events(&self, after: Option<&str>, limit: usize) -> Result<Swept> {
        let answer = self.alive()?.finish_events(after, limit).await;
        self.heard(answer, |_| false) // housekeeping, which does not tell how much it changed
    }

    async fn position_due_events(&self) -> Result<bool> {
        let answer = self.alive()?.position_due_events().await;
        self.heard(answer, |has_written| *has_written)
    }

    async fn create_event(&self, event: &Event) -> Result<String> {
        self.alive()?;
        let answer = self.inner.create_event(event).await;
        self.heard(answer, |_| true)
    }

    async fn create_event_now(&self, event: &Event) -> Result<String> {
        self.alive()?;
        let answer = self.inner.create_event_now(event).await;
        self.heard(answer, |_| true)
    }

    async fn claim_wait(
        &self,
        name: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        let answer = self.alive()?.claim_wait(name, token, worker, expiry).await;
        self.heard(answer, Option::is_some)
    }

    async fn answer_wait(&self, wait_id: &str, token: Option<&str>, event: &Event) -> Result<bool> {
        let answer = self.alive()?.answer_wait(wait_id, token, event).await;
        self.heard(answer, |is_new| *is_new)
    }
}
