use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    models::{Event, EventSubscription, WorkflowInstance},
    traits::{
        Claimed, Committed, Control, Cursor, ErrorRecord, Fence, Finished, Intervention, Loaded, Owner, Page,
        PersistenceProvider, Started, StepCommit, StepFailure, StepStore, Swept,
    },
};

/// The step store of a provider that has one.
pub(crate) struct NativeStore(pub Arc<dyn PersistenceProvider>);

impl NativeStore {
    fn inner(&self) -> Result<&dyn StepStore> {
        self.0.step_store().ok_or_else(|| {
            WfeError::Persistence("the provider had a step store before, but has none now".to_owned())
        })
    }
}

#[async_trait]
impl StepStore for NativeStore {
    async fn enlist(&self) -> Result<Owner> {
        self.inner()?.enlist().await
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        self.inner()?.start(owner, instance).await
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        self.inner()?.commit_step(fence, step).await
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        self.inner()?.claim(owner, definitions, as_at, limit).await
    }

    async fn acquire(&self, owner: &Owner, id: &str, as_at: DateTime<Utc>) -> Result<Option<Claimed>> {
        self.inner()?.acquire(owner, id, as_at).await
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        self.inner()?.load(id).await
    }

    async fn inspect(&self, id: &str) -> Result<Loaded> {
        self.inner()?.inspect(id).await
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<(String, Result<Loaded>)>> {
        self.inner()?.load_many(ids).await
    }

    async fn check_closed_waits(&self, id: &str, waits: &[String]) -> Result<()> {
        self.inner()?.check_closed_waits(id, waits).await
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        self.inner()?.request(id, control).await
    }

    async fn intervene(&self, id: &str, intervention: &Intervention) -> Result<()> {
        self.inner()?.intervene(id, intervention).await
    }

    async fn finish_event(&self, event_id: &str) -> Result<bool> {
        self.inner()?.finish_event(event_id).await
    }

    async fn finish_events(&self, after: Option<&str>, limit: usize) -> Result<Swept> {
        self.inner()?.finish_events(after, limit).await
    }

    async fn finished(
        &self,
        id: &str,
        container: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Result<Finished>)>> {
        self.inner()?.finished(id, container, after, limit).await
    }

    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>> {
        self.inner()?.items(id, container, from, limit).await
    }

    async fn upcoming(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>> {
        self.inner()?.upcoming(definitions, after, limit).await
    }

    async fn heartbeat(&self, owner: &Owner) -> Result<()> {
        self.inner()?.heartbeat(owner).await
    }

    async fn asked_of(&self, owner: &Owner) -> Result<Vec<String>> {
        self.inner()?.asked_of(owner).await
    }

    async fn failures(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<ErrorRecord>> {
        self.inner()?.failures(id, after, limit).await
    }

    async fn last_failures(&self, id: &str, pointers: &[String]) -> Result<Vec<StepFailure>> {
        self.inner()?.last_failures(id, pointers).await
    }

    async fn upcoming_event(&self, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        self.inner()?.upcoming_event(after).await
    }

    async fn position_due_events(&self) -> Result<bool> {
        self.inner()?.position_due_events().await
    }

    async fn open_waits(
        &self,
        name: &str,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<EventSubscription>> {
        self.inner()?.open_waits(name, after, limit).await
    }

    async fn claim_wait(
        &self,
        name: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        self.inner()?.claim_wait(name, token, worker, expiry).await
    }

    async fn answer_wait(&self, wait_id: &str, token: Option<&str>, event: &Event) -> Result<bool> {
        self.inner()?.answer_wait(wait_id, token, event).await
    }

    async fn ended(&self, ids: &[String]) -> Result<Vec<String>> {
        self.inner()?.ended(ids).await
    }

    fn news(&self) -> BoxStream<'static, ()> {
        self.0.step_store().map_or_else(|| stream::pending().boxed(), StepStore::news)
    }
}
