pub(crate) mod guarantees;
pub(crate) mod loss;
mod own_waits;
mod plain;

pub use guarantees::Guarantees;
pub(crate) use own_waits::check_own;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    models::{Event, EventSubscription, WorkflowInstance},
    traits::{
        Claimed, Committed, Control, Cursor, ErrorRecord, Fence, Finished, Intervention, Isolation, Loaded,
        Owner, Page, Pending, PersistenceProvider, Started, StepCommit, StepFailure, StepStore, Swept,
    },
};

use crate::store::{loss::Loss, plain::PlainStore};

/// The store that the engine works on: the provider's own step store, or one made of its plain traits. It takes note when
/// that says that it is lost, whoever has asked. Whoever asks the provider itself takes note of that as well.
pub(crate) struct EngineStore {
    store: Inner,
    loss: Arc<Loss>,
}

enum Inner {
    Native(Arc<dyn PersistenceProvider>),
    Plain(Box<PlainStore>),
}

impl EngineStore {
    /// With what the store can promise.
    pub fn new(provider: &Arc<dyn PersistenceProvider>, loss: &Arc<Loss>) -> (Self, Guarantees) {
        let (store, guarantees) = if provider.step_store().is_some() {
            (Inner::Native(provider.clone()), Guarantees::OneTransactionPerStep)
        } else {
            (Inner::Plain(Box::new(PlainStore::new(provider.clone()))), Guarantees::SingleProcess)
        };
        (Self { store, loss: loss.clone() }, guarantees)
    }

    /// Takes note of an answer. A commit of unknown outcome may be the first sign of a loss.
    async fn seen<T: Send>(&self, answer: Result<T>) -> Result<T> {
        let answer = self.loss.seen(answer);
        if let Err(WfeError::CommitUnknown { .. }) = answer { self.unless_lost(answer).await } else { answer }
    }

    /// Takes note if the store is lost, whatever the answer is about: a file of the owner's own may have been what failed.
    async fn unless_lost<T: Send>(&self, answer: Result<T>) -> Result<T> {
        if answer.is_err() {
            // What it says is noted.
            let _noted = self.verify().await;
        }
        answer
    }

    fn inner(&self) -> Result<&dyn StepStore> {
        match &self.store {
            Inner::Native(provider) => provider.step_store().ok_or_else(|| {
                WfeError::Persistence("the provider had a step store before, but has none now".to_owned())
            }),
            Inner::Plain(store) => Ok(&**store),
        }
    }
}

#[async_trait]
impl StepStore for EngineStore {
    async fn register(&self) -> Result<Owner> {
        self.unless_lost(self.inner()?.register().await).await
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        self.seen(self.inner()?.start(owner, instance).await).await
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        self.seen(self.inner()?.commit_step(fence, step).await).await
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        self.seen(self.inner()?.claim(owner, definitions, as_at, limit).await).await
    }

    async fn acquire(&self, owner: &Owner, id: &str, as_at: DateTime<Utc>) -> Result<Option<Claimed>> {
        self.seen(self.inner()?.acquire(owner, id, as_at).await).await
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        self.seen(self.inner()?.load(id).await).await
    }

    async fn inspect(&self, id: &str) -> Result<Loaded> {
        self.seen(self.inner()?.inspect(id).await).await
    }

    async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
        self.seen(self.inner()?.pending(id, waits).await).await
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<(String, Result<Loaded>)>> {
        self.seen(self.inner()?.load_many(ids).await).await
    }

    async fn check_closed_waits(&self, id: &str, waits: &[String]) -> Result<()> {
        self.seen(self.inner()?.check_closed_waits(id, waits).await).await
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        self.seen(self.inner()?.request(id, control).await).await
    }

    async fn intervene(&self, id: &str, intervention: &Intervention) -> Result<()> {
        self.seen(self.inner()?.intervene(id, intervention).await).await
    }

    async fn finish_event(&self, event_id: &str) -> Result<bool> {
        self.seen(self.inner()?.finish_event(event_id).await).await
    }

    async fn finish_events(&self, after: Option<&str>, limit: usize) -> Result<Swept> {
        self.seen(self.inner()?.finish_events(after, limit).await).await
    }

    async fn finished(
        &self,
        id: &str,
        container: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Result<Finished>)>> {
        self.seen(self.inner()?.finished(id, container, after, limit).await).await
    }

    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>> {
        self.seen(self.inner()?.items(id, container, from, limit).await).await
    }

    async fn upcoming(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>> {
        self.seen(self.inner()?.upcoming(definitions, after, limit).await).await
    }

    async fn heartbeat(&self, owner: &Owner) -> Result<()> {
        self.unless_lost(self.inner()?.heartbeat(owner).await).await
    }

    async fn isolate(&self, id: &str, fence: Fence, isolation: Isolation) -> Result<bool> {
        self.seen(self.inner()?.isolate(id, fence, isolation).await).await
    }

    async fn requested(&self, owner: &Owner) -> Result<Vec<String>> {
        self.seen(self.inner()?.requested(owner).await).await
    }

    async fn failures(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<ErrorRecord>> {
        self.seen(self.inner()?.failures(id, after, limit).await).await
    }

    async fn last_failures(&self, id: &str, pointers: &[String]) -> Result<Vec<StepFailure>> {
        self.seen(self.inner()?.last_failures(id, pointers).await).await
    }

    async fn upcoming_event(&self, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        self.seen(self.inner()?.upcoming_event(after).await).await
    }

    async fn position_due_events(&self) -> Result<bool> {
        self.seen(self.inner()?.position_due_events().await).await
    }

    async fn open_waits(
        &self,
        name: &str,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<EventSubscription>> {
        self.seen(self.inner()?.open_waits(name, after, limit).await).await
    }

    async fn claim_wait(
        &self,
        name: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        self.seen(self.inner()?.claim_wait(name, token, worker, expiry).await).await
    }

    async fn answer_wait(&self, wait_id: &str, token: Option<&str>, event: &Event) -> Result<bool> {
        self.seen(self.inner()?.answer_wait(wait_id, token, event).await).await
    }

    async fn ended(&self, ids: &[String]) -> Result<Vec<String>> {
        self.seen(self.inner()?.ended(ids).await).await
    }

    async fn verify(&self) -> Result<()> {
        self.loss.seen(self.inner()?.verify().await)
    }

    fn news(&self) -> BoxStream<'static, ()> {
        self.inner().map_or_else(|_| stream::pending().boxed(), StepStore::news)
    }
}
