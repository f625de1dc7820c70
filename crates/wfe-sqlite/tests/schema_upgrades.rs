//! Files of earlier versions, and programs of earlier versions that have such a file open.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

mod earlier;

use std::{path::Path, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use earlier::EARLIER;
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe_core::{
    clock::Clock,
    models::{Event, EventSubscription, WorkflowInstance},
    traits::{
        Deaths, EventRepository, Intervention, Isolation, StepStore, SubscriptionRepository,
        WorkflowRepository,
    },
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::VirtualClock;

const NEWEST: i64 = 7;

async fn foreign(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

/// A store as a program of this version left it: its script, and a row in each table.
async fn made_by(version: usize, path: &Path) -> SqliteConnection {
    let mut connection = earlier::empty(version, path).await;
    connection.execute(ROWS).await.unwrap();
    if version > 1 {
        connection.execute(MORE_OF_VERSION_2).await.unwrap();
    }
    connection
}

const ROWS: &str = "\
    INSERT INTO workflows (id, name, workflow_definition_id, version, status, create_time, control, control_number, data) \
      VALUES ('i', 'i', 'd', 1, 'Runnable', 7, 'Suspend', 3, '{\"n\":1}'); \
    INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, event_published, \
      retry_count, children, scope, extension_attributes, container) \
      VALUES (1, 'live', 0, 0, 'p', 0, 1, 'Pending', 0, 0, '[]', '[]', '{}', ''); \
    INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed, position) \
      VALUES ('e', 'paid', '7', 'null', 8, 0, 1); \
    INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
      subscribe_as_of, is_open) VALUES ('w', 'wait', 'i', 0, 'p', 'paid', '7', 7, 1); \
    INSERT INTO scheduled_commands (command_name, data, execute_time) VALUES ('ProcessEvent', 'e', 9); \
    INSERT INTO execution_errors (error_time, workflow_id, execution_pointer_id, message) VALUES (9, 'i', 'p', 'm')";

/// An answered wait, an event that no instance waits for, a request with details.
const MORE_OF_VERSION_2: &str = "\
    INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
      subscribe_as_of, is_open, answer) VALUES ('a', 'wait', 'i', 0, 'q', 'wfe.activity:x', 'a', 0, 1, 'e'); \
    INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed, position, wanted) \
      VALUES ('unwanted', 'sent', '7', 'null', 8, 0, 2, 0); \
    UPDATE workflows SET control = 'Resume', control_detail = '3 \"Skip\"' WHERE id = 'i'";

/// The statements of a schema, in any order.
async fn schema_of(path: &Path) -> (i64, Vec<String>) {
    let mut connection = foreign(path).await;
    let version = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.unwrap();
    let all = sqlx::query_scalar("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    (version, all)
}

#[tokio::test]
async fn a_store_of_an_earlier_version_is_upgraded_with_all_its_data() {
    for version in 1..=EARLIER.len() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old.db"), folder.path().join("new.db"));
        made_by(version, &old).await.close().await.unwrap();
        assert_eq!(schema_of(&old).await.0, i64::try_from(version).unwrap());
        let store = SqlitePersistenceProvider::file(&old).open().await.unwrap();
        SqlitePersistenceProvider::file(&new).open().await.unwrap().close().await;
        assert_eq!(schema_of(&old).await, schema_of(&new).await);
        assert_eq!(schema_of(&old).await.0, NEWEST);
        let loaded = store.load("i").await.unwrap();
        assert_eq!((loaded.instance.data, loaded.instance.execution_pointers.len()), (json!({"n": 1}), 1));
        let request = loaded.control.unwrap();
        assert_eq!((request.number, request.intervention.is_some()), (3, version > 1));
        assert_eq!((loaded.waits.len(), loaded.deliveries.len()), (version.min(2), 1));
        assert_eq!(store.get_events("paid", "7", Utc::now()).await.unwrap(), ["e"]);
        let owner = store.register().await.unwrap();
        let claimed = store.claim(&owner, &[("d".to_owned(), 1)], Utc::now(), 9).await.unwrap();
        assert_eq!(claimed.len(), 1);
        store.close().await;
        SqlitePersistenceProvider::file(&old).open().await.unwrap().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_an_earlier_version_may_be_opened_by_many_at_once() {
    for version in 1..=EARLIER.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        made_by(version, &path).await.close().await.unwrap();
        let opening: Vec<_> = (0..8)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move { SqlitePersistenceProvider::file(&path).open().await.unwrap() })
            })
            .collect();
        for task in opening {
            let store = task.await.unwrap();
            assert_eq!(store.load("i").await.unwrap().waits.len(), version.min(2));
        }
    }
}

#[tokio::test]
async fn a_program_of_an_earlier_version_that_has_the_store_open_continues_after_the_upgrade() {
    for version in 1..=EARLIER.len() {
        goes_on(version).await;
    }
}

async fn goes_on(version: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut older = made_by(version, &path).await;
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    for statement in ROWS.replace("'i'", "'j'").replace("('e'", "('f'").replace("('w'", "('x'").split("; ") {
        let own = statement
            .replace("'ProcessEvent', 'e'", "'ProcessEvent', 'f'")
            .replace("(1, 'live'", "(2, 'live'");
        let own = own.replace("8, 0, 1)", "8, 0, 3)");
        older.execute(sqlx::AssertSqlSafe(own)).await.unwrap();
    }
    let loaded = store.load("j").await.unwrap();
    assert_eq!((loaded.waits.len(), loaded.deliveries.len()), (1, 1));
    let owner = store.register().await.unwrap();
    assert_eq!(store.claim(&owner, &[("d".to_owned(), 1)], Utc::now(), 9).await.unwrap().len(), 2);
    // A wait that version 1 stores does not mark the event it waits for; the next sweep of unprocessed events does.
    store.create_event(&Event { id: "g".to_owned(), ..Event::new("sent", "8", json!(null)) }).await.unwrap();
    let mut other = WorkflowInstance::new("d", 2, json!(null));
    (other.id, other.next_execution) = ("k".to_owned(), None);
    store.create_new_workflow(&other).await.unwrap();
    older
        .execute(
            "INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, \
             event_key, subscribe_as_of, is_open) VALUES ('y', 'wait', 'k', 0, 'p', 'sent', '8', 0, 1)",
        )
        .await
        .unwrap();
    let definitions = [("d".to_owned(), 2)];
    assert!(store.claim(&owner, &definitions, Utc::now(), 9).await.unwrap().is_empty());
    // The event that no instance waits for.
    assert_eq!(store.finish_events(None, 99).await.unwrap().finished, usize::from(version > 1));
    assert_eq!(store.claim(&owner, &definitions, Utc::now(), 9).await.unwrap()[0].id, "k");
    // A request of version 1 leaves the details of the request before it.
    older.execute("UPDATE workflows SET status = 'Suspended' WHERE id = 'j'").await.unwrap();
    store.intervene("j", &Intervention::Skip).await.unwrap();
    assert_eq!(store.load("j").await.unwrap().control.unwrap().intervention, Some(Intervention::Skip));
    older
        .execute(
            "UPDATE workflows SET control = 'Resume', control_number = control_number + 1 WHERE id = 'j'",
        )
        .await
        .unwrap();
    assert_eq!(store.load("j").await.unwrap().control.unwrap().intervention, None);
    let control: i64 =
        sqlx::query_scalar("UPDATE workflows SET control = NULL WHERE id = 'j' RETURNING control_number")
            .fetch_one(&mut older)
            .await
            .unwrap();
    assert_eq!(control, 5);
}

/// Programs of version 3 count each claim in `claims`, reset it with each commit, and know no other column.
#[tokio::test(flavor = "multi_thread")]
async fn the_counts_of_a_program_of_version_3_suspend_no_instance_of_this_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut older = made_by(3, &path).await;
    // Version 3 has claimed the instance often, and works on it.
    older.execute("UPDATE workflows SET control = NULL, claims = 7, owner = 77, fence = 9").await.unwrap();
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let definitions = [("d".to_owned(), 1)];
    let owner = store.register().await.unwrap();
    let claim = async || store.claim(&owner, &definitions, Utc::now(), 9).await.unwrap().pop().unwrap();
    // Its lock file was removed: nothing shows that it died.
    assert_eq!(claim().await.deaths, Deaths::default());
    // It takes the instance over as if this program were frozen, and loses it again, three times.
    for _ in 0..3 {
        older
            .execute("UPDATE workflows SET owner = 77, fence = fence + 1, claims = claims + 1")
            .await
            .unwrap();
        older.execute("UPDATE workflows SET owner = NULL, fence = fence + 1").await.unwrap();
        let claimed = claim().await;
        assert_eq!(claimed.deaths.alone, 0);
        assert!(store.isolate("i", claimed.fence, Isolation::Alone).await.unwrap());
    }
    // It commits, and releases the instance.
    older
        .execute("UPDATE workflows SET revision = revision + 1, claims = 0, owner = NULL, fence = fence + 1")
        .await
        .unwrap();
    assert_eq!(claim().await.deaths, Deaths::default());
    // However often processes die here, the count does not reach the number at which the older program suspends.
    for _ in 0..12 {
        let dying = store.register().await.unwrap();
        older.execute("UPDATE workflows SET owner = NULL, fence = fence + 1").await.unwrap();
        assert_eq!(store.claim(&dying, &definitions, Utc::now(), 9).await.unwrap().len(), 1);
        let left = folder.path().join(format!("a.db-owner-{}", dying.id()));
        let text = std::fs::read(&left).unwrap();
        drop(dying);
        std::fs::write(left, text).unwrap();
        claim().await;
    }
    let counted: i64 =
        sqlx::query_scalar("SELECT claims FROM workflows").fetch_one(&mut older).await.unwrap();
    assert_eq!(counted, 2);
}

/// Creates an instance at this time, which waits for `paid` from then on.
async fn waiting(store: &SqlitePersistenceProvider, id: &str, from: DateTime<Utc>) {
    waiting_for(store, id, "7", from).await;
}

/// As [`waiting`], with this key.
async fn waiting_for(store: &SqlitePersistenceProvider, id: &str, key: &str, from: DateTime<Utc>) {
    let mut instance = WorkflowInstance::new("d", 1, json!(null));
    (instance.id, instance.create_time) = (id.to_owned(), from);
    store.create_new_workflow(&instance).await.unwrap();
    waits_for(store, id, key, from).await;
}

async fn waits(store: &SqlitePersistenceProvider, id: &str, from: DateTime<Utc>) {
    waits_for(store, id, "7", from).await;
}

async fn waits_for(store: &SqlitePersistenceProvider, id: &str, key: &str, from: DateTime<Utc>) {
    let wait = EventSubscription::new(id, 0, "p", "paid", key, from);
    store.create_event_subscription(&wait).await.unwrap();
}

/// The events that the waits of an instance receive next.
async fn next(store: &SqlitePersistenceProvider, id: &str) -> Vec<String> {
    let deliveries = store.load(id).await.unwrap().deliveries;
    deliveries.into_iter().map(|delivery| delivery.event.id).collect()
}

#[tokio::test]
async fn what_earlier_versions_store_is_matched_by_date_alone() {
    for version in 1..=EARLIER.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut older = made_by(version, &path).await;
        // The clock was set back since the instance of the earlier version was created.
        let clock = Arc::new(VirtualClock::new(DateTime::from_timestamp_nanos(6)));
        let store = SqlitePersistenceProvider::file(&path).clock(clock.clone()).open().await.unwrap();
        older.execute("UPDATE events SET is_processed = 1, event_time = 5").await.unwrap();
        waits(&store, "i", DateTime::from_timestamp_nanos(7)).await;
        waiting(&store, "new", DateTime::from_timestamp_nanos(7)).await;
        older
            .execute(
                "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'events'; \
                 INSERT INTO events (seq, id, event_name, event_key, event_data, event_time, is_processed, position) \
                   SELECT seq, 'by the older', 'paid', '7', 'null', 6, 0, seq FROM sqlite_sequence WHERE name = 'events'",
            )
            .await
            .unwrap();
        assert_eq!((next(&store, "i").await, next(&store, "new").await), (vec![], vec![]));
        let now = Event { id: "now".to_owned(), ..Event::new("paid", "7", json!(null)) };
        store.create_event_now(&now).await.unwrap();
        assert_eq!((next(&store, "i").await, next(&store, "new").await), (vec![], vec!["now".to_owned()]));
        clock.set(clock.now() + TimeDelta::nanoseconds(1));
        let later = Event { id: "later".to_owned(), ..now };
        store.create_event_now(&later).await.unwrap();
        assert_eq!(next(&store, "i").await, ["later", "later"], "of the older wait and of the newer one");
    }
}

/// An instance, a wait, and an event without a date from the very instant in which the instance began, but stored before it.
const OF_ONE_INSTANT: &str = "\
    UPDATE sqlite_sequence SET seq = 3 WHERE name = 'events'; \
    INSERT INTO events (seq, id, event_name, event_key, event_data, event_time, is_processed, position, timely) \
      VALUES (3, 'before', 'paid', '8', 'null', 7, 0, 3, 1); \
    INSERT INTO workflows (id, name, workflow_definition_id, version, status, create_time, data, born) \
      VALUES ('third', 'third', 'd', 1, 'Runnable', 7, 'null', 3); \
    INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
      subscribe_as_of, is_open, born) VALUES ('third', 'wait', 'third', 0, 'p', 'paid', '8', 7, 1, 3)";

/// The query of version 3 for the waits that match an event before their instances have consumed any.
const ASKED_BY_VERSION_3: &str = "\
    SELECT s.workflow_id FROM events AS e JOIN event_subscriptions AS s ON s.is_open = 1 \
      AND s.event_name = e.event_name AND s.event_key = e.event_key \
    WHERE e.id = ? AND e.position IS NOT NULL \
      AND (e.event_time >= s.subscribe_as_of OR (e.timely = 1 AND e.position > s.born)) ORDER BY s.workflow_id";

#[tokio::test]
async fn what_version_3_stores_is_matched_as_version_3_did_also_while_it_runs_beside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut third = made_by(3, &path).await;
    third.execute(OF_ONE_INSTANT).await.unwrap();
    let now = DateTime::from_timestamp_nanos(7);
    let clock = Arc::new(VirtualClock::new(now));
    let store = SqlitePersistenceProvider::file(&path).clock(clock).open().await.unwrap();
    waiting_for(&store, "fourth", "8", now).await;
    for id in ["third", "fourth"] {
        assert_eq!(next(&store, id).await, ["before"], "{id}");
    }

    // For rows of this version, the position decides; for version 3 on the same file, the date.
    let event = |id: &str| Event { id: id.to_owned(), ..Event::new("paid", "9", json!(null)) };
    store.create_event_now(&event("early")).await.unwrap();
    waiting_for(&store, "own", "9", now).await;
    store.create_event_now(&event("late")).await.unwrap();
    assert_eq!(next(&store, "own").await, ["late"]);
    let asked = async |third: &mut SqliteConnection, id: &str| {
        sqlx::query_scalar::<_, String>(ASKED_BY_VERSION_3)
            .bind(id.to_owned())
            .fetch_all(third)
            .await
            .unwrap()
    };
    assert_eq!(asked(&mut third, "early").await, ["own"]);
    assert_eq!(asked(&mut third, "late").await, ["own"]);
    // Rows that version 3 stores meanwhile have no mark.
    third
        .execute(
            "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'events'; \
             INSERT INTO events (seq, id, event_name, event_key, event_data, event_time, is_processed, position, timely) \
               SELECT seq, 'by the third', 'paid', '10', 'null', 7, 0, seq, 1 FROM sqlite_sequence WHERE name = 'events'",
        )
        .await
        .unwrap();
    waiting_for(&store, "last", "10", now).await;
    assert_eq!(next(&store, "last").await, ["by the third"]);
}

#[tokio::test]
async fn a_store_of_an_earlier_version_that_lacks_something_is_refused_before_it_is_upgraded() {
    for version in 1..=EARLIER.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut tool = made_by(version, &path).await;
        tool.execute("DROP TABLE execution_errors").await.unwrap();
        let error = SqlitePersistenceProvider::file(&path).open().await.unwrap_err().to_string();
        let version = i64::try_from(version).unwrap();
        assert!(
            error.contains(&format!("has schema version {version}, but lacks the table execution_errors")),
            "{error}"
        );
        let left: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut tool).await.unwrap();
        assert_eq!(left, version);
    }
}
