//! What operators ask for in a large store. To print how long each question takes at a million instances:
//! `WFE_INSTANCES=1000000 cargo test --release -p wfe-sqlite --test listings -- --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects by unwrapping it, and a measurement prints what it finds"
)]

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe_core::traits::{
    EventFilter, InstanceState, MAX_ROWS, Management, Order, PersistenceProvider, Query, TextMatch,
    TimeRange, WaitFilter,
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::generator::sqlite_script;

async fn foreign(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// A store with this many instances, and a connection that reads it.
async fn large(folder: &Path, instances: u64, now: DateTime<Utc>) -> (Arc<dyn Management>, SqliteConnection) {
    let path = folder.join("a.db");
    SqlitePersistenceProvider::file(&path).open().await.unwrap().close().await;
    let mut tool = foreign(&path).await;
    let start = Instant::now();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sqlite_script(7, instances, now))).execute(&mut tool).await.unwrap();
    println!("{instances} instances in {:?}", start.elapsed());
    tool.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    (Arc::new(store).management().unwrap(), tool)
}

async fn counted(tool: &mut SqliteConnection, condition: &str) -> u64 {
    let text = format!("SELECT count(*) FROM workflows WHERE {condition}");
    let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(tool).await.unwrap();
    count.unsigned_abs()
}

/// Every query, with its condition in SQL. The times are in the middle of the generated ones.
fn queries(now: DateTime<Utc>) -> Vec<(&'static str, Query, String)> {
    let query = Query::default;
    let of = |states: &[InstanceState]| Query { states: states.to_vec(), ..query() };
    let day = TimeRange { from: Some(now - TimeDelta::days(1)), until: None };
    let since = (now - TimeDelta::days(1)).timestamp() * 1_000_000_000;
    let event = |name: &str| WaitFilter::Event { name: name.to_owned(), key: None };
    let order = Some("order".to_owned());
    let waits = |name: &str| {
        format!(
            "id IN (SELECT workflow_id FROM event_subscriptions WHERE is_open = 1 AND event_name = '{name}')"
        )
    };
    let is_waiting = "status = 'Runnable' AND next_execution IS NULL".to_owned();
    let text = |text: &str| text.to_owned();
    vec![
        ("all", query(), text("true")),
        ("oldest", Query { order: Order::Oldest, ..query() }, text("true")),
        (
            "of a definition",
            Query { definition: order.clone(), ..query() },
            text("workflow_definition_id = 'order'"),
        ),
        ("of none", Query { definition: Some(text("none")), ..query() }, text("false")),
        ("suspended", of(&[InstanceState::Suspended]), text("status = 'Suspended'")),
        ("due", of(&[InstanceState::Due]), format!("next_execution <= {}", now.timestamp_millis())),
        ("asleep", of(&[InstanceState::Asleep]), format!("next_execution > {}", now.timestamp_millis())),
        ("running", of(&[InstanceState::Running]), text("false")),
        ("waiting", of(&[InstanceState::Waiting]), is_waiting.clone()),
        ("open", of(&InstanceState::OPEN), text("status IN ('Runnable', 'Suspended')")),
        (
            "waiting of a definition",
            Query { definition: Some(text("refund")), ..of(&[InstanceState::Waiting]) },
            format!("{is_waiting} AND workflow_definition_id = 'refund'"),
        ),
        ("completed", of(&[InstanceState::Completed]), text("ending = 'Completed'")),
        ("failed", of(&[InstanceState::Failed]), text("ending = 'Failed'")),
        (
            "failed since yesterday",
            Query { completed: day, ..of(&[InstanceState::Failed]) },
            format!("ending = 'Failed' AND complete_time >= {since}"),
        ),
        (
            "ended since yesterday",
            Query { completed: day, order: Order::LastEnded, ..query() },
            format!("complete_time >= {since}"),
        ),
        (
            "cancelled and suspended",
            of(&[InstanceState::Cancelled, InstanceState::Suspended]),
            text("ending = 'Cancelled' OR status = 'Suspended'"),
        ),
        ("last ended", Query { order: Order::LastEnded, ..query() }, text("complete_time IS NOT NULL")),
        ("first due", Query { order: Order::FirstDue, ..query() }, text("next_execution IS NOT NULL")),
        (
            "by reference",
            Query { reference: Some(TextMatch::Exact(text("order-1003"))), ..query() },
            text("reference = 'order-1003'"),
        ),
        (
            "by prefix of a reference",
            Query { reference: Some(TextMatch::Prefix(text("order-10"))), ..query() },
            text("reference GLOB 'order-10*'"),
        ),
        ("by prefix of an id", Query { id_prefix: Some(text("01996")), ..query() }, text("id GLOB '01996*'")),
        ("by name", Query { name: Some(text("none")), ..query() }, text("false")),
        (
            "by attribute",
            Query { attributes: vec![(text("customer"), json!("customer-17"))], ..query() },
            text("attributes ->> 'customer' = 'customer-17'"),
        ),
        (
            "by two attributes",
            Query {
                attributes: vec![(text("region"), json!("eu")), (text("express"), json!(true))],
                ..query()
            },
            text("attributes ->> 'region' = 'eu' AND attributes ->> 'express' = 1"),
        ),
        ("waits for an event", Query { waits: Some(event("paid")), ..query() }, waits("paid")),
        ("waits for a person", Query { waits: Some(WaitFilter::Task), ..query() }, waits("wfe.user-task")),
        ("waits for nobody", Query { waits: Some(WaitFilter::Nobody), ..query() }, text("false")),
        (
            "waits of a definition",
            Query { waits: Some(event("paid")), definition: order.clone(), ..query() },
            format!("{} AND workflow_definition_id = 'order'", waits("paid")),
        ),
        (
            "failed at a step",
            Query { failed_at: Some(text("ship")), code: Some(text("timeout")), ..query() },
            text("cause ->> 'step' = 'ship' AND cause ->> 'code' = 'timeout'"),
        ),
        ("not acknowledged", Query { acknowledged: Some(false), ..query() }, text("cause IS NOT NULL")),
        (
            "by text",
            Query { text: Some(text("CUSTOMER-4711\"")), ..query() },
            text("data LIKE '%customer-4711\"%'"),
        ),
        ("requested", Query { requested: true, ..query() }, text("false")),
    ]
}

#[tokio::test]
async fn each_query_selects_what_a_search_through_all_rows_finds() {
    let folder = tempfile::tempdir().unwrap();
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let (store, mut tool) = large(folder.path(), 45_000, now).await;
    for (name, query, condition) in queries(now) {
        let expected = counted(&mut tool, &condition).await;
        let (mut seen, mut after, mut rows, mut windows) = (BTreeSet::new(), None, 0, 0);
        loop {
            let page = store.list(&query, now, after, 500).await.unwrap();
            assert!(page.looked_at <= MAX_ROWS && page.rows.len() <= 500, "{name}");
            assert!(page.is_whole || page.next.is_some(), "{name}");
            (rows, windows) = (rows + page.rows.len() as u64, windows + 1);
            seen.extend(page.rows.into_iter().map(|row| row.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((rows, seen.len() as u64), (expected, expected), "{name}");
        // A page has all that it was asked for, or has looked at a window of rows.
        assert!(windows <= expected / 500 + 4, "{name}: {windows} pages for {expected} rows");
        let count = store.count(&query, now, 10_000).await.unwrap();
        assert_eq!(count.is_exact, count.n == expected && expected <= 10_000 && count.is_exact, "{name}");
        assert!(if count.is_exact { count.n == expected } else { count.n <= expected }, "{name}: {count:?}");
    }
    let open = store.open_counts(now).await.unwrap();
    let all = counted(&mut tool, "status IN ('Runnable', 'Suspended')").await;
    assert_eq!(open.iter().map(|count| count.count).sum::<u64>(), all);
    let groups = store.failure_groups(&Query::default(), now).await.unwrap();
    let failed = counted(&mut tool, "cause IS NOT NULL").await;
    assert_eq!(groups.rows.iter().map(|group| group.count).sum::<u64>(), failed);
}

/// 6 000 instances that wait for the same event: more than a question about waits looks at.
const MANY_WAIT: &str = "\
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 6000) \
    INSERT INTO workflows (id, name, workflow_definition_id, version, status, create_time, data) \
      SELECT 'i' || n, 'i' || n, 'd', 1, 'Runnable', 0, 'null' FROM n; \
    WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 6000) \
    INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
      subscribe_as_of, is_open) SELECT 'w' || n, 'wait', 'i' || n, 0, 'p', 'paid', 'same', 0, 1 FROM n";

#[tokio::test]
async fn of_more_waits_than_a_question_looks_at_each_is_found_by_pages() {
    let folder = tempfile::tempdir().unwrap();
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let (store, mut tool) = large(folder.path(), 1_000, now).await;
    sqlx::raw_sql(MANY_WAIT).execute(&mut tool).await.unwrap();
    for key in [None, Some("same".to_owned())] {
        for order in [Order::Newest, Order::Oldest] {
            let waits = Some(WaitFilter::Event { name: "paid".to_owned(), key: key.clone() });
            let query = Query { waits, order, definition: Some("d".to_owned()), ..Query::default() };
            let (mut seen, mut after, mut rows) = (BTreeSet::new(), None, 0);
            loop {
                let page = store.list(&query, now, after, 500).await.unwrap();
                assert!(page.looked_at <= most_rows(&query), "{}", page.looked_at);
                rows += page.rows.len();
                seen.extend(page.rows.into_iter().map(|row| row.id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!((rows, seen.len()), (6_000, 6_000));
            let count = store.count(&query, now, 10_000).await.unwrap();
            assert!(!count.is_exact && (1..=6_000).contains(&count.n), "{count:?}");
        }
    }
}

/// The times within which 50 and 95 of 100 calls return.
async fn percentiles(call: impl AsyncFn()) -> [Duration; 2] {
    let mut times = Vec::new();
    for _ in 0..40 {
        let start = Instant::now();
        call().await;
        times.push(start.elapsed());
    }
    times.sort();
    [times[20], times[38]]
}

/// How many rows a question may look at: fewer if each of them needs a look into another table. This holds however slow the
/// machine is.
fn most_rows(query: &Query) -> u64 {
    match query.waits {
        None | Some(WaitFilter::Timer) => MAX_ROWS,
        Some(_) => MAX_ROWS / 4,
    }
}

/// What `Operator::stuck` asks for beside the other queries, with the number of rows.
fn of_stuck() -> Vec<(&'static str, Query, usize)> {
    let of = |states: &[InstanceState]| Query { states: states.to_vec(), ..Query::default() };
    let is_running = [InstanceState::Due, InstanceState::Asleep, InstanceState::Waiting];
    let without_host = Query {
        definition: Some("audit".to_owned()),
        version: Some(2),
        include_own: true,
        ..of(&is_running)
    };
    let (first_due, oldest) = (Order::FirstDue, Order::Oldest);
    vec![
        ("stuck: suspended", of(&[InstanceState::Suspended]), 200),
        ("stuck: due", Query { order: first_due, ..of(&[InstanceState::Due]) }, 200),
        ("stuck: requested", Query { requested: true, order: oldest, ..Query::default() }, 200),
        ("stuck: running", Query { order: oldest, ..of(&[InstanceState::Running]) }, 500),
        ("stuck: no host", Query { version: Some(9), ..without_host.clone() }, 200),
        ("stuck: few hosts", without_host, 200),
    ]
}

#[tokio::test]
async fn questions_to_a_large_store_are_answered_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let instances = std::env::var("WFE_INSTANCES").map_or(25_000, |count| count.parse().unwrap());
    let (store, _tool) = large(folder.path(), instances, now).await;
    let mut slow = Vec::new();
    // Who measures has the machine alone. In a test, ten times as long; in a debug build on a busy machine, forty times.
    let limit = match std::env::var("WFE_INSTANCES") {
        Ok(_) => 50,
        Err(_) if cfg!(debug_assertions) => 2_000,
        Err(_) => 500,
    };
    let mut told = |name: &str, [p50, p95]: [Duration; 2]| {
        println!("{name:40} {p50:>12.3?} {p95:>12.3?}");
        if p95 > Duration::from_millis(limit) {
            slow.push((name.to_owned(), p95));
        }
    };
    let lists = queries(now).into_iter().map(|(name, query, _)| (name, query, 50)).chain(of_stuck());
    for (name, query, limit) in lists {
        let list = percentiles(async || {
            let page = store.list(&query, now, None, limit).await.unwrap();
            assert!(page.looked_at <= most_rows(&query), "{name}: {}", page.looked_at);
        });
        told(&format!("list {name}"), list.await);
        let count = percentiles(async || {
            store.count(&query, now, 10_000).await.unwrap();
        });
        told(&format!("count {name}"), count.await);
    }
    told("open counts", percentiles(async || drop(store.open_counts(now).await.unwrap())).await);
    let range = |days| TimeRange { from: Some(now - TimeDelta::days(days)), until: Some(now) };
    let hour = Duration::from_hours(1);
    told(
        "ended in 24 h",
        percentiles(async || drop(store.ended_counts(range(1), hour).await.unwrap())).await,
    );
    let all = Query::default();
    told("failure groups", percentiles(async || drop(store.failure_groups(&all, now).await.unwrap())).await);
    told("step counts", percentiles(async || drop(store.step_counts("order", 1).await.unwrap())).await);
    told("errors", percentiles(async || drop(store.errors(None, None, 50).await.unwrap())).await);
    for (name, filter) in [
        ("events", EventFilter::default()),
        ("events of a name", EventFilter { name: Some("paid".to_owned()), ..EventFilter::default() }),
        ("unprocessed events", EventFilter { unprocessed: true, ..EventFilter::default() }),
    ] {
        told(name, percentiles(async || drop(store.events(&filter, None, 50).await.unwrap())).await);
    }
    told("waits", percentiles(async || drop(store.waits(None, None, 50).await.unwrap())).await);
    let activity = WaitFilter::Activity { name: "pack".to_owned() };
    let paid = WaitFilter::Event { name: "paid".to_owned(), key: None };
    for (name, filter) in [("waits for an activity", activity), ("waits for an event", paid)] {
        told(name, percentiles(async || drop(store.waits(Some(&filter), None, 200).await.unwrap())).await);
    }
    told("task counts", percentiles(async || drop(store.task_counts().await.unwrap())).await);
    assert!(slow.is_empty(), "{slow:?}");
}
