//! Deletions and purges leave no rows behind, and what a killed program leaves is removed by the next purge.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use wfe_core::{
    WfeError,
    models::WorkflowInstance,
    traits::{InstanceState, Management, PurgeFilter, PurgeReport, StepStore, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider as Store;

async fn foreign(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// An instance that ended at 1000 ns, with `n` rows of each kind. Half of its subscriptions are as the engine makes them.
fn ended(id: &str, n: u32) -> String {
    let rows = |text: &str| {
        format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 WHERE {n} UNION ALL SELECT n + 1 FROM n WHERE n < {n}) {text};"
        )
    };
    [
        format!(
            "INSERT INTO workflows (id, name, workflow_definition_id, version, status, create_time, complete_time, ending, \
             start_key, reference, attributes, data) \
             VALUES ('{id}', '{id}', 'd', 1, 'Complete', 7, 1000, 'Completed', '{id}', '{id}', '{{\"a\":1}}', '{{}}');"
        ),
        rows(&format!(
            "INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, event_published, \
             retry_count, children, scope, extension_attributes, container) \
             SELECT (SELECT seq FROM workflows WHERE id = '{id}'), 'history', n, 0, 'p' || n, 0, 0, 'Complete', 0, 0, '[]', '[]', \
             '{{}}', '' FROM n"
        )),
        rows(&format!(
            "INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
             subscribe_as_of, is_open) SELECT iif(n % 2, '{id}//p' || n || '//1', 'of {id} ' || n), 'wait', '{id}', 0, 'p' || n, \
             'e', 'k', 7, n % 3 = 0 FROM n"
        )),
        rows(&format!(
            "INSERT INTO event_subscriptions (kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
             subscribe_as_of, is_open, consumed) SELECT 'position', '{id}', 0, '', 'e', 'k' || n, 0, 0, 0 FROM n"
        )),
        rows(&format!(
            "INSERT INTO execution_errors (error_time, workflow_id, execution_pointer_id, message) SELECT 9, '{id}', 'p', 'm' FROM n"
        )),
        format!(
            "INSERT INTO scheduled_commands (command_name, data, execute_time) VALUES ('ProcessWorkflow', '{id}', 9);"
        ),
    ]
    .concat()
}

/// The number of rows of an instance that [`ended`] has made.
fn rows_of(n: u32) -> u64 {
    u64::from(4 * n + 2)
}

/// The number of rows in all tables but `events`.
async fn rows(path: &Path) -> i64 {
    let mut connection = foreign(path).await;
    let count = "SELECT (SELECT count(*) FROM workflows) + (SELECT count(*) FROM execution_pointers) \
        + (SELECT count(*) FROM event_subscriptions) + (SELECT count(*) FROM execution_errors) \
        + (SELECT count(*) FROM scheduled_commands)";
    let rows = sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows
}

/// A store with these instances, each with its number of rows.
async fn store_with(instances: &[(&str, u32)]) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    Store::file(&path).open().await.unwrap().close().await;
    let mut connection = foreign(&path).await;
    for (id, n) in instances {
        connection.execute(sqlx::AssertSqlSafe(ended(id, *n))).await.unwrap();
    }
    connection.close().await.unwrap();
    (folder, path)
}

fn all() -> PurgeFilter {
    PurgeFilter::before(Utc::now())
}

/// A filter that selects nothing, so that a purge only ends what earlier calls have left.
fn none() -> PurgeFilter {
    PurgeFilter::before(DateTime::UNIX_EPOCH)
}

async fn purge(store: &Store, filter: &PurgeFilter, limit: usize) -> PurgeReport {
    let mut sum = PurgeReport::default();
    loop {
        let report = store.purge(filter, limit).await.unwrap();
        assert!(limit == 0 || report.rows <= limit as u64 + 1, "{report:?}");
        sum.instances += report.instances;
        sum.rows += report.rows;
        if !report.more {
            return sum;
        }
    }
}

#[tokio::test]
async fn a_purge_of_any_batch_leaves_no_rows() {
    for limit in [1, 2, 3, 7, 40, 0] {
        let (_folder, path) = store_with(&[("a", 0), ("a//p//1", 3), ("b", 14), ("c", 3)]).await;
        let store = Store::file(&path).open().await.unwrap();
        assert_eq!(purge(&store, &none(), limit).await, PurgeReport::default());
        let report = purge(&store, &all(), limit).await;
        assert_eq!(report.instances, 4);
        let marks = report.rows - (rows_of(0) + 2 * rows_of(3) + rows_of(14));
        assert!(marks <= 4, "limit {limit}: {report:?}");
        assert_eq!(rows(&path).await, 0, "limit {limit}");
    }
}

#[tokio::test]
async fn a_deletion_takes_only_its_own_rows() {
    let (_folder, path) = store_with(&[("a", 5), ("a//p1//1", 5), ("ab", 5)]).await;
    let store = Store::file(&path).open().await.unwrap();
    let report = store.delete("a").await.unwrap();
    assert_eq!((report.instances, report.rows), (1, rows_of(5)));
    assert_eq!(rows(&path).await, i64::try_from(2 * rows_of(5)).unwrap());
    assert!(matches!(store.load("a").await, Err(WfeError::WorkflowNotFound(_))));
    assert_eq!(StepStore::failures(&store, "ab", None, 9).await.unwrap().rows.len(), 5);
}

/// Polls a deletion this often, with time for the store's threads in between, and drops it. Returns its result if it ended.
async fn polled(store: &Arc<Store>, id: &str, times: usize) -> Option<PurgeReport> {
    let store = Arc::clone(store);
    let mut deletion = pin!(store.delete(id));
    for _ in 0..times {
        if let Poll::Ready(done) = deletion.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(done.unwrap());
        }
        // The reply of the store's thread is awaited by the next poll; until then this thread has nothing to do.
        store.load("nothing").await.unwrap_err();
    }
    None
}

#[tokio::test]
async fn what_a_killed_deletion_leaves_is_in_no_answer_and_the_next_purge_removes_it() {
    let (mut begun, mut ended) = (0, false);
    for times in 0.. {
        if ended {
            break;
        }
        let (_folder, path) = store_with(&[("a", 300), ("other", 1)]).await;
        let store = Arc::new(Store::file(&path).open().await.unwrap());
        ended = polled(&store, "a", times).await.is_some();
        // The process dies: what was sent to the writer is stored, or not.
        store.close().await;
        drop(store);
        let left = u64::try_from(rows(&path).await).unwrap() - rows_of(1);
        let store = Store::file(&path).open().await.unwrap();
        let is_untouched = left == rows_of(300);
        assert_eq!(store.load("a").await.is_ok(), is_untouched, "{left}");
        assert_eq!(store.get_workflow_instance_by_name("a").await.is_ok(), is_untouched);
        assert_eq!(store.find("d", "a").await.unwrap().is_some(), is_untouched);
        if !is_untouched && left > 0 {
            begun += 1;
            // The id, the name and the reference are free.
            let new = WorkflowInstance {
                reference: Some("a".to_owned()),
                ..WorkflowInstance::new("d", 1, json!(1))
            };
            let new = WorkflowInstance { id: "a".to_owned(), name: "a".to_owned(), ..new };
            if begun % 2 == 0 {
                assert!(store.start(None, &new).await.unwrap().is_new);
                purge(&store, &none(), 100).await;
                assert_eq!(store.load("a").await.unwrap().instance.data, json!(1));
                continue;
            }
        }
        purge(&store, &none(), 100).await;
        let expected = if is_untouched { rows_of(300) } else { 0 } + rows_of(1);
        assert_eq!(
            u64::try_from(rows(&path).await).unwrap(),
            expected,
            "{times} polls, {left} rows were left"
        );
    }
    assert!(begun > 0, "{begun} deletions were killed half-way");
}

#[tokio::test]
async fn a_purge_that_is_killed_after_each_commit_comes_to_the_same_end() {
    for kill_after in 1..40 {
        let (_folder, path) = store_with(&[("a", 30), ("b", 4), ("c", 0)]).await;
        for _ in 0..kill_after {
            let store = Store::file(&path).open().await.unwrap();
            store.purge(&all(), 10).await.unwrap();
            // No close: the process is gone.
            std::mem::forget(store);
        }
        let store = Store::file(&path).open().await.unwrap();
        purge(&store, &all(), 0).await;
        assert_eq!(rows(&path).await, 0);
        if kill_after > 3 {
            break;
        }
    }
}

#[tokio::test]
async fn a_purge_takes_what_its_filter_selects() {
    let (_folder, path) =
        store_with(&[("completed", 1), ("failed", 1), ("late", 1), ("plain", 1), ("parent", 1)]).await;
    let mut connection = foreign(&path).await;
    let now = Utc::now();
    let late = (now + TimeDelta::days(1)).timestamp_nanos_opt().unwrap();
    let changes = format!(
        "UPDATE workflows SET ending = 'Failed', status = 'Terminated', workflow_definition_id = 'e' WHERE id = 'failed'; \
         UPDATE workflows SET complete_time = {late} WHERE id = 'late'; \
         UPDATE workflows SET ending = NULL WHERE id = 'plain'; \
         INSERT INTO workflows (id, name, workflow_definition_id, version, status, create_time, parent, data) \
           VALUES ('child', 'child', 'd', 1, 'Suspended', 7, 'parent', '{{}}')"
    );
    connection.execute(sqlx::AssertSqlSafe(changes)).await.unwrap();
    connection.close().await.unwrap();
    let store = Store::file(&path).open().await.unwrap();
    let with = |state, definition: Option<&str>| PurgeFilter {
        states: vec![state],
        definition: definition.map(str::to_owned),
        ..PurgeFilter::before(now)
    };
    assert_eq!(purge(&store, &with(InstanceState::Cancelled, None), 0).await.instances, 0);
    assert_eq!(purge(&store, &with(InstanceState::Failed, Some("d")), 0).await.instances, 0);
    assert_eq!(purge(&store, &with(InstanceState::Failed, Some("e")), 0).await.instances, 1);
    assert_eq!(purge(&store, &with(InstanceState::Completed, None), 0).await.instances, 2);
    for id in ["late", "parent", "child"] {
        store.load(id).await.unwrap();
    }
    match store.delete("parent").await {
        Err(WfeError::Invalid(reason)) => assert!(reason.contains("child"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(store.delete("child").await, Err(WfeError::Invalid(_))));
    assert!(matches!(store.delete("unknown").await, Err(WfeError::WorkflowNotFound(_))));
    assert!(store.purge(&with(InstanceState::Suspended, None), 0).await.is_err());
}

#[tokio::test]
async fn processed_events_are_purged_but_for_what_is_needed() {
    let (_folder, path) = store_with(&[("a", 0)]).await;
    let mut connection = foreign(&path).await;
    let old = (Utc::now() - TimeDelta::days(400)).timestamp_nanos_opt().unwrap();
    let young = (Utc::now() - TimeDelta::days(10)).timestamp_nanos_opt().unwrap();
    let event = |name: &str, key: &str, time: i64, processed: u8| {
        format!(
            "INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed) \
             VALUES ('{name} {key} {time} {processed}', '{name}', '{key}', 'null', {time}, {processed});"
        )
    };
    let mut texts = String::new();
    for time in [old, young] {
        texts += &event("paid", "k", time, 1);
        texts += &event("paid", "k", time, 0);
        texts += &event("wfe.audit", "*", time, 1);
        texts += &event("wfe.definition", "d", time, 1);
        texts += &event("wfe.definition", "gone", time, 1);
    }
    // More than one window of events that stay, and old ones behind them.
    let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 25000) \
        INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed) \
        SELECT 'many' || n, 'many', n, 'null', 7, n > 24000 FROM n";
    connection.execute(sqlx::AssertSqlSafe(texts)).await.unwrap();
    connection.execute(many).await.unwrap();
    let store = Store::file(&path).open().await.unwrap();
    let purge = async |days: i64| {
        let (before, mut events) = (Utc::now() - TimeDelta::days(days), 0);
        for calls in 0.. {
            assert!(calls < 100, "a purge comes to an end");
            let report = store.purge_events(before, 100).await.unwrap();
            assert!(report.events <= 100 && report.rows == report.events);
            events += report.events;
            if !report.more {
                break;
            }
        }
        events
    };
    // The old event, the old record and the old outline without an instance; and the processed ones of the many.
    assert_eq!(purge(30).await, 3 + 1000);
    assert_eq!(purge(30).await, 0);
    assert_eq!(purge(1).await, 2, "the record is younger than a year");
    let left: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT event_name || is_processed FROM events ORDER BY 1")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(left, ["many0", "paid0", "wfe.audit1", "wfe.definition1"]);
    store.delete("a").await.unwrap();
    assert_eq!(purge(1).await, 2);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_host_continues_beside_a_purge() {
    let instances: Vec<_> = (0..40).map(|n| (format!("i{n}"), 20)).collect();
    let instances: Vec<_> = instances.iter().map(|(id, n)| (&**id, *n)).collect();
    let (_folder, path) = store_with(&instances).await;
    let (store, other) = (Store::file(&path).open().await.unwrap(), Store::file(&path).open().await.unwrap());
    let writes = async {
        for _ in 0..50 {
            other.create_new_workflow(&WorkflowInstance::new("d", 1, json!(0))).await.unwrap();
        }
    };
    let filter = all();
    let both = async { tokio::join!(purge(&store, &filter, 100), writes) };
    let (report, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    assert_eq!(report.instances, 40);
    assert_eq!(rows(&path).await, 50);
}
