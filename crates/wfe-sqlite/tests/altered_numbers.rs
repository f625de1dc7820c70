//! The numbers in `sqlite_sequence` were altered by another program: the store opens and continues.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping it")]

use std::path::Path;

use serde_json::json;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, Row, SqliteConnection, sqlite::SqliteConnectOptions,
};
use wfe_core::{
    models::{Event, ExecutionError, ScheduledCommand, WorkflowInstance},
    traits::{
        EventRepository, PersistenceProvider, ScheduledCommandRepository, StepStore, WorkflowRepository,
    },
};
use wfe_sqlite::SqlitePersistenceProvider;

async fn by_hand(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

async fn spoil(path: &Path, sql: &str) {
    let mut connection = by_hand(path).await;
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

async fn numbers(path: &Path, sql: &'static str) -> Vec<i64> {
    let mut connection = by_hand(path).await;
    let rows = connection.fetch_all(sql).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Stores one row of each kind, and closes the store.
async fn store(path: &Path, name: &str) {
    let store = SqlitePersistenceProvider::file(path).open().await.unwrap();
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    store.create_event(&Event::new("go", "key", json!(name))).await.unwrap();
    store.schedule_command(&ScheduledCommand::process_event(name, 0)).await.unwrap();
    store.persist_errors(&[ExecutionError::new("w", "p", name)]).await.unwrap();
    store.close().await;
}

const COUNTED: &str = "SELECT seq FROM sqlite_sequence WHERE name IN \
    ('workflows', 'events', 'scheduled_commands', 'execution_errors') ORDER BY name";

#[tokio::test]
async fn numbers_that_were_removed_or_altered_are_restored_when_a_store_is_opened() {
    for spoiling in [
        "DELETE FROM sqlite_sequence",
        "UPDATE sqlite_sequence SET seq = 0",
        "UPDATE sqlite_sequence SET seq = -5",
        "UPDATE sqlite_sequence SET seq = 9223372036854775807",
        "UPDATE sqlite_sequence SET seq = 'many'",
        "UPDATE sqlite_sequence SET seq = NULL",
        "UPDATE sqlite_sequence SET seq = 1.5",
        "INSERT INTO sqlite_sequence SELECT name, 0 FROM sqlite_sequence",
        "INSERT INTO sqlite_sequence SELECT name, seq FROM sqlite_sequence",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        store(&path, "one").await;
        store(&path, "two").await;
        spoil(&path, spoiling).await;
        store(&path, "three").await;
        assert_eq!(numbers(&path, COUNTED).await, [3, 3, 3, 3], "{spoiling}");
        assert_eq!(numbers(&path, "SELECT position FROM events ORDER BY seq").await, [1, 2, 3], "{spoiling}");
    }
}

#[tokio::test]
async fn positions_that_were_assigned_or_consumed_are_not_assigned_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    store(&path, "one").await;
    let number = "UPDATE sqlite_sequence SET seq = 80 WHERE name = 'events'";
    spoil(&path, &format!("{number}; UPDATE events SET position = 70; DELETE FROM sqlite_sequence")).await;
    store(&path, "two").await;
    assert_eq!(numbers(&path, "SELECT position FROM events ORDER BY seq").await, [70, 71]);
    // Nor are the start positions of instances and waits, if the events themselves are missing.
    spoil(&path, &format!("{number}; UPDATE workflows SET born = 75; DELETE FROM sqlite_sequence")).await;
    store(&path, "three").await;
    assert_eq!(numbers(&path, "SELECT position FROM events ORDER BY seq").await, [70, 71, 76]);
}

#[tokio::test]
async fn a_number_without_a_next_one_is_refused_and_an_existing_one_is_changed() {
    for table in ["execution_errors", "scheduled_commands"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        for name in ["one", "two", "three"] {
            store(&path, name).await;
        }
        let last = format!("UPDATE {table} SET seq = 9223372036854775807 WHERE seq = 2");
        let refused = by_hand(&path).await.execute(AssertSqlSafe(last.clone())).await.unwrap_err();
        assert!(refused.to_string().contains("CHECK"), "{refused}");
        let beyond = format!("UPDATE {table} SET seq = 9223372036854775806 WHERE seq = 1");
        spoil(&path, &format!("PRAGMA ignore_check_constraints = ON; {last}; {beyond}")).await;
        store(&path, "four").await;
        let all = if table == "execution_errors" {
            "SELECT seq FROM execution_errors ORDER BY seq"
        } else {
            "SELECT seq FROM scheduled_commands ORDER BY seq"
        };
        assert_eq!(numbers(&path, all).await, [3, 4, 5, 6], "{table}");
    }
}

/// Whether the call returns, with any result.
async fn answered<T>(what: &str, call: impl Future<Output = wfe_core::Result<T>>) -> bool {
    let answer = tokio::time::timeout(std::time::Duration::from_mins(1), call).await;
    answer.unwrap_or_else(|_| panic!("{what} has no answer")).is_ok()
}

#[tokio::test]
async fn a_table_that_is_dropped_under_a_running_store_makes_calls_fail_and_none_hang() {
    const CALLS: usize = 7;
    for (what, kind) in [
        ("execution_errors", "table"),
        ("event_subscriptions", "table"),
        ("workflows_due", "index"),
        ("workflows_control", "index"),
        ("events_unprocessed", "index"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
        let owner = store.register().await.unwrap();
        let round = async |what: &str| {
            let instance = WorkflowInstance::new("d", 1, json!(null));
            let now = chrono::DateTime::UNIX_EPOCH;
            let error = ExecutionError::new("w", "p", "message");
            let event = Event::new("go", "key", json!(1));
            let mut all = Vec::new();
            for _ in 0..4 {
                all.push(answered(what, store.create_new_workflow(&instance)).await);
                all.push(answered(what, store.get_workflow_instance(&instance.id)).await);
                all.push(answered(what, store.get_runnable_instances(now)).await);
                all.push(answered(what, store.get_runnable_events(now)).await);
                all.push(answered(what, store.persist_errors(std::slice::from_ref(&error))).await);
                all.push(answered(what, store.create_event(&event)).await);
                // Several statements in one text: sqlx's thread panics if one of them cannot be prepared again.
                all.push(answered(what, store.claim(&owner, &[("d".to_owned(), 1)], now, 9)).await);
            }
            all
        };
        assert!(round("before").await[..CALLS].iter().all(|is_done| *is_done));
        let mut hand = by_hand(&path).await;
        let query = format!(
            "SELECT group_concat(sql, ';') FROM sqlite_schema WHERE tbl_name = '{what}' OR name = '{what}'"
        );
        let made: String = hand.fetch_one(AssertSqlSafe(query)).await.unwrap().get(0);
        hand.execute(AssertSqlSafe(format!("DROP {kind} {what}"))).await.unwrap();
        let meanwhile = round(what).await;
        assert!(kind == "index" || meanwhile.contains(&false), "{what}: {meanwhile:?}");
        hand.execute(AssertSqlSafe(made)).await.unwrap();
        hand.close().await.unwrap();
        let after = round("after").await;
        assert!(after[CALLS..2 * CALLS].iter().skip(1).any(|is_done| *is_done), "{what}: {after:?}");
        answered("close", async {
            store.close().await;
            Ok(())
        })
        .await;
    }
}
