//! [`StepStore`]: how the engine writes.
//!
//! What only the engine calls never waits for what the program asks (see [`admission`](crate::connection::admission)); what the program
//! calls through a host (`start`, `inspect`, requests, pages, work for outsiders) does.

mod claim;
mod commit;
mod control;
mod deaths;
mod history;
mod load;
mod start;
mod sweep;
mod work;

use std::hash::{BuildHasher, RandomState};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde_json::Value;
use wfe_core::{
    Result,
    models::{Event, EventSubscription, WorkflowInstance},
    traits::{
        Claimed, Committed, Control, Cursor, ErrorRecord, Fence, Finished, Intervention, Isolation, Loaded,
        Owner, Page, Pending, Started, StepCommit, StepFailure, StepStore, Swept,
    },
};

use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, hexadecimal, time},
    connection::admission::Caller,
    repository::{add_event_existence, add_ripening},
    request::Script,
    sql,
};

/// The counter that owners are numbered by.
const OWNERS: &str = "wfe:owner";

#[async_trait]
impl StepStore for SqlitePersistenceProvider {
    async fn register(&self) -> Result<Owner> {
        let id = owner_id(self.named(self.draw(Caller::Engine, OWNERS).await)?);
        self.tidy(id).await?;
        self.owners.register(id)
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        self.start_instance(owner, instance).await
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        self.named(self.commit(fence, step).await)
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        self.named(self.claim_any(owner, definitions, as_at, limit).await)
    }

    async fn acquire(&self, owner: &Owner, id: &str, as_at: DateTime<Utc>) -> Result<Option<Claimed>> {
        self.named(self.claim_one(owner, id, as_at).await)
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        self.named(self.load_all(Caller::Engine, id).await)
    }

    async fn inspect(&self, id: &str) -> Result<Loaded> {
        self.named(self.load_all(Caller::Program, id).await)
    }

    async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
        self.named(self.load_pending(id, waits).await)
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<(String, Result<Loaded>)>> {
        self.each_named(self.load_several(ids).await)
    }

    async fn check_closed_waits(&self, id: &str, waits: &[String]) -> Result<()> {
        self.named(self.check_closed(id, waits).await)
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        self.named(self.ask(id, control, None).await)
    }

    async fn intervene(&self, id: &str, intervention: &Intervention) -> Result<()> {
        self.named(self.ask(id, Control::Resume, Some(intervention)).await)
    }

    async fn finish_event(&self, event_id: &str) -> Result<bool> {
        let mut script = Script::about(event_id);
        add_event_existence(&mut script, event_id);
        add_ripening(&mut script, self.clock.now());
        let finish = script.add(&sql::streams::FINISH_EVENT, [event_id.into()]);
        let done = self.writer.run_for(Caller::Engine, script).await?;
        Ok(done.get(finish).is_some_and(|done| done.changes > 0))
    }

    async fn finish_events(&self, after: Option<&str>, limit: usize) -> Result<Swept> {
        self.named(self.sweep(after, limit).await)
    }

    async fn finished(
        &self,
        id: &str,
        container: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Result<Finished>)>> {
        self.each_named(self.history(id, container, after, limit).await)
    }

    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>> {
        self.named(self.items_of(id, container, from, limit).await)
    }

    async fn upcoming(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>> {
        self.named(self.due_after(definitions, after, limit).await)
    }

    async fn heartbeat(&self, owner: &Owner) -> Result<()> {
        self.check(true)?;
        self.owners.beat(owner.id())
    }

    async fn verify(&self) -> Result<()> {
        self.check(false)
    }

    async fn isolate(&self, id: &str, fence: Fence, isolation: Isolation) -> Result<bool> {
        self.named(self.note_isolation(id, fence, isolation).await)
    }

    async fn requested(&self, owner: &Owner) -> Result<Vec<String>> {
        self.named(self.wanted_of(owner).await)
    }

    async fn failures(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<ErrorRecord>> {
        self.named(self.failures_of(id, after, limit).await)
    }

    async fn last_failures(&self, id: &str, pointers: &[String]) -> Result<Vec<StepFailure>> {
        self.named(self.last_failures_of(id, pointers).await)
    }

    async fn upcoming_event(&self, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let mut script = Script::default();
        // A bound before all that can be stored stands for the first of it: nothing is dated ahead to that.
        let after = time::bound(after).unwrap_or(i64::MIN);
        script.add(&sql::events::NEXT_UNRIPE, [after.into()]);
        let done = self.read_for(Caller::Engine, script).await?;
        let Some(row) = done.first().and_then(|done| done.rows.first()) else { return Ok(None) };
        self.named(Fields::new(row, "events", "").optional_time("event_time"))
    }

    async fn position_due_events(&self) -> Result<bool> {
        self.position_all_due().await
    }

    async fn open_waits(
        &self,
        name: &str,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<EventSubscription>> {
        self.named(self.work(name, after, limit).await)
    }

    async fn claim_wait(
        &self,
        name: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        self.named(self.claim_work(name, token, worker, expiry).await)
    }

    async fn answer_wait(&self, wait_id: &str, token: Option<&str>, event: &Event) -> Result<bool> {
        self.answer(wait_id, token, event).await
    }

    async fn ended(&self, wanted: &[String]) -> Result<Vec<String>> {
        let mut script = Script::default();
        script.add(&sql::ownership::ENDED, [hexadecimal::ids(wanted).into()]);
        self.named(self.ids_for(Caller::Engine, script, "workflows").await)
    }

    fn news(&self) -> BoxStream<'static, ()> {
        self.bell.listen()
    }
}

/// The id of the owner that was drawn as the `number`-th: that number, so that no other owner has it, and 32 bits by chance.
/// Its lock file is named by it, and nobody who may write to the folder can make that before the owner does.
fn owner_id(number: u64) -> u64 {
    // Keyed by chance anew.
    let chance = RandomState::new().hash_one(number) >> 32;
    (number & 0x7fff_ffff) << 32 | chance
}

/// A number of rows as SQLite takes it; more than it can count are all.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
