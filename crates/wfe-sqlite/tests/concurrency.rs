//! The store at work: which threads it needs, dropped futures, snapshots under load, a bounded WAL.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{fs, future::Future, sync::Arc, task::Poll};

use chrono::Utc;
use serde_json::json;
use wfe_core::{
    WfeError,
    models::{EventSubscription, ExecutionPointer, WorkflowInstance},
    traits::{SubscriptionRepository, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Polls a future once, and drops it.
async fn poll_and_drop(future: impl Future) {
    let mut future = Box::pin(future);
    std::future::poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

#[test]
fn a_provider_outlives_the_runtime_that_opened_it() {
    let folder = tempfile::tempdir().unwrap();
    for store in [
        runtime().block_on(SqlitePersistenceProvider::new(":memory:")).unwrap(),
        runtime().block_on(SqlitePersistenceProvider::file(folder.path().join("a.db")).open()).unwrap(),
    ] {
        let instance = WorkflowInstance::new("d", 1, json!(null));
        let id = runtime().block_on(store.create_new_workflow(&instance)).unwrap();
        assert_eq!(runtime().block_on(store.get_workflow_instance(&id)).unwrap().id, id);
    }
}

#[test]
fn a_thread_that_never_yields_delays_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let runtime = runtime();
    let store = runtime.block_on(SqlitePersistenceProvider::file(&path).open()).unwrap();
    let instance = WorkflowInstance::new("d", 1, json!(null));
    let id = instance.id.clone();
    runtime.block_on(async {
        let mut create = Box::pin(store.create_new_workflow(&instance));
        std::future::poll_fn(|context| {
            assert!(create.as_mut().poll(context).is_pending());
            // This thread now waits for another one, which sees the commit.
            let (path, id) = (path.clone(), id.clone());
            let seen = std::thread::spawn(move || {
                let runtime = self::runtime();
                let other = runtime.block_on(SqlitePersistenceProvider::file(&path).open()).unwrap();
                while let Err(error) = runtime.block_on(other.get_workflow_instance(&id)) {
                    assert!(matches!(error, WfeError::WorkflowNotFound(_)));
                }
            });
            seen.join().unwrap();
            Poll::Ready(())
        })
        .await;
        assert_eq!(create.await.unwrap(), id);
    });
}

#[tokio::test]
async fn a_dropped_future_leaves_all_of_its_effect_or_none() {
    let folder = tempfile::tempdir().unwrap();
    for store in [
        SqlitePersistenceProvider::new(":memory:").await.unwrap(),
        SqlitePersistenceProvider::file(folder.path().join("a.db")).open().await.unwrap(),
    ] {
        let mut instance = WorkflowInstance::new("d", 1, json!(0));
        store.create_new_workflow(&instance).await.unwrap();
        for round in 1..50 {
            instance.data = json!(round);
            instance.execution_pointers.push(ExecutionPointer::new(round));
            let wait = EventSubscription::new(&instance.id, round, "p", "name", "key", Utc::now());
            let waits = std::slice::from_ref(&wait);
            poll_and_drop(store.persist_workflow_with_subscriptions(&instance, waits)).await;
            poll_and_drop(store.get_workflow_instance(&instance.id)).await;
            // Requests that were sent earlier are done before this one.
            store.next_definition_sequence("d").await.unwrap();
            let stored = store.get_workflow_instance(&instance.id).await.unwrap();
            match store.get_subscription(&wait.id).await {
                Ok(_) => assert_eq!(stored.data, instance.data),
                Err(WfeError::SubscriptionNotFound(_)) => assert_ne!(stored.data, instance.data),
                Err(error) => panic!("{error}"),
            }
            instance = stored;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_never_mixes_two_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut instance = WorkflowInstance::new("d", 1, json!(0));
    instance.execution_pointers = (0..20).map(|_| ExecutionPointer::new(0)).collect();
    let writer = Arc::new(SqlitePersistenceProvider::file(&path).open().await.unwrap());
    let reader = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let id = writer.create_new_workflow(&instance).await.unwrap();
    let writing = tokio::spawn({
        let writer = Arc::clone(&writer);
        async move {
            for round in 1..=200_usize {
                instance.data = json!(round);
                for pointer in &mut instance.execution_pointers {
                    pointer.step_id = round;
                }
                writer.persist_workflow(&instance).await.unwrap();
            }
        }
    });
    let ids = [id.clone()];
    let mut last = 0;
    while last < 200 {
        for store in [&*writer, &reader] {
            let one = store.get_workflow_instance(&id).await.unwrap();
            let many = store.get_workflow_instances(&ids).await.unwrap().pop().unwrap();
            for found in [one, many] {
                let round = found.data.as_u64().unwrap();
                assert!(found.execution_pointers.iter().all(|pointer| pointer.step_id as u64 == round));
                assert!(round >= last, "a later read sees no earlier commit");
                last = round;
            }
        }
    }
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_of_one_instance_lose_no_write_and_the_wal_stays_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = Arc::new(SqlitePersistenceProvider::file(&path).open().await.unwrap());
    let writers: Vec<_> = (0..32)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut instance = WorkflowInstance::new("d", 1, json!("x".repeat(20_000)));
                instance.id = format!("{number}");
                store.create_new_workflow(&instance).await.unwrap();
                for round in 0..40 {
                    instance.data = json!(format!("{round}").repeat(10_000));
                    store.persist_workflow(&instance).await.unwrap();
                    assert_eq!(store.next_definition_sequence(&instance.id).await.unwrap(), round + 1);
                }
                instance
            })
        })
        .collect();
    for writer in writers {
        let instance = writer.await.unwrap();
        assert_eq!(store.get_workflow_instance(&instance.id).await.unwrap().data, instance.data);
    }
    // 1280 writes of 20 KB: without checkpoints, 25 MB and more.
    let wal = fs::metadata(folder.path().join("a.db-wal")).unwrap().len();
    assert!(wal < 16 << 20, "{wal} bytes");
}
