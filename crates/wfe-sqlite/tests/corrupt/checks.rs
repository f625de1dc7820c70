//! The checks of the tables, and rows that are older than these checks.

use std::sync::Arc;

use sqlx::{ConnectOptions, Executor, sqlite::SqliteConnectOptions};
use wfe_core::{
    WfeError,
    clock::Clock,
    models::ExecutionError,
    traits::{EventRepository, PersistenceProvider, StepStore, SubscriptionRepository, WorkflowRepository},
};
use wfe_testkit::VirtualClock;

use crate::support::{definitions, event, hand, ids, instance, open, wait};

#[tokio::test]
async fn the_tables_check_the_bounds_that_later_versions_have_added() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = open(&path, &Arc::new(VirtualClock::default())).await;
    let owner = store.register().await.unwrap();
    store.start(Some(&owner), &instance("i")).await.unwrap();
    store.create_event(&event("e", 0)).await.unwrap();
    store.create_event_subscription(&wait("w", "i", "paid")).await.unwrap();
    store.persist_errors(&[ExecutionError::new("i", "p", "m")]).await.unwrap();
    let mut hand = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    hand.execute(
        "INSERT INTO event_subscriptions (kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
           subscribe_as_of, is_open, consumed) VALUES ('position', 'i', 0, '', 'sent', 'k', 0, 0, 1)",
    )
    .await
    .unwrap();
    for change in [
        "UPDATE workflows SET owner = -1",
        "UPDATE workflows SET owner = -7",
        "UPDATE workflows SET fence = 9223372036854775807",
        "UPDATE workflows SET revision = 9223372036854775807",
        "UPDATE workflows SET claims = 4294967296",
        "UPDATE workflows SET control_number = 9223372036854775807",
        "UPDATE workflows SET completions = 9223372036854775807",
        "UPDATE workflows SET seq = 9223372036854775807",
        "UPDATE workflows SET cause = '{'",
        "UPDATE workflows SET attributes = '{'",
        "UPDATE workflows SET attributes = '[]'",
        "UPDATE workflows SET going = 0",
        "UPDATE events SET seq = 9223372036854775807",
        "UPDATE events SET position = 9223372036854775807",
        "UPDATE events SET position = 0",
        "UPDATE events SET position = -1",
        "UPDATE events SET position = 2",
        "UPDATE events SET position = NULL",
        "UPDATE events SET timely = 2",
        "UPDATE events SET event_data = '{'",
        "UPDATE event_subscriptions SET kind = 'position'",
        "UPDATE event_subscriptions SET kind = ''",
        "UPDATE event_subscriptions SET born = 2",
        "UPDATE event_subscriptions SET born = -1",
        "UPDATE workflows SET born = 2",
        "UPDATE event_subscriptions SET consumed = 2 WHERE kind = 'position'",
        "UPDATE event_subscriptions SET subscription_data = '{'",
        "UPDATE execution_errors SET causes = '{'",
    ] {
        assert!(hand.execute(change).await.is_err(), "{change}");
    }
    // A position that was assigned may be restored; other values are in bounds.
    for change in [
        "UPDATE events SET position = 1",
        "UPDATE event_subscriptions SET consumed = 0 WHERE kind = 'position'",
        "UPDATE event_subscriptions SET born = 1 WHERE kind = 'wait'",
        "UPDATE workflows SET born = 0",
        "UPDATE workflows SET attributes = '{}', going = 1",
    ] {
        hand.execute(change).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_of_version_3_that_holds_such_rows_is_upgraded_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("a.db"), Arc::new(VirtualClock::default()));
    let mut older = hand(&path).await;
    older.execute("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL").await.unwrap();
    for script in [
        include_str!("../../src/sql/schema.sql"),
        include_str!("../../src/sql/version_2.sql"),
        include_str!("../../src/sql/version_3.sql"),
        "PRAGMA application_id = 1464223025; PRAGMA user_version = 3",
    ] {
        older.execute(script).await.unwrap();
    }
    for seq in 1..=10 {
        let add = format!(
            "INSERT INTO workflows (seq, id, name, workflow_definition_id, version, status, create_time, next_execution, data) \
               VALUES ({seq}, 'i{seq}', 'i{seq}', 'd', 1, 'Runnable', 0, 0, '1'); \
             INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, \
               event_published, retry_count, children, scope, extension_attributes, container) \
               VALUES ({seq}, 'live', 0, 0, 'p', 0, 1, 'Pending', 0, 0, '[]', '[]', '{{}}', '')"
        );
        older.execute(sqlx::AssertSqlSafe(add)).await.unwrap();
    }
    for spoils in [
        "UPDATE workflows SET owner = -1 WHERE seq = 1",
        "UPDATE workflows SET fence = -1 WHERE seq = 2",
        "UPDATE workflows SET revision = 9223372036854775807 WHERE seq = 3",
        "UPDATE workflows SET claims = 4294967296 WHERE seq = 4",
        "UPDATE workflows SET status = 'Dancing' WHERE seq = 5",
        "UPDATE workflows SET cause = '{' WHERE seq = 6",
        "UPDATE execution_pointers SET status = 'Dancing' WHERE workflow = 7",
        "UPDATE workflows SET data = '{' WHERE seq = 8",
        "INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed, position) \
           VALUES ('e', 'paid', 'k', '{', 0, 7, 9223372036854775807)",
        "INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, \
           event_key, subscribe_as_of, is_open, subscription_data) VALUES ('w', 'wait', 'i9', -1, 'p', 'n', 'k', 0, 1, '{')",
    ] {
        older.execute(spoils).await.unwrap();
    }
    let store = open(&path, &clock).await;
    let owner = store.register().await.unwrap();
    let claimed = store.claim(&owner, &definitions(), clock.now(), 100).await.map(ids).unwrap();
    // Some of these do not decode: the host that has claimed them finds it.
    assert_eq!(claimed, ["i10", "i6", "i7", "i8", "i9"]);
    store.load("i10").await.unwrap();
    for id in ["i5", "i6", "i7", "i8", "i9"] {
        assert!(matches!(store.load(id).await, Err(WfeError::Corrupt { .. })), "{id}");
    }
    // New instances are stored, and begin.
    store.create_new_workflow(&instance("new")).await.unwrap();
    let claimed = store.claim(&owner, &definitions(), clock.now(), 100).await.map(ids).unwrap();
    assert_eq!(claimed, ["new"]);
}
