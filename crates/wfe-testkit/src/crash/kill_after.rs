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
        Claimed, Committed, Control, DEFINITION, Expected, Fence, Intervention, Loaded, Owner,
        PersistenceProvider, Published, Requested, Started, StepCommit, StepStore, Swept,
    },
};

use super::Effects;
use crate::{Layer, Layered};

/// The environment variable that [`KillAfter::from_env`] reads. Its value is the number of commits (at least 1) after
/// which the process dies.
pub const KILL_AFTER: &str = "WFE_KILL_AFTER";

/// A store whose process dies right after the n-th commit. This commit is stored, but its caller gets no response.
///
/// Each of these changes of the store counts as a commit: a start, a replacement, a step's commit, a claim, an event, a control
/// request, a worker's claim, heartbeat, release or answer, the marking of a single event as processed, and the
/// positioning of events that became due. The outlines of definitions, which a host stores at any time after its start, are
/// not counted.
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
    /// Whether `death` ends the process.
    aborts: bool,
    death: Box<dyn Fn() + Send + Sync>,
    gone: Option<mpsc::Sender<()>>,
    effects: Option<Effects>,
}

impl KillAfter {
    /// Wraps `inner` in a store that calls `death` right after this many commits (at least 1). If `death` returns, the
    /// store behaves as if it were closed: the call that made the last of these commits fails, and so do all further
    /// calls.
    pub fn new(
        inner: Arc<dyn PersistenceProvider>,
        commits: usize,
        death: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (left, is_dead) = (AtomicUsize::new(commits), AtomicBool::new(false));
        Self { inner, left, is_dead, aborts: false, death: Box::new(death), gone: None, effects: None }
    }

    /// Wraps `inner` in a store that aborts the process, as if the process were killed. The environment variable
    /// [`KILL_AFTER`] says after how many commits. If the variable is not set or is not a number, returns `inner`
    /// itself.
    #[must_use]
    pub fn from_env(inner: Arc<dyn PersistenceProvider>) -> Arc<dyn PersistenceProvider> {
        match std::env::var(KILL_AFTER).ok().and_then(|commits| commits.parse().ok()) {
            None => inner,
            Some(commits) => {
                let this = Self::new(inner, commits, || std::process::abort());
                Self { aborts: true, ..this }.into_store()
            }
        }
    }

    /// Returns the store as a provider for a host.
    #[must_use]
    pub fn into_store(self) -> Arc<dyn PersistenceProvider> {
        Arc::new(Layered(self))
    }

    /// Keeps `gone` until this store and all of its owners are dropped. The receiver of `gone` then learns that they
    /// are dropped.
    pub(super) fn until_gone(mut self, gone: mpsc::Sender<()>) -> Self {
        self.gone = Some(gone);
        self
    }

    /// Records in `effects` which steps are stored as completed, so that an effect that happens again can be detected.
    pub(super) fn recording(mut self, effects: Effects) -> Self {
        self.effects = Some(effects);
        self
    }

    /// The error of a call after the death. Another thread may be about to abort the process: it must not end in another way
    /// before.
    fn closed(&self) -> WfeError {
        if self.aborts {
            std::process::abort();
        }
        WfeError::Closed("the store")
    }

    fn alive(&self) -> Result<Arc<dyn StepStore>> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(self.closed());
        }
        self.inner.clone().step_store().ok_or(WfeError::Unsupported("the engine's own trait"))
    }

    /// Returns the result of a call of the inner store, unless the simulated process is dead. Counts the call as a
    /// commit if `changed` returns true.
    fn answer<T>(&self, answer: Result<T>, changed: impl FnOnce(&T) -> bool) -> Result<T> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(self.closed());
        }
        if answer.as_ref().is_ok_and(changed) {
            let one_less = |left: usize| Some(left.saturating_sub(1));
            // The update cannot fail, because there is always a next value.
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
        // In this order: when the receiver notices that `gone` was dropped, the owner must be dropped already.
        let owner = Owner::new(id, (owner, self.gone.clone()));
        Ok(match lease {
            None => owner,
            Some(lease) => owner.with_lease(lease),
        })
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        let answer = self.alive()?.start(owner, instance).await;
        self.answer(answer, |started| started.is_new)
    }

    async fn replace(&self, old: &Expected, new: &WorkflowInstance) -> Result<Option<String>> {
        let answer = self.alive()?.replace(old, new).await;
        self.answer(answer, Option::is_some)
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let answer = self.alive()?.commit_step(fence, step).await;
        if let (Some(effects), Ok(Committed::Done)) = (&self.effects, &answer) {
            effects.settle(step);
        }
        self.answer(answer, |committed| *committed == Committed::Done)
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        let answer = self.alive()?.claim(owner, definitions, as_at, limit).await;
        self.answer(answer, |claimed| !claimed.is_empty())
    }

    async fn acquire(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>> {
        let answer = self.alive()?.acquire(owner, definitions, id, as_at).await;
        self.answer(answer, Option::is_some)
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        let answer = self.alive()?.load(id).await;
        self.answer(answer, |_| false)
    }

    async fn request(&self, id: &str, control: Control) -> Result<Requested> {
        let answer = self.alive()?.request(id, control).await;
        self.answer(answer, |requested| *requested == Requested::Accepted)
    }

    async fn intervene(&self, id: &str, intervention: &Intervention) -> Result<Requested> {
        let answer = self.alive()?.intervene(id, intervention).await;
        self.answer(answer, |requested| *requested == Requested::Accepted)
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
        self.answer(answer, |is_held| *is_held)
    }

    async fn clear_subscription_token(&self, wait_id: &str, token: &str) -> Result<()> {
        self.alive()?;
        let answer = self.inner.clear_subscription_token(wait_id, token).await;
        self.answer(answer, |()| true)
    }

    async fn finish_event(&self, event_id: &str) -> Result<bool> {
        let answer = self.alive()?.finish_event(event_id).await;
        self.answer(answer, |is_done| *is_done)
    }

    async fn finish_events(&self, after: Option<&str>, limit: usize) -> Result<Swept> {
        let answer = self.alive()?.finish_events(after, limit).await;
        self.answer(answer, |_| false) // maintenance, which does not report how much it changed
    }

    async fn position_due_events(&self) -> Result<bool> {
        let answer = self.alive()?.position_due_events().await;
        self.answer(answer, |has_written| *has_written)
    }

    async fn create_event(&self, event: &Event) -> Result<String> {
        self.alive()?;
        let answer = self.inner.create_event(event).await;
        self.answer(answer, |_| event.event_name != DEFINITION)
    }

    async fn publish(&self, event: &Event, is_dated: bool, receiver: Option<&str>) -> Result<Published> {
        let answer = self.alive()?.publish(event, is_dated, receiver).await;
        self.answer(answer, |published| published.is_new)
    }

    async fn create_event_now(&self, event: &Event) -> Result<String> {
        self.alive()?;
        let answer = self.inner.create_event_now(event).await;
        self.answer(answer, |_| event.event_name != DEFINITION)
    }

    async fn claim_wait(
        &self,
        name: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        let answer = self.alive()?.claim_wait(name, token, worker, expiry).await;
        self.answer(answer, Option::is_some)
    }

    async fn answer_wait(&self, wait_id: &str, token: Option<&str>, event: &Event) -> Result<bool> {
        let answer = self.alive()?.answer_wait(wait_id, token, event).await;
        self.answer(answer, |is_new| *is_new)
    }
}
