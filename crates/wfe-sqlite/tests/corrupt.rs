//! Rows that do not decode, or cannot be: each spoils itself only.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping it")]

use std::{
    fmt::Debug,
    path::Path,
    sync::{Arc, Mutex},
};

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tracing::{
    Event as Said, Id, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use wfe_core::{
    Result, WfeError,
    clock::Clock,
    models::{
        Event, EventSubscription, ExecutionError, ExecutionPointer, ScheduledCommand, WorkflowInstance,
        WorkflowStatus,
    },
    traits::{
        Claimed, Committed, Control, EventRepository, Fence, Items, Owner, PersistenceProvider,
        ScheduledCommandRepository, StepCommit, StepStore, SubscriptionRepository, WorkflowRepository,
    },
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::VirtualClock;

/// A file with a store, which keeps no copies, and a connection of somebody who changes its rows by hand.
struct Place {
    _folder: TempDir,
    clock: Arc<VirtualClock>,
    store: SqlitePersistenceProvider,
    hand: SqliteConnection,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(VirtualClock::default());
        let store = open(&folder.path().join("a.db"), &clock).await;
        let hand = hand(&folder.path().join("a.db")).await;
        Self { _folder: folder, clock, store, hand }
    }

    /// Changes rows in a way in which no statement of the store does.
    async fn spoil(&mut self, statement: &str) {
        let changed = self.hand.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.unwrap();
        assert!(changed.rows_affected() > 0, "{statement}");
    }

    async fn claim(&self, owner: &Owner) -> Vec<String> {
        let claimed = self.store.claim(owner, &definitions(), self.clock.now(), 100).await.unwrap();
        ids(claimed)
    }

    /// Status and cause, from the row itself.
    async fn row(&mut self, seq: i64) -> (String, Option<Value>) {
        let (status, cause): (String, Option<String>) =
            sqlx::query_as("SELECT status, cause FROM workflows WHERE seq = ?")
                .bind(seq)
                .fetch_one(&mut self.hand)
                .await
                .unwrap();
        (status, cause.map(|cause| serde_json::from_str(&cause).unwrap()))
    }
}

async fn open(path: &Path, clock: &Arc<VirtualClock>) -> SqlitePersistenceProvider {
    let clock: Arc<dyn Clock> = clock.clone();
    SqlitePersistenceProvider::file(path).cache_bytes(0).clock(clock).open().await.unwrap()
}

/// With neither CHECKs nor triggers nor foreign keys: as whoever made the rows before there were any.
async fn hand(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(false);
    let mut hand = options.connect().await.unwrap();
    hand.execute("PRAGMA ignore_check_constraints = ON").await.unwrap();
    let triggers: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .fetch_all(&mut hand)
        .await
        .unwrap();
    for trigger in triggers {
        hand.execute(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"))).await.unwrap();
    }
    hand
}

fn definitions() -> Vec<(String, u32)> {
    vec![("d".to_owned(), 1)]
}

fn ids(claimed: Vec<Claimed>) -> Vec<String> {
    let mut ids: Vec<String> = claimed.into_iter().map(|claimed| claimed.id).collect();
    ids.sort();
    ids
}

fn instance(id: &str) -> WorkflowInstance {
    let mut instance = WorkflowInstance::new("d", 1, json!({"n": 1}));
    instance.id = id.to_owned();
    instance.create_time = DateTime::UNIX_EPOCH;
    instance.execution_pointers = vec![pointer("p")];
    instance
}

fn pointer(id: &str) -> ExecutionPointer {
    let mut pointer = ExecutionPointer::new(0);
    pointer.id = id.to_owned();
    pointer
}

fn texts(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn wait(id: &str, instance: &str, name: &str) -> EventSubscription {
    let mut wait = EventSubscription::new(instance, 0, "p", name, "k", DateTime::UNIX_EPOCH);
    wait.id = id.to_owned();
    wait
}

fn event(id: &str, at: i64) -> Event {
    let event_time = DateTime::UNIX_EPOCH + TimeDelta::seconds(at);
    Event { id: id.to_owned(), event_time, ..Event::new("paid", "k", json!(at)) }
}

/// Table, column and row of a corrupt value.
#[track_caller]
fn place_of<T: Debug>(found: Result<T>) -> (&'static str, &'static str, String) {
    match found {
        Err(WfeError::Corrupt { table, column, row, .. }) => (table, column, row),
        other => panic!("{other:?}"),
    }
}

async fn committed(store: &SqlitePersistenceProvider, fence: Fence, commit: StepCommit) {
    assert_eq!(store.commit_step(fence, &commit).await.unwrap(), Committed::Done);
}

fn commit(id: &str) -> StepCommit {
    StepCommit { instance_id: id.to_owned(), ..StepCommit::default() }
}

/// What a claim cannot take, by a column and the value there.
const UNCLAIMABLE: &[(&str, &str)] = &[
    ("owner", "-1"),
    ("owner", "-9223372036854775808"),
    ("fence", "-5"),
    ("fence", "9223372036854775807"),
    ("claims", "-1"),
    ("claims", "4294967296"),
    ("revision", "0"),
    ("revision", "9223372036854775807"),
    ("control_number", "-1"),
    ("completions", "9223372036854775807"),
    ("id", "CAST(x'62ff' AS TEXT)"),
];

#[tokio::test]
async fn an_instance_that_cannot_be_claimed_is_suspended_by_the_claim_and_holds_up_no_other() {
    for (column, value) in UNCLAIMABLE {
        let mut place = Place::new().await;
        for id in ["a", "b", "c"] {
            place.store.create_new_workflow(&instance(id)).await.unwrap();
        }
        place.spoil(&format!("UPDATE workflows SET {column} = {value} WHERE seq = 2")).await;
        let owner = place.store.enlist().await.unwrap();
        assert_eq!(place.claim(&owner).await, ["a", "c"], "{column} = {value}");
        let (status, cause) = place.row(2).await;
        let cause = cause.unwrap();
        assert_eq!((&*status, &cause["code"]), ("Suspended", &json!("corrupt")), "{column} = {value}");
        let row = if *column == "id" { "b\u{fffd}" } else { "b" };
        let said = cause["error"]["message"].as_str().unwrap();
        assert!(said.contains(&format!("workflows.{column}, row {row},")), "{said}");
        let failures = place.store.failures(row, None, 9).await.unwrap().rows;
        assert_eq!((failures.len(), &*failures[0].failure.code), (1, "corrupt"));
        assert!(place.claim(&owner).await.is_empty(), "once");
        if *column == "id" {
            continue;
        }
        // What only the engine uses is such that it can be ended, or resumed.
        place.store.request("b", Control::Resume).await.unwrap();
        assert_eq!(place.claim(&owner).await, ["b"], "{column} = {value}");
        let loaded = place.store.load("b").await.unwrap();
        let applied = loaded.control.map(|request| request.number);
        let ends = StepCommit { status: Some(WorkflowStatus::Terminated), applied, ..commit("b") };
        committed(&place.store, loaded.fence, ends).await;
    }
}

#[tokio::test]
async fn an_instance_that_is_acquired_and_cannot_be_is_suspended_too() {
    for (column, value) in UNCLAIMABLE.iter().filter(|(column, _)| *column != "id") {
        let mut place = Place::new().await;
        place.store.create_new_workflow(&instance("a")).await.unwrap();
        place.spoil(&format!("UPDATE workflows SET {column} = {value}")).await;
        let owner = place.store.enlist().await.unwrap();
        assert_eq!(place.store.acquire(&owner, "a", place.clock.now()).await.unwrap(), None);
        assert_eq!(place.row(1).await.0, "Suspended", "{column} = {value}");
    }
}

#[tokio::test]
async fn an_ended_instance_with_an_owner_that_is_none_is_left_as_it_is() {
    let mut place = Place::new().await;
    place.store.create_new_workflow(&instance("a")).await.unwrap();
    place.spoil("UPDATE workflows SET owner = -1, status = 'Complete'").await;
    place.store.create_new_workflow(&instance("b")).await.unwrap();
    let owner = place.store.enlist().await.unwrap();
    assert_eq!(place.claim(&owner).await, ["b"]);
    assert_eq!(place.row(1).await, ("Complete".to_owned(), None));
}

#[tokio::test]
async fn what_a_dead_owner_had_is_freed_whatever_one_row_of_it_holds() {
    for (column, value) in [("fence", i64::MAX), ("revision", i64::MAX), ("fence", i64::MIN)] {
        let mut place = Place::new().await;
        let dead = place.store.enlist().await.unwrap();
        for id in ["a", "b", "c"] {
            place.store.start(Some(&dead), &instance(id)).await.unwrap();
        }
        place.spoil(&format!("UPDATE workflows SET {column} = {value} WHERE id = 'b'")).await;
        drop(dead);
        let owner = place.store.enlist().await.unwrap();
        let claimed = place.claim(&owner).await;
        assert!(claimed.contains(&"a".to_owned()) && claimed.contains(&"c".to_owned()), "{claimed:?}");
    }
}

#[tokio::test]
async fn what_shows_that_owners_go_on_is_summed_up_whatever_one_row_holds() {
    let mut place = Place::new().await;
    let busy = place.store.enlist().await.unwrap();
    for id in ["a", "b", "c"] {
        place.store.start(Some(&busy), &instance(id)).await.unwrap();
    }
    place.store.create_new_workflow(&instance("free")).await.unwrap();
    place.spoil("UPDATE workflows SET seq = 9223372036854775800 + seq WHERE owner IS NOT NULL").await;
    let owner = place.store.enlist().await.unwrap();
    assert_eq!(place.claim(&owner).await, ["free"]);
}

/// What makes the instance `b` unreadable, and where that is told.
const UNREADABLE: &[(&str, &str, &str, &str)] = &[
    ("UPDATE workflows SET data = '{' WHERE id = 'b'", "workflows", "data", "b"),
    ("UPDATE workflows SET version = 4294967296 WHERE id = 'b'", "workflows", "version", "b"),
    ("UPDATE workflows SET name = CAST(x'ff' AS TEXT) WHERE id = 'b'", "workflows", "name", "b"),
    ("UPDATE workflows SET fence = -1 WHERE id = 'b'", "workflows", "fence", "b"),
    ("UPDATE workflows SET owner = -1 WHERE id = 'b'", "workflows", "owner", "b"),
    ("UPDATE workflows SET cause = '{}' WHERE id = 'b'", "workflows", "cause", "b"),
    ("UPDATE workflows SET control = 'Dance' WHERE id = 'b'", "workflows", "control", "b"),
    (
        "UPDATE workflows SET control = 'Resume', control_number = 7, control_detail = '7 [' WHERE id = 'b'",
        "workflows",
        "control_detail",
        "b",
    ),
    (
        "UPDATE execution_pointers SET children = '[1]' WHERE workflow = 2",
        "execution_pointers",
        "children",
        "p of b",
    ),
    ("UPDATE execution_pointers SET scope = '' WHERE workflow = 2", "execution_pointers", "scope", "p of b"),
    (
        "UPDATE execution_pointers SET extension_attributes = '[]' WHERE workflow = 2",
        "execution_pointers",
        "extension_attributes",
        "p of b",
    ),
    (
        "UPDATE execution_pointers SET outcome = '\"' WHERE workflow = 2",
        "execution_pointers",
        "outcome",
        "p of b",
    ),
    (
        "UPDATE execution_pointers SET status = 'Dancing' WHERE workflow = 2",
        "execution_pointers",
        "status",
        "p of b",
    ),
    (
        "UPDATE execution_pointers SET retry_count = -1 WHERE workflow = 2",
        "execution_pointers",
        "retry_count",
        "p of b",
    ),
    ("DELETE FROM execution_pointers WHERE workflow = 2", "execution_pointers", "workflow", "b"),
    (
        "UPDATE event_subscriptions SET subscription_data = '{' WHERE workflow_id = 'b'",
        "event_subscriptions",
        "subscription_data",
        "wb",
    ),
    (
        "UPDATE event_subscriptions SET id = CAST(x'77ff' AS TEXT) WHERE workflow_id = 'b'",
        "event_subscriptions",
        "id",
        "w\u{fffd}",
    ),
];

#[tokio::test]
async fn an_instance_that_cannot_be_read_is_corrupt_for_whoever_asks_for_it_and_for_nobody_else() {
    for (spoils, table, column, row) in UNREADABLE {
        let mut place = Place::new().await;
        for id in ["a", "b", "c"] {
            place.store.create_new_workflow(&instance(id)).await.unwrap();
            let wait = EventSubscription {
                subscription_data: Some(json!(1)),
                ..wait(&format!("w{id}"), id, "paid")
            };
            place.store.create_event_subscription(&wait).await.unwrap();
        }
        place.store.create_event(&event("e", 0)).await.unwrap();
        place.spoil(spoils).await;
        let told = (*table, *column, (*row).to_owned());
        assert_eq!(place_of(place.store.load("b").await), told, "{spoils}");
        let mut many = place.store.load_many(&texts(&["a", "b", "c", "d"])).await.unwrap();
        many.sort_by(|(one, _), (other, _)| one.cmp(other));
        let [(a, Ok(one)), (b, broken), (c, Ok(other))] = <[_; 3]>::try_from(many).unwrap() else {
            panic!("{spoils}")
        };
        assert_eq!([&*a, &*b, &*c], ["a", "b", "c"]);
        assert_eq!((one.waits.len(), one.deliveries.len(), other.waits.len()), (1, 1, 1));
        assert_eq!(place_of(broken), told, "{spoils}");
    }
}

#[tokio::test]
async fn an_event_that_does_not_decode_is_corrupt_for_the_instances_that_take_it_and_for_no_other() {
    let mut place = Place::new().await;
    for id in ["a", "b"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
    }
    place.store.create_event_subscription(&wait("wa", "a", "paid")).await.unwrap();
    place.store.create_event_subscription(&wait("wb", "b", "sent")).await.unwrap();
    place.store.create_event(&event("e", 0)).await.unwrap();
    place.spoil("UPDATE events SET event_data = '[' WHERE id = 'e'").await;
    let told = ("events", "event_data", "e".to_owned());
    assert_eq!(place_of(place.store.load("a").await), told);
    let many = place.store.load_many(&texts(&["a", "b"])).await.unwrap();
    for (id, one) in many {
        if id == "a" {
            assert_eq!(place_of(one), told)
        } else {
            one.unwrap();
        }
    }
}

#[tokio::test]
async fn lists_leave_out_what_does_not_decode() {
    let mut place = Place::new().await;
    for id in ["a", "b", "c"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
        place.store.create_event_subscription(&wait(&format!("w{id}"), id, "paid")).await.unwrap();
        place.store.create_event(&event(&format!("e{id}"), 1)).await.unwrap();
    }
    place.clock.advance(std::time::Duration::from_secs(9));
    let (store, now) = (&place.store, place.clock.now());
    let all = texts(&["a", "b", "c"]);
    for spoils in [
        "UPDATE execution_pointers SET scope = '' WHERE workflow = 1",
        "UPDATE event_subscriptions SET subscription_data = '{' WHERE id = 'wa'",
    ] {
        place.hand.execute(spoils).await.unwrap();
    }
    let found = store.get_workflow_instances(&all).await.unwrap();
    assert_eq!(found.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["b", "c"]);
    let found = store.get_subscriptions("paid", "k", now).await.unwrap();
    assert_eq!(found.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["wb", "wc"]);
    let first = store.get_first_open_subscription("paid", "k", now).await.unwrap().unwrap();
    assert_eq!(first.id, "wb");
    assert!(store.set_subscription_token("wb", "t", "w", now + TimeDelta::seconds(9)).await.unwrap());
    let first = store.get_first_open_subscription("paid", "k", now).await.unwrap().unwrap();
    assert_eq!(first.id, "wc", "the other one is held");
    for spoils in [
        "UPDATE workflows SET id = CAST(x'61ff' AS TEXT) WHERE id = 'a'",
        "UPDATE events SET id = CAST(x'65ff' AS TEXT) WHERE id = 'ea'",
    ] {
        place.hand.execute(spoils).await.unwrap();
    }
    assert_eq!(store.get_runnable_instances(now).await.unwrap(), ["b", "c"]);
    assert_eq!(store.get_runnable_events(now).await.unwrap(), ["eb", "ec"]);
    assert_eq!(store.get_events("paid", "k", now).await.unwrap(), ["eb", "ec"]);
    let before = DateTime::UNIX_EPOCH - TimeDelta::seconds(1);
    let upcoming = store.upcoming(&definitions(), before, 9).await.unwrap();
    assert_eq!(upcoming.into_iter().map(|(_, id)| id).collect::<Vec<_>>(), ["b", "c"]);
    let owner = store.enlist().await.unwrap();
    let mut wanted = store.claim(&owner, &definitions(), now, 9).await.map(ids).unwrap();
    assert_eq!(wanted, ["b", "c"]);
    for id in &wanted {
        store.request(id, Control::Suspend).await.unwrap();
    }
    place.hand.execute("UPDATE workflows SET id = CAST(x'62ff' AS TEXT) WHERE id = 'b'").await.unwrap();
    wanted = store.asked_of(&owner).await.unwrap();
    assert_eq!(wanted, ["c"]);
}

#[tokio::test]
async fn pages_go_on_behind_rows_that_do_not_decode() {
    let mut place = Place::new().await;
    let owner = place.store.enlist().await.unwrap();
    let started = place.store.start(Some(&owner), &instance("i")).await.unwrap();
    let finished = (1..=9).map(|n| ExecutionPointer { active: false, ..pointer(&format!("f{n}")) }).collect();
    let items = vec![Items { container: "p".to_owned(), values: vec![json!(1)] }];
    committed(&place.store, started.fence.unwrap(), StepCommit { finished, items, ..commit("i") }).await;
    let errors: Vec<_> = (0..9).map(|n| ExecutionError::new("i", "p", format!("{n}"))).collect();
    place.store.persist_errors(&errors).await.unwrap();
    for n in 0..9 {
        place.store.create_event_subscription(&wait(&format!("w{n}"), "i", "wfe.x")).await.unwrap();
    }
    for spoils in [
        "UPDATE execution_pointers SET children = '{' WHERE kind = 'history' AND number BETWEEN 2 AND 6",
        "UPDATE execution_errors SET causes = '{' WHERE seq BETWEEN 2 AND 6",
        "UPDATE event_subscriptions SET subscription_data = '{' WHERE id BETWEEN 'w1' AND 'w5'",
        "UPDATE execution_pointers SET item_values = '[' WHERE kind = 'items'",
    ] {
        place.spoil(spoils).await;
    }
    let store = &place.store;
    let (mut numbers, mut broken, mut after) = (Vec::new(), Vec::new(), 0);
    loop {
        let page = store.finished("i", "", after, 2).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (number, row) in page {
            match row {
                Ok(row) => numbers.push(row.number),
                row => {
                    let id = format!("f{number} of i");
                    assert_eq!(place_of(row), ("execution_pointers", "children", id));
                    broken.push(number);
                }
            }
        }
    }
    assert_eq!((numbers, broken), (vec![1, 7, 8, 9], vec![2, 3, 4, 5, 6]));
    let (mut said, mut after) = (Vec::new(), None);
    loop {
        let page = store.failures("i", after, 2).await.unwrap();
        said.extend(page.rows.into_iter().map(|row| row.failure.error.message));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(said, ["0", "6", "7", "8"]);
    assert_eq!(store.last_failures("i", &texts(&["p"])).await.unwrap().len(), 1);
    let (mut open, mut after) = (Vec::new(), None);
    loop {
        let page = store.open_waits("wfe.x", after, 2).await.unwrap();
        open.extend(page.rows.into_iter().map(|wait| wait.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(open, ["w0", "w6", "w7", "w8"]);
    let expiry = place.clock.now() + TimeDelta::hours(1);
    for expected in [Some("w0"), Some("w6"), Some("w7"), Some("w8"), None] {
        let claimed = store.claim_wait("wfe.x", "t", "w", expiry).await.unwrap();
        assert_eq!(claimed.map(|wait| wait.id).as_deref(), expected);
    }
    assert_eq!(
        place_of(store.items("i", "p", 0, 9).await),
        ("execution_pointers", "item_values", "p of i".to_owned()),
        "the items of one container are one value"
    );
}

#[tokio::test]
async fn commands_behind_those_that_do_not_decode_are_run() {
    let mut place = Place::new().await;
    for n in 0..700 {
        place.store.schedule_command(&ScheduledCommand::process_event(format!("e{n}"), n)).await.unwrap();
    }
    place
        .spoil("UPDATE scheduled_commands SET command_name = 'Dance' WHERE execute_time BETWEEN 1 AND 600")
        .await;
    let ran = Arc::new(Mutex::new(Vec::new()));
    let note = |command: ScheduledCommand| {
        let ran = Arc::clone(&ran);
        Box::pin(async move {
            ran.lock().unwrap().push(command.execute_time);
            Ok(())
        }) as std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>
    };
    place.store.process_commands(place.clock.now() + TimeDelta::seconds(9), &note).await.unwrap();
    let expected: Vec<i64> = std::iter::once(0).chain(601..700).collect();
    assert_eq!(*ran.lock().unwrap(), expected);
}

#[tokio::test]
async fn events_behind_those_without_a_readable_id_are_finished() {
    let mut place = Place::new().await;
    for n in 0..9 {
        place.store.create_event(&event(&format!("e{n}"), 0)).await.unwrap();
    }
    place.spoil("UPDATE events SET id = CAST(x'65ff' || seq AS TEXT) WHERE seq BETWEEN 2 AND 7").await;
    let (mut finished, mut after) = (0, None);
    loop {
        let swept = place.store.finish_events(after.as_deref(), 2).await.unwrap();
        finished += swept.finished;
        after = swept.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(finished, 9);
}

#[tokio::test]
async fn an_instance_without_pointers_has_not_begun_unless_it_had_some() {
    let mut place = Place::new().await;
    let mut blank = instance("i");
    blank.execution_pointers.clear();
    place.store.create_new_workflow(&blank).await.unwrap();
    // Written again, claimed and given back: it has not begun by that.
    blank.data = json!(2);
    place.store.persist_workflow(&blank).await.unwrap();
    let owner = place.store.enlist().await.unwrap();
    let claimed = place.store.claim(&owner, &definitions(), place.clock.now(), 9).await.unwrap();
    committed(&place.store, claimed[0].fence, StepCommit { release: true, ..commit("i") }).await;
    assert_eq!(place.store.load("i").await.unwrap().instance.execution_pointers, []);
    let claimed = place.store.claim(&owner, &definitions(), place.clock.now(), 9).await.unwrap();
    let begins = StepCommit { upserted: vec![pointer("p")], release: true, ..commit("i") };
    committed(&place.store, claimed[0].fence, begins).await;
    assert_eq!(place.store.load("i").await.unwrap().instance.execution_pointers.len(), 1);
    place.spoil("DELETE FROM execution_pointers").await;
    let lost = ("execution_pointers", "workflow", "i".to_owned());
    assert_eq!(place_of(place.store.load("i").await), lost);
    let (_, one) = place.store.load_many(&texts(&["i"])).await.unwrap().pop().unwrap();
    assert_eq!(place_of(one), lost);
    // Who says by a plain write that it has none, lets it begin anew.
    place.store.persist_workflow(&blank).await.unwrap();
    assert_eq!(place.store.load("i").await.unwrap().instance.execution_pointers, []);
    blank.status = WorkflowStatus::Complete;
    place.store.persist_workflow(&blank).await.unwrap();
    place.spoil("UPDATE workflows SET begun = 1").await;
    place.store.load("i").await.expect("what has ended stands nowhere");
}

#[tokio::test]
async fn pointers_that_were_stored_by_a_start_or_for_a_child_are_missed_too() {
    let mut place = Place::new().await;
    let owner = place.store.enlist().await.unwrap();
    let started = place.store.start(Some(&owner), &instance("i")).await.unwrap();
    let created = vec![instance("child")];
    committed(&place.store, started.fence.unwrap(), StepCommit { created, ..commit("i") }).await;
    place.spoil("DELETE FROM execution_pointers").await;
    for id in ["i", "child"] {
        assert_eq!(place_of(place.store.load(id).await).2, id);
    }
}

#[tokio::test]
async fn a_wait_is_void_if_a_caller_closed_it_and_lost_if_nobody_did() {
    let mut place = Place::new().await;
    for id in ["i", "j"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
    }
    for id in ["closed", "terminated", "gone", "theirs", "older"] {
        place.store.create_event_subscription(&wait(id, "i", "paid")).await.unwrap();
    }
    place.store.terminate_subscription("terminated").await.unwrap();
    for spoils in [
        "UPDATE event_subscriptions SET is_open = 0 WHERE id = 'closed'",
        "DELETE FROM event_subscriptions WHERE id = 'gone'",
        "UPDATE event_subscriptions SET workflow_id = 'j' WHERE id = 'theirs'",
        // As version 3 has left it, which did not tell.
        "UPDATE event_subscriptions SET is_open = 0, terminated = NULL WHERE id = 'older'",
    ] {
        place.spoil(spoils).await;
    }
    let check = async |ids: &[&str]| place.store.check_closed_waits("i", &texts(ids)).await;
    check(&["terminated", "older"]).await.unwrap();
    for (id, column) in [("closed", "is_open"), ("gone", "id"), ("theirs", "workflow_id")] {
        let told = place_of(check(&["terminated", id]).await);
        assert_eq!(told, ("event_subscriptions", column, id.to_owned()));
    }
}

#[tokio::test]
async fn bounds_that_had_none_are_kept_by_the_tables_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = open(&path, &Arc::new(VirtualClock::default())).await;
    let owner = store.enlist().await.unwrap();
    store.start(Some(&owner), &instance("i")).await.unwrap();
    store.create_event(&event("e", 0)).await.unwrap();
    store.create_event_subscription(&wait("w", "i", "paid")).await.unwrap();
    store.persist_errors(&[ExecutionError::new("i", "p", "m")]).await.unwrap();
    let mut hand = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
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
        "UPDATE events SET seq = 9223372036854775807",
        "UPDATE events SET position = 9223372036854775807",
        "UPDATE events SET event_data = '{'",
        "UPDATE event_subscriptions SET subscription_data = '{'",
        "UPDATE execution_errors SET causes = '{'",
    ] {
        assert!(hand.execute(change).await.is_err(), "{change}");
    }
}

#[tokio::test]
async fn a_file_of_version_3_that_holds_such_rows_is_upgraded_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("a.db"), Arc::new(VirtualClock::default()));
    let mut older = hand(&path).await;
    older.execute("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL").await.unwrap();
    for script in [
        include_str!("../src/sql/schema.sql"),
        include_str!("../src/sql/version_2.sql"),
        include_str!("../src/sql/version_3.sql"),
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
    let owner = store.enlist().await.unwrap();
    let claimed = store.claim(&owner, &definitions(), clock.now(), 100).await.map(ids).unwrap();
    // Of these, the model of some does not decode: whoever has claimed them finds it.
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

/// Keeps the errors that were logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Said<'_>) {
        struct Fields(String);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn what_does_not_decode_is_reported_once_by_table_column_and_row() {
    let mut place = Place::new().await;
    for id in ["a", "b"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
    }
    place.spoil("UPDATE execution_pointers SET scope = '{\"secret\"' WHERE workflow = 1").await;
    let log = Log::default();
    let _listens = tracing::subscriber::set_default(log.clone());
    for _ in 0..3 {
        let found = place.store.get_workflow_instances(&texts(&["a", "b"])).await.unwrap();
        assert_eq!(found.len(), 1);
    }
    let said = log.0.lock().unwrap().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("execution_pointers.scope, row p of a,") && !said[0].contains("secret"),
        "{said:?}"
    );
    place.spoil("UPDATE workflows SET data = '' WHERE id = 'a'").await;
    place.store.get_workflow_instances(&texts(&["a"])).await.unwrap();
    assert_eq!(log.0.lock().unwrap().len(), 2, "another column");
}
