//! How this store writes and reads instances: the differences that are written, and stale copies.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use serde_json::json;
use wfe_core::{
    WfeError,
    models::{Event, EventSubscription, ExecutionPointer, ScheduledCommand, WorkflowInstance},
    traits::{
        EventRepository, PersistenceProvider, ScheduledCommandRepository, SubscriptionRepository,
        WorkflowRepository,
    },
};
use wfe_sqlite::SqlitePersistenceProvider;

fn instance(pointers: usize) -> WorkflowInstance {
    let mut instance = WorkflowInstance::new("definition", 1, json!({"a": [1, 2.5, null]}));
    instance.execution_pointers = (0..pointers).map(ExecutionPointer::new).collect();
    instance.name.clone_from(&instance.id);
    instance
}

async fn stores(test: impl AsyncFn(SqlitePersistenceProvider)) {
    test(SqlitePersistenceProvider::new(":memory:").await.unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    test(SqlitePersistenceProvider::file(&path).open().await.unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.db");
    test(SqlitePersistenceProvider::file(&path).cache_bytes(0).open().await.unwrap()).await;
}

#[tokio::test]
async fn pointers_are_read_in_the_given_order_however_they_change() {
    stores(async |store| {
        let mut one = instance(5);
        store.create_new_workflow(&one).await.unwrap();
        assert_eq!(store.get_workflow_instance(&one.id).await.unwrap(), one);
        let mut step = async |change: fn(&mut WorkflowInstance)| {
            change(&mut one);
            store.persist_workflow(&one).await.unwrap();
            assert_eq!(store.get_workflow_instance(&one.id).await.unwrap(), one);
            assert_eq!(
                store.get_workflow_instances(std::slice::from_ref(&one.id)).await.unwrap(),
                [one.clone()]
            );
        };
        step(|_| {}).await;
        step(|one| one.execution_pointers[1].retry_count = 7).await;
        step(|one| one.execution_pointers.push(ExecutionPointer::new(9))).await;
        step(|one| one.execution_pointers.reverse()).await;
        step(|one| one.execution_pointers.insert(2, ExecutionPointer::new(10))).await;
        step(|one| drop(one.execution_pointers.remove(3))).await;
        step(|one| one.execution_pointers.swap(0, 4)).await;
        step(|one| one.execution_pointers.extend((0..100).map(ExecutionPointer::new))).await;
        step(|one| one.execution_pointers.retain(|pointer| pointer.step_id % 3 == 0)).await;
        step(|one| one.data = json!({"a": -0.0})).await;
        step(|one| one.description = Some("\0 ä".to_owned())).await;
        step(|one| one.execution_pointers.clear()).await;
        step(|one| one.next_execution = None).await;
    })
    .await;
}

#[tokio::test]
async fn two_providers_on_one_file_never_write_from_a_stale_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let one = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let other = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let mut stored = instance(3);
    one.create_new_workflow(&stored).await.unwrap();
    for round in 0..10 {
        // The other provider each time: its copy is two revisions old.
        let store = if round % 2 == 0 { &other } else { &one };
        stored.execution_pointers.rotate_left(1);
        stored.execution_pointers[round % 3].retry_count += 1;
        store.persist_workflow(&stored).await.unwrap();
    }
    let fresh = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    for store in [&one, &other, &fresh] {
        assert_eq!(store.get_workflow_instance(&stored.id).await.unwrap(), stored);
    }
}

#[tokio::test]
async fn names_and_ids_are_unique_and_a_refused_write_leaves_no_trace() {
    stores(async |store| {
        let (mut one, mut other) = (instance(1), instance(1));
        one.name = "one".to_owned();
        store.create_new_workflow(&one).await.unwrap();
        store.create_new_workflow(&other).await.unwrap();
        assert!(matches!(store.create_new_workflow(&one).await, Err(WfeError::AlreadyExists { .. })));
        let before = other.clone();
        other.name = "one".to_owned();
        other.execution_pointers[0].retry_count = 3;
        assert!(matches!(store.persist_workflow(&other).await, Err(WfeError::AlreadyExists { .. })));
        assert_eq!(store.get_workflow_instance(&before.id).await.unwrap(), before);
        assert_eq!(store.get_workflow_instance_by_name("one").await.unwrap(), one);
        assert!(matches!(store.persist_workflow(&instance(0)).await, Err(WfeError::WorkflowNotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn ids_with_a_nul_are_found() {
    stores(async |store| {
        let mut one = instance(1);
        one.id = "a\0b".to_owned();
        store.create_new_workflow(&one).await.unwrap();
        let mut other = instance(1);
        other.id = "a".to_owned();
        store.create_new_workflow(&other).await.unwrap();
        let found = store.get_workflow_instances(&["a\0b".into(), "c".into(), "a".into()]).await.unwrap();
        assert_eq!(found, [one, other]);
    })
    .await;
}

#[tokio::test]
async fn events_meet_waits_that_come_late() {
    stores(async |store| {
        let mut event = Event::new("paid", "7", json!(null));
        event.is_processed = true;
        store.create_event(&event).await.unwrap();
        let ahead =
            Event { event_time: Utc::now() + TimeDelta::hours(1), ..Event::new("paid", "7", json!(1)) };
        store.create_event(&ahead).await.unwrap();
        let wait = EventSubscription::new("w", 0, "p", "paid", "7", event.event_time);
        store.create_event_subscription(&wait).await.unwrap();
        assert_eq!(store.get_runnable_events(Utc::now()).await.unwrap(), [event.id.clone()]);
        assert_eq!(store.get_subscription(&wait.id).await.unwrap(), wait);
        store.terminate_subscription(&wait.id).await.unwrap();
        assert_eq!(store.get_subscriptions("paid", "7", Utc::now()).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_command_scheduled_by_its_own_handler_stays() {
    stores(async |store| {
        let store = Arc::new(store);
        store.schedule_command(&ScheduledCommand::process_workflow("w", 5)).await.unwrap();
        store.schedule_command(&ScheduledCommand::process_workflow("w", 9)).await.unwrap();
        let inner = Arc::clone(&store);
        let at = |ms| chrono::DateTime::from_timestamp_millis(ms).unwrap();
        store
            .process_commands(at(5), &move |command| {
                let inner = Arc::clone(&inner);
                assert_eq!(command.execute_time, 5);
                Box::pin(
                    async move { inner.schedule_command(&ScheduledCommand::process_workflow("w", 7)).await },
                )
            })
            .await
            .unwrap();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        for ms in [6, 100, 100] {
            let seen = Arc::clone(&seen);
            store
                .process_commands(at(ms), &move |command| {
                    seen.lock().unwrap().push(command.execute_time);
                    Box::pin(async { Ok(()) })
                })
                .await
                .unwrap();
        }
        assert_eq!(*seen.lock().unwrap(), [7]);
        store.ensure_store_exists().await.unwrap();
        assert_eq!(store.next_definition_sequence("d").await.unwrap(), 1);
        assert_eq!(store.next_definition_sequence("d").await.unwrap(), 2);
        assert_eq!(store.next_definition_sequence("e").await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_value_nested_far_too_deep_is_refused_without_overflowing_the_stack() {
    let store = SqlitePersistenceProvider::new(":memory:").await.unwrap();
    let mut one = instance(0);
    one.data = (0..100_000).fold(json!(1), |value, _| serde_json::Value::Array(vec![value]));
    assert!(matches!(store.create_new_workflow(&one).await, Err(WfeError::Unstorable { .. })));
    assert!(matches!(store.get_workflow_instance(&one.id).await, Err(WfeError::WorkflowNotFound(_))));
    let mut stored = instance(0);
    store.create_new_workflow(&stored).await.unwrap();
    std::mem::swap(&mut stored.data, &mut one.data);
    assert!(matches!(store.persist_workflow(&stored).await, Err(WfeError::Unstorable { .. })));
    // Dropped recursively, it would overflow here.
    while let serde_json::Value::Array(mut inner) = std::mem::take(&mut stored.data) {
        stored.data = inner.pop().unwrap();
    }
}
