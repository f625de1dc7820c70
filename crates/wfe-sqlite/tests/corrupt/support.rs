//! A store whose rows are changed by hand.

use std::{fmt::Debug, path::Path, sync::Arc};

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use wfe_core::{
    Result, WfeError,
    clock::Clock,
    models::{Event, EventSubscription, ExecutionPointer, WorkflowInstance},
    traits::{Claimed, Committed, Fence, Owner, StepCommit, StepStore},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::VirtualClock;

/// A file with a store, which keeps no copies, and a connection that changes its rows by hand.
pub struct Place {
    _folder: TempDir,
    pub clock: Arc<VirtualClock>,
    pub store: SqlitePersistenceProvider,
    pub hand: SqliteConnection,
}

impl Place {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(VirtualClock::default());
        let store = open(&folder.path().join("a.db"), &clock).await;
        let hand = hand(&folder.path().join("a.db")).await;
        Self { _folder: folder, clock, store, hand }
    }

    /// Changes rows as no statement of the store does.
    pub async fn spoil(&mut self, statement: &str) {
        let changed = self.hand.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.unwrap();
        assert!(changed.rows_affected() > 0, "{statement}");
    }

    pub async fn claim(&self, owner: &Owner) -> Vec<String> {
        let claimed = self.store.claim(owner, &definitions(), self.clock.now(), 100).await.unwrap();
        ids(claimed)
    }

    /// The status and the cause, read from the row itself.
    pub async fn row(&mut self, seq: i64) -> (String, Option<Value>) {
        let (status, cause): (String, Option<String>) =
            sqlx::query_as("SELECT status, cause FROM workflows WHERE seq = ?")
                .bind(seq)
                .fetch_one(&mut self.hand)
                .await
                .unwrap();
        (status, cause.map(|cause| serde_json::from_str(&cause).unwrap()))
    }
}

pub async fn open(path: &Path, clock: &Arc<VirtualClock>) -> SqlitePersistenceProvider {
    let clock: Arc<dyn Clock> = clock.clone();
    SqlitePersistenceProvider::file(path).cache_bytes(0).clock(clock).open().await.unwrap()
}

/// A connection without CHECKs, triggers and foreign keys: as a program that stored rows before there were any.
pub async fn hand(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(false);
    let mut hand = options.connect().await.unwrap();
    hand.execute("PRAGMA ignore_check_constraints = ON").await.unwrap();
    let triggers: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .fetch_all(&mut hand)
        .await
        .unwrap();
    for trigger in triggers {
        hand.execute(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"))).await.unwrap();
    }
    hand
}

pub fn definitions() -> Vec<(String, u32)> {
    vec![("d".to_owned(), 1)]
}

pub fn ids(claimed: Vec<Claimed>) -> Vec<String> {
    let mut ids: Vec<String> = claimed.into_iter().map(|claimed| claimed.id).collect();
    ids.sort();
    ids
}

pub fn instance(id: &str) -> WorkflowInstance {
    let mut instance = WorkflowInstance::new("d", 1, json!({"n": 1}));
    id.clone_into(&mut instance.id);
    instance.create_time = DateTime::UNIX_EPOCH;
    instance.execution_pointers = vec![pointer("p")];
    instance
}

pub fn pointer(id: &str) -> ExecutionPointer {
    let mut pointer = ExecutionPointer::new(0);
    id.clone_into(&mut pointer.id);
    pointer
}

pub fn texts(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

pub fn wait(id: &str, instance: &str, name: &str) -> EventSubscription {
    let mut wait = EventSubscription::new(instance, 0, "p", name, "k", DateTime::UNIX_EPOCH);
    id.clone_into(&mut wait.id);
    wait
}

pub fn event(id: &str, at: i64) -> Event {
    let event_time = DateTime::UNIX_EPOCH + TimeDelta::seconds(at);
    Event { id: id.to_owned(), event_time, ..Event::new("paid", "k", json!(at)) }
}

/// Table, column and row of a corrupt value.
#[track_caller]
pub fn place_of<T: Debug>(found: Result<T>) -> (&'static str, &'static str, String) {
    match found {
        Err(WfeError::Corrupt { table, column, row, message, .. }) => {
            assert!(message.contains("a.db: "), "which file? {message}");
            (table, column, row)
        }
        other => panic!("{other:?}"),
    }
}

pub async fn committed(store: &SqlitePersistenceProvider, fence: Fence, commit: StepCommit) {
    assert_eq!(store.commit_step(fence, &commit).await.unwrap(), Committed::Done);
}

pub fn commit(id: &str) -> StepCommit {
    StepCommit { instance_id: id.to_owned(), ..StepCommit::default() }
}
