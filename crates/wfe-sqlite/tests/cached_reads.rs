//! Reads that are answered by a cached copy: they run no statement while no other connection commits, and they never return an
//! instance that is older than what was acknowledged before they began.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use futures_util::{FutureExt, future::join_all};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use wfe_core::{
    models::{Event, ExecutionPointer, WorkflowInstance},
    traits::{EventRepository, Fence, PersistenceProvider, StepCommit, StepStore, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider;

async fn file(folder: &TempDir) -> SqlitePersistenceProvider {
    SqlitePersistenceProvider::file(folder.path().join("a.db")).open().await.unwrap()
}

async fn both(folder: &TempDir) -> [SqlitePersistenceProvider; 2] {
    [SqlitePersistenceProvider::new(":memory:").await.unwrap(), file(folder).await]
}

/// A connection of another program.
async fn other_program(folder: &TempDir) -> SqliteConnection {
    SqliteConnectOptions::new().filename(folder.path().join("a.db")).connect().await.unwrap()
}

async fn created(store: &SqlitePersistenceProvider) -> WorkflowInstance {
    let mut instance = WorkflowInstance::new("d", 1, json!(0));
    instance.execution_pointers = vec![ExecutionPointer { id: "p0".to_owned(), ..ExecutionPointer::new(0) }];
    instance.id = store.create_new_workflow(&instance).await.unwrap();
    instance
}

/// The commit of the first step, which changes the data to 7.
fn step(id: &str) -> StepCommit {
    StepCommit {
        instance_id: id.to_owned(),
        data: Some(json!(7)),
        finished: vec![ExecutionPointer { id: "p0".to_owned(), ..ExecutionPointer::new(0) }],
        upserted: vec![ExecutionPointer { id: "p1".to_owned(), ..ExecutionPointer::new(1) }],
        ..StepCommit::default()
    }
}

/// Loads an instance, and returns its data and the number of statements that the load has run.
async fn load(store: &SqlitePersistenceProvider, id: &str) -> (serde_json::Value, u64) {
    let before = store.statements().0;
    let instance = store.get_workflow_instance(id).await.unwrap();
    (instance.data, store.statements().0 - before)
}

#[tokio::test]
async fn an_instance_that_this_store_has_written_or_read_is_read_without_a_statement() {
    let folder = tempfile::tempdir().unwrap();
    for store in both(&folder).await {
        // Before its first commit, a store does not know whether others have committed.
        created(&store).await;
        let mut instance = created(&store).await;
        assert_eq!(load(&store, &instance.id).await, (json!(0), 0));
        instance.data = json!(1);
        store.persist_workflow(&instance).await.unwrap();
        assert_eq!(load(&store, &instance.id).await, (json!(1), 0));
        // Other instances, and what is no instance, may change meanwhile.
        created(&store).await;
        store.create_event(&Event::new("name", "key", json!(2))).await.unwrap();
        assert_eq!(load(&store, &instance.id).await, (json!(1), 0));
    }
    let store = file(&folder).await;
    let id = created(&file(&folder).await).await.id;
    assert!(load(&store, &id).await.1 > 0);
    assert_eq!(load(&store, &id).await, (json!(0), 0));
}

#[tokio::test]
async fn a_change_by_the_engine_is_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for store in both(&folder).await {
        let id = created(&store).await.id;
        let owner = store.register().await.unwrap();
        let claimed = store.acquire(&owner, &[("d".to_owned(), 1)], &id, chrono::DateTime::UNIX_EPOCH).await;
        let fence = claimed.unwrap().map_or(Fence(0), |claimed| claimed.fence);
        store.commit_step(fence, &step(&id)).await.unwrap();
        let loaded = store.get_workflow_instance(&id).await.unwrap();
        assert_eq!(
            (loaded.data, loaded.execution_pointers.last().map(|last| last.step_id)),
            (json!(7), Some(1))
        );
    }
}

#[tokio::test]
async fn a_change_whose_caller_has_given_up_is_read_as_soon_as_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    for store in both(&folder).await {
        let mut instance = created(&store).await;
        instance.data = json!(1);
        // The call is dropped after the request was sent. The writer does one request after the other.
        drop(store.persist_workflow(&instance).now_or_never());
        created(&store).await;
        assert_eq!(load(&store, &instance.id).await, (json!(1), 0));
        drop(store.commit_step(Fence(0), &step(&instance.id)).now_or_never());
        created(&store).await;
        assert_eq!(load(&store, &instance.id).await.0, json!(7));
    }
}

#[tokio::test]
async fn a_commit_of_another_connection_is_seen_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (file(&folder).await, file(&folder).await);
    let mut other = other_program(&folder).await;
    created(&one).await;
    let mut instance = created(&one).await;
    let id = instance.id.clone();
    assert_eq!(load(&one, &id).await, (json!(0), 0));
    for round in 1..40_u32 {
        match round % 4 {
            0 => {
                let data = format!("UPDATE workflows SET data = '{round}', revision = revision + 1");
                other.execute(sqlx::AssertSqlSafe(data)).await.unwrap();
            }
            1 => {
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
                instance.data = json!(round);
                two.persist_workflow(&instance).await.unwrap();
            }
            2 => {
                instance.data = json!(round);
                two.persist_workflow(&instance).await.unwrap();
                // A commit of this store afterwards does not hide the one before.
                created(&one).await;
            }
            _ => {
                created(&one).await;
                instance.data = json!(round);
                two.persist_workflow(&instance).await.unwrap();
                other.execute("PRAGMA wal_checkpoint(RESTART)").await.unwrap();
            }
        }
        assert_eq!(load(&one, &id).await.0, json!(round), "round {round}");
        assert_eq!(load(&one, &id).await.0, json!(round));
    }
    // After a commit of this store, its copies are up to date again.
    created(&one).await;
    load(&one, &id).await;
    assert_eq!(load(&one, &id).await.1, 0);
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_commit_of_another_store_before_the_schema_is_checked_again_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (file(&folder).await, file(&folder).await);
    created(&one).await;
    let mut instance = created(&one).await;
    assert_eq!(load(&one, &instance.id).await, (json!(0), 0));
    instance.data = json!(1);
    two.persist_workflow(&instance).await.unwrap();
    one.ensure_store_exists().await.unwrap();
    created(&one).await;
    assert_eq!(load(&one, &instance.id).await.0, json!(1));
}

#[tokio::test]
async fn a_task_that_reads_again_and_again_lets_other_tasks_run() {
    let store = Arc::new(SqlitePersistenceProvider::new(":memory:").await.unwrap());
    created(&store).await;
    let id = created(&store).await.id;
    let (reads, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let reading = tokio::spawn({
        let (store, id, reads, stop) = (store.clone(), id.clone(), reads.clone(), stop.clone());
        async move {
            while stop.load(SeqCst) == 0 {
                store.get_workflow_instance(&id).await.unwrap();
                reads.fetch_add(1, SeqCst);
            }
        }
    });
    // This runtime has one thread: the test goes on only if the other task yields.
    while reads.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    stop.store(1, SeqCst);
    reading.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_returns_less_than_what_was_acknowledged_before_it_began() {
    const INSTANCES: usize = 3;
    const ROUNDS: u64 = 150;
    let folder = tempfile::tempdir().unwrap();
    let stores = Arc::new([file(&folder).await, file(&folder).await]);
    let mut ids = Vec::new();
    for _ in 0..INSTANCES {
        ids.push(created(&stores[0]).await.id);
    }
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..INSTANCES).map(|_| AtomicU64::new(0)).collect());
    // Each instance has one writer, which changes stores; readers of both stores compare.
    let writers = (0..INSTANCES).map(|at| {
        let (stores, acknowledged, id) = (stores.clone(), acknowledged.clone(), ids[at].clone());
        tokio::spawn(async move {
            let mut instance = stores[0].get_workflow_instance(&id).await.unwrap();
            for round in 1..=ROUNDS {
                instance.data = json!(round);
                let store = &stores[usize::from(round / 7 % 2 == at as u64 % 2)];
                store.persist_workflow(&instance).await.unwrap();
                acknowledged[at].store(round, SeqCst);
            }
        })
    });
    let readers = (0..4).map(|reader| {
        let (stores, acknowledged, ids) = (stores.clone(), acknowledged.clone(), ids.clone());
        tokio::spawn(async move {
            let mut without_statement = 0;
            while acknowledged.iter().any(|last| last.load(SeqCst) < ROUNDS) {
                for (at, id) in ids.iter().enumerate() {
                    let least = acknowledged[at].load(SeqCst);
                    let store = &stores[reader % 2];
                    let before = store.statements().0;
                    let found = store.get_workflow_instance(id).await.unwrap().data.as_u64().unwrap();
                    without_statement += u32::from(store.statements().0 == before);
                    assert!(found >= least, "{found} was read after {least} had been acknowledged");
                }
                tokio::task::yield_now().await;
            }
            without_statement
        })
    });
    let (writers, readers): (Vec<_>, Vec<_>) = (writers.collect(), readers.collect());
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let without_statement: u32 = join_all(readers).await.into_iter().map(Result::unwrap).sum();
    assert!(without_statement > 0, "the copies were never used");
}
