//! The queues of the database are bounded: calls of the program wait for a permit, and the engine continues.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping it")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::Notify;
use wfe::{Outcome, WorkflowHost, definition::WorkflowBuilder};
use wfe_core::{
    Result, WfeError,
    models::{Event, EventSubscription, ExecutionError, WorkflowInstance},
    traits::{
        EventRepository, PersistenceProvider, StepCommit, StepStore, SubscriptionRepository,
        WorkflowRepository,
    },
};
use wfe_sqlite::SqlitePersistenceProvider;

/// More calls than a queue takes.
const MANY: usize = 5_000;
/// The capacity of a queue: this many small requests, or this many of a mebibyte.
const SMALL: i64 = 1024;
const LARGE: i64 = 64;

/// Another program, which holds the write lock.
struct Other(SqliteConnection);

impl Other {
    async fn locks(database: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(database);
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        Self(other)
    }

    /// Releases the write lock.
    async fn unlocks(&mut self) {
        self.0.execute("ROLLBACK").await.unwrap();
    }

    async fn count(&mut self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM workflows").fetch_one(&mut self.0).await.unwrap()
    }
}

async fn open(database: &Path, busy: Duration) -> SqlitePersistenceProvider {
    SqlitePersistenceProvider::file(database).busy_timeout(busy).open().await.unwrap()
}

fn instance(data: Value) -> WorkflowInstance {
    WorkflowInstance::new("d", 1, data)
}

#[tokio::test]
async fn dropped_calls_leave_no_more_in_the_queue_than_its_capacity() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let store = open(&database, Duration::from_mins(10)).await;
    let mut other = Other::locks(&database).await;
    for (description, bound) in [(None, SMALL), (Some("x".repeat(1 << 20)), LARGE)] {
        let before = other.count().await;
        let mut one = WorkflowInstance { id: String::new(), description, ..instance(json!(null)) };
        for _ in 0..4 * bound {
            assert!(store.create_new_workflow(&one).now_or_never().is_none());
        }
        other.unlocks().await;
        // It comes after them.
        one.description = None;
        store.create_new_workflow(&one).await.unwrap();
        let stored = other.count().await - before - 1;
        assert!(stored <= bound, "{stored} of at most {bound}");
        other.0.execute("BEGIN IMMEDIATE").await.unwrap();
    }
}

#[tokio::test]
async fn commits_of_the_engine_enter_a_full_queue() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let store = open(&database, Duration::from_mins(10)).await;
    let owner = store.register().await.unwrap();
    let started = store.start(Some(&owner), &instance(json!(0))).await.unwrap();
    let mut other = Other::locks(&database).await;
    for _ in 0..SMALL {
        assert!(store.create_new_workflow(&instance(json!(null))).now_or_never().is_none());
    }
    let commit =
        StepCommit { instance_id: started.id.clone(), data: Some(json!(1)), ..StepCommit::default() };
    // Dropped at once: it is stored all the same, since it is in the queue.
    assert!(store.commit_step(started.fence.unwrap(), &commit).now_or_never().is_none());
    let late = store.create_event(&Event::new("e", "k", json!(null))).now_or_never();
    other.unlocks().await;
    assert!(late.is_none());
    store.persist_errors(&[ExecutionError::new(&started.id, "p", "comes last")]).await.unwrap();
    assert_eq!(store.load(&started.id).await.unwrap().instance.data, json!(1));
    assert!(store.get_events("e", "k", DateTime::<Utc>::MAX_UTC).await.unwrap().is_empty());
}

#[tokio::test]
async fn calls_of_workers_about_their_claims_enter_a_queue_that_the_rest_of_the_program_fills() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let store = open(&database, Duration::from_mins(10)).await;
    let (name, began) = ("wfe.activity:a", DateTime::<Utc>::UNIX_EPOCH);
    let expiry = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(70_000);
    for id in ["renewed", "returned", "answered"] {
        let wait =
            EventSubscription { id: id.to_owned(), ..EventSubscription::new("i", 0, "p", name, id, began) };
        store.create_event_subscription(&wait).await.unwrap();
        assert!(store.set_subscription_token(id, "t", "w", expiry).await.unwrap());
    }
    let mut other = Other::locks(&database).await;
    for _ in 0..SMALL {
        assert!(store.create_new_workflow(&instance(json!(null))).now_or_never().is_none());
    }
    // Dropped at once: it is stored all the same, since it is in the queue.
    let later = expiry + TimeDelta::days(1);
    assert!(store.set_subscription_token("renewed", "t", "w", later).now_or_never().is_none());
    assert!(store.clear_subscription_token("returned", "t").now_or_never().is_none());
    let answer = Event { event_time: began, ..Event::new(name, "answered", json!(null)) };
    assert!(store.answer_wait("answered", Some("t"), &answer).now_or_never().is_none());
    // No more of these than the permits of workers: each takes one.
    for _ in 0..2 * SMALL {
        assert!(store.set_subscription_token("renewed", "no", "w", expiry).now_or_never().is_none());
    }
    let late = store.clear_subscription_token("renewed", "t").now_or_never();
    other.unlocks().await;
    assert!(late.is_none());
    store.persist_errors(&[ExecutionError::new("i", "p", "comes last")]).await.unwrap();
    let renewed = store.get_subscription("renewed").await.unwrap();
    assert_eq!(renewed.external_token_expiry, Some(later));
    assert_eq!(store.get_subscription("returned").await.unwrap().external_token, None);
    assert_eq!(store.get_event(&answer.id).await.unwrap().event_key, "answered");
}

#[tokio::test]
async fn callers_that_get_no_permit_are_refused_in_time_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let busy = Duration::from_millis(300);
    let store = open(&database, busy).await;
    let id = store.create_new_workflow(&instance(json!("there"))).await.unwrap();
    let mut other = Other::locks(&database).await;
    let calls = (0..MANY).map(|_| async {
        let began = Instant::now();
        let refused = store.create_new_workflow(&instance(json!(null))).await;
        assert!(matches!(refused, Err(WfeError::Busy { .. })), "{refused:?}");
        assert!(began.elapsed() >= busy);
    });
    let calls = stream::iter(calls).buffer_unordered(MANY).collect::<Vec<()>>();
    // Reads have a queue of their own.
    let reads = async {
        for _ in 0..100 {
            assert_eq!(store.get_workflow_instance(&id).await.unwrap().data, json!("there"));
        }
    };
    tokio::join!(calls, reads);
    other.unlocks().await;
    store.create_new_workflow(&instance(json!(null))).await.unwrap();
    assert_eq!(other.count().await, 2);
}

#[tokio::test]
async fn a_caller_that_waits_for_a_permit_gets_closed_when_the_store_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let store = open(&database, Duration::from_secs(2)).await;
    let mut other = Other::locks(&database).await;
    for _ in 0..SMALL {
        assert!(store.create_new_workflow(&instance(json!(null))).now_or_never().is_none());
    }
    let waits = async {
        let refused = store.create_new_workflow(&instance(json!(null))).await;
        assert!(matches!(refused, Err(WfeError::Closed(_))), "{refused:?}");
        other.unlocks().await;
    };
    tokio::join!(biased; waits, store.close());
}

/// The engine stores the result of a step and answers queries while the program floods the store, which another program has
/// locked. Afterwards everything continues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_continues_while_the_program_fills_the_queues() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let store = Arc::new(open(&database, Duration::from_millis(500)).await);
    let host = WorkflowHost::builder_shared(store.clone()).build();
    let (begun, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, ends) = (begun.clone(), end.clone());
    let held = WorkflowBuilder::<u32>::new("held", 1)
        .then("step", async move |_, _| {
            begins.notify_one();
            ends.notified().await;
            Ok(7)
        })
        .output(|n, data| *data = n);
    let held = host.register(held.build()?)?;
    let quick = WorkflowBuilder::<u32>::new("quick", 1).call("step", |_, _| Ok(()));
    let quick = host.register(quick.build()?)?;
    host.start().await?;
    let held = held.start(&0).await?;
    begun.notified().await;
    let mut other = Other::locks(&database).await;
    let mut before = other.count().await;
    let starts = (0..MANY).map(|_| quick.start(&0).into_future());
    let starts = stream::iter(starts).buffer_unordered(MANY).collect::<Vec<_>>();
    let rest = async {
        // Its commit comes after the requests that entered before, and never waits for a permit.
        end.notify_one();
        for _ in 0..100 {
            assert_eq!(held.status().await.unwrap().current_steps, ["step"]);
            store.load(held.id()).await.unwrap();
        }
    };
    let (refused, ()) = tokio::join!(starts, rest);
    assert!(refused.iter().all(|start| matches!(start, Err(WfeError::Busy { .. }))));
    other.unlocks().await;
    assert_eq!(held.outcome().await?, Outcome::Completed(7));
    for _ in 0..2 {
        assert_eq!(quick.start(&0).await?.outcome().await?, Outcome::Completed(0));
        before += 1;
    }
    assert_eq!(other.count().await, before, "nothing of the refused is stored");
    host.stop().await
}
