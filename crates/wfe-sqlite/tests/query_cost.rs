//! The cost of looking for work in a large store, compared with a small one. To print the figures:
//! `cargo test --release -p wfe-sqlite --test query_cost -- --nocapture`.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement prints what it finds")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe_core::{
    models::{Event, EventSubscription, WorkflowInstance},
    traits::{EventRepository, StepStore, SubscriptionRepository, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider;

async fn foreign(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

/// 20 000 instances without a due time, with as many open waits, and as many unprocessed events that match none, as
/// version 1 stores them.
const LARGE: &str = "\
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) \
    INSERT INTO workflows (id, name, workflow_definition_id, version, status, create_time, next_execution, data) \
      SELECT 'i' || n, 'i' || n, 'd', 1, 'Runnable', 0, iif(n % 2, NULL, 9000000000000000 + n), 'null' FROM n; \
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) \
    INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
      subscribe_as_of, is_open) SELECT 'w' || n, 'wait', 'i' || n, 0, 'p', 'paid', n, 0, 1 FROM n; \
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) \
    INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed, position) \
      SELECT 'e' || n, 'sent', n, 'null', n, 0, n FROM n";

/// The best time of a few: the cost without the noise of other programs.
async fn best(of: impl AsyncFn()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        of().await;
        best = best.min(start.elapsed());
    }
    best
}

/// The cost of a claim that finds nothing.
async fn looking(store: &SqlitePersistenceProvider, when: &str) -> Duration {
    let owner = store.register().await.unwrap();
    let definitions = [("d".to_owned(), 1)];
    let claim = best(async || {
        assert!(store.claim(&owner, &definitions, Utc::now(), 100).await.unwrap().is_empty());
    })
    .await;
    let asked = best(async || assert!(store.requested(&owner).await.unwrap().is_empty())).await;
    let upcoming = best(async || {
        assert_eq!(store.upcoming(&definitions, Utc::now(), 100).await.unwrap().len(), 100);
    })
    .await;
    let event = best(async || {
        store.upcoming_event(DateTime::<Utc>::UNIX_EPOCH).await.unwrap();
    })
    .await;
    println!("{when}: claim {claim:?}, requested {asked:?}, upcoming {upcoming:?}, upcoming_event {event:?}");
    claim
}

#[tokio::test]
async fn looking_for_work_costs_no_more_for_events_that_no_instance_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut older = foreign(&path).await;
    older.execute("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL").await.unwrap();
    older.execute(include_str!("../src/sql/schema.sql")).await.unwrap();
    older.execute("PRAGMA application_id = 1464223025; PRAGMA user_version = 1; BEGIN").await.unwrap();
    older.execute(LARGE).await.unwrap();
    older.execute("COMMIT").await.unwrap();
    older.close().await.unwrap();
    let size = std::fs::metadata(&path).unwrap().len() >> 20;
    let start = Instant::now();
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    println!("upgrading {size} MB: {:?}", start.elapsed());
    looking(&store, "20 000 unmatched events that count as wanted").await;
    let (mut after, mut calls, mut longest) = (None::<String>, 0, Duration::ZERO);
    foreign(&path).await.execute("UPDATE events SET wanted = 0").await.unwrap();
    let many = looking(&store, "20 000 unmatched events that no instance waits for").await;
    loop {
        let start = Instant::now();
        after = store.finish_events(after.as_deref(), 1_000).await.unwrap().next;
        (calls, longest) = (calls + 1, longest.max(start.elapsed()));
        if after.is_none() {
            break;
        }
    }
    println!("finishing them: {calls} calls for 1 000 events each, the longest {longest:?}");
    let none = looking(&store, "none left").await;
    // The best of five each, plus a millisecond for the delay of a busy machine.
    assert!(many < none * 3 + Duration::from_millis(1), "{many:?} against {none:?}");
    for name in ["wfe.activity:held", "wfe.activity:free"] {
        let work = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2000) \
            INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
            subscribe_as_of, is_open, external_token, external_token_expiry) \
            SELECT ?1 || n, 'wait', 'i1', 0, 'p', ?1, ?1 || n, 0, 1, iif(?1 LIKE '%held', 't', NULL), 9000000000000000000 FROM n";
        sqlx::query(work).bind(name).execute(&mut foreign(&path).await).await.unwrap();
        let claim = best(async || {
            store.claim_wait(name, "t", "w", Utc::now() + Duration::from_mins(1)).await.unwrap();
        })
        .await;
        println!("claiming work, 2 000 waits of {name}: {claim:?}");
    }
}

/// 20 000 events of one stream, dated into the past, and stored after the existing ones.
const DATED_BACK: &str = "\
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) \
    INSERT INTO events (seq, id, event_name, event_key, event_data, event_time, is_processed, position) \
      SELECT last + n, 'e' || n, 'paid', '7', 'null', n, 1, last + n FROM n, \
        (SELECT coalesce(max(seq), 0) AS last FROM events)";

#[tokio::test]
async fn a_first_wait_costs_no_more_for_events_of_its_stream_that_are_dated_into_the_past() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let mut instance = WorkflowInstance::new("d", 1, json!(null));
    instance.next_execution = None;
    store.create_new_workflow(&instance).await.unwrap();
    let wait = EventSubscription::new(&instance.id, 0, "p", "paid", "7", instance.create_time);
    store.create_event_subscription(&wait).await.unwrap();
    let (owner, definitions) = (store.register().await.unwrap(), [("d".to_owned(), 1)]);
    let cost = async || {
        let load =
            best(async || assert!(store.load(&instance.id).await.unwrap().deliveries.is_empty())).await;
        let acquire = best(async || {
            assert!(store.acquire(&owner, &definitions, &instance.id, Utc::now()).await.unwrap().is_none());
        })
        .await;
        let claim = best(async || {
            assert!(store.claim(&owner, &definitions, Utc::now(), 9).await.unwrap().is_empty());
        })
        .await;
        let start = best(async || {
            let mut other = WorkflowInstance::new("other", 1, json!(null));
            other.next_execution = None;
            store.start(None, &other).await.unwrap();
        })
        .await;
        println!("load {load:?}, acquire {acquire:?}, claim {claim:?}, start {start:?}");
        [load, acquire, claim, start]
    };
    let few = cost().await;
    foreign(&path).await.execute(DATED_BACK).await.unwrap();
    let many = cost().await;
    for (many, few) in many.into_iter().zip(few) {
        assert!(many < few * 3 + Duration::from_millis(1), "{many:?} against {few:?}");
    }
    store
        .create_event_now(&Event { id: "now".to_owned(), ..Event::new("paid", "7", json!(1)) })
        .await
        .unwrap();
    assert_eq!(store.load(&instance.id).await.unwrap().deliveries[0].event.id, "now");
}
