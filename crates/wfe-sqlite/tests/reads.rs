//! Reads use a snapshot: they write nothing, and do not wait for another process that is in the middle of a commit.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe_core::{
    WfeError,
    clock::Clock,
    models::{Event, EventSubscription, ExecutionPointer, WorkflowInstance},
    traits::{
        Control, EventRepository, HostCard, Owner, PersistenceProvider, ScheduledCommandRepository,
        StepCommit, StepStore, SubscriptionRepository, WorkflowRepository,
    },
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::VirtualClock;

/// The methods of all traits that read.
const READS: &[&str] = &[
    "get_runnable_instances",
    "get_workflow_instance",
    "get_workflow_instance_by_name",
    "get_workflow_instances",
    "get_event",
    "get_runnable_events",
    "get_events",
    "get_subscriptions",
    "get_subscription",
    "get_first_open_subscription",
    "ensure_store_exists", // of a store that is up to date
    "load",
    "inspect",
    "pending",
    "load_many",
    "check_closed_waits",
    "requested",
    "ended",
    "upcoming",
    "upcoming_event",
    "open_waits",
    "unanswerable",
    "finished",
    "find",
    "named",
    "items",
    "failures",
    "last_failures",
    "living_owners", // which reads files beside the database
    "hosts",
    "verify",
    "heartbeat", // which goes into a file beside the database
    "describe",
];

/// The methods that write, except if they find nothing to do.
const WRITES_IF_NEED_BE: &[&str] = &[
    "claim",
    "acquire",
    "claim_loaded",
    "acquire_loaded",
    "position_due_events",
    "finish_events",
    "claim_wait",
    "process_commands",
    "persist_errors",
];

/// The methods that write.
const WRITES: &[&str] = &[
    "create_new_workflow",
    "persist_workflow",
    "persist_workflow_with_subscriptions",
    "next_definition_sequence",
    "create_event",
    "create_event_now",
    "mark_event_processed",
    "mark_event_unprocessed",
    "create_event_subscription",
    "terminate_subscription",
    "set_subscription_token",
    "clear_subscription_token",
    "schedule_command",
    "register",
    "start",
    "start_if",
    "start_with",
    "restart",
    "reopen",
    "replace",
    "commit_step",
    "request",
    "intervene",
    "isolate",
    "publish",
    "finish_event",
    "answer_wait",
];

/// A new method of the contract must be listed here under its kind.
#[test]
fn each_method_of_each_trait_is_a_read_or_a_write() {
    let traits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wfe-core/src/traits");
    let mut found = BTreeSet::new();
    for file in fs::read_dir(traits).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue; // the management interface, which is not called here
        }
        let text = fs::read_to_string(&path).unwrap();
        let methods = text.lines().filter_map(|line| line.strip_prefix("    async fn "));
        let names = methods.filter_map(|method| method.split('(').next()).map(str::to_owned);
        found.extend(names);
    }
    let listed = [READS, WRITES_IF_NEED_BE, WRITES].concat().into_iter().map(str::to_owned);
    assert_eq!(found, listed.collect());
}

/// Another process in the middle of a commit.
struct Committing(Child);

/// The variable that names the database to that process.
const DATABASE: &str = "WFE_READING_DATABASE";

/// The other process: takes the write lock, writes, and keeps the lock until its input ends. Without the variable this is no
/// separate test.
#[tokio::test]
async fn other_process() {
    let Some(database) = env::var_os(DATABASE) else { return };
    let mut connection = foreign(Path::new(&database)).await;
    connection.execute("BEGIN IMMEDIATE; UPDATE workflows SET revision = revision + 1").await.unwrap();
    println!("\n@stands");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    connection.execute("COMMIT").await.unwrap();
}

impl Committing {
    fn on(database: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["other_process", "--exact", "--nocapture", "--test-threads=1"]).env(DATABASE, database);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line.ends_with("@stands")));
        // Reads on, so that the process can report its end.
        std::thread::spawn(move || said.for_each(drop));
        Self(child)
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

async fn foreign(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// What changes with each commit of any process: the file, its log, and SQLite's data version.
async fn written(path: &Path, looker: &mut SqliteConnection) -> (i64, Vec<u8>, Vec<u8>) {
    let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(looker).await.unwrap();
    let log = PathBuf::from(format!("{}-wal", path.display()));
    (version, fs::read(path).unwrap(), fs::read(log).unwrap())
}

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
    clock: Arc<VirtualClock>,
    store: SqlitePersistenceProvider,
    owner: Owner,
}

const DEFINITION: &str = "d";

impl Place {
    /// A store in which a busy instance waits for an event that has become due, and has no position yet.
    async fn with_what_became_due() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, clock) = (folder.path().join("a.db"), Arc::new(VirtualClock::default()));
        let open = SqlitePersistenceProvider::file(&path).clock(clock.clone());
        // A write is tried once, and then returns `Busy`.
        let store = open.busy_timeout(Duration::ZERO).open().await.unwrap();
        let (owner, now) = (store.register().await.unwrap(), clock.now());
        let mut instance = WorkflowInstance::new(DEFINITION, 1, json!(null));
        (instance.id, instance.name, instance.create_time) = ("i".to_owned(), "i".to_owned(), now);
        instance.next_execution = None;
        instance.execution_pointers =
            vec![ExecutionPointer { id: "p".to_owned(), ..ExecutionPointer::new(0) }];
        let fence = store.start(Some(&owner), &instance).await.unwrap().fence.unwrap();
        let wait =
            EventSubscription { id: "w".to_owned(), ..EventSubscription::new("i", 0, "p", "n", "k", now) };
        let commit =
            StepCommit { instance_id: "i".to_owned(), subscribed: vec![wait], ..StepCommit::default() };
        store.commit_step(fence, &commit).await.unwrap();
        let ahead = now + TimeDelta::seconds(1);
        for id in ["e", "f"] {
            let event = Event { id: id.to_owned(), event_time: ahead, ..Event::new("n", "k", json!(1)) };
            store.create_event(&event).await.unwrap();
        }
        clock.set(ahead);
        Self { _folder: folder, path, clock, store, owner }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

fn ids() -> Vec<String> {
    vec!["i".to_owned(), "unknown".to_owned()]
}

/// Calls every read, once for each kind of result.
async fn read_all(place: &Place) -> Vec<&'static str> {
    let (store, now) = (&place.store, place.now());
    let definitions = [(DEFINITION.to_owned(), 1)];
    let mut called = Vec::new();
    macro_rules! read {
        ($name:ident($($arg:expr),*)) => {{
            called.push(stringify!($name));
            store.$name($($arg),*).await.unwrap()
        }};
    }
    assert_eq!(read!(get_runnable_instances(now)), Vec::<String>::new());
    assert_eq!(read!(get_workflow_instance("i")).id, "i");
    assert_eq!(read!(get_workflow_instance_by_name("i")).id, "i");
    assert_eq!(read!(get_workflow_instances(&ids())).len(), 1);
    assert!(!read!(get_event("e")).is_processed);
    assert_eq!(read!(get_runnable_events(now)), ["e", "f"]);
    assert_eq!(read!(get_events("n", "k", now)), ["e", "f"]);
    assert_eq!(read!(get_subscriptions("n", "k", now)).len(), 1);
    assert_eq!(read!(get_subscription("w")).id, "w");
    assert!(read!(get_first_open_subscription("n", "k", now)).is_some());
    read!(ensure_store_exists());
    let loaded = read!(load("i"));
    assert_eq!((loaded.waits.len(), loaded.deliveries.len()), (1, 0), "they have no positions yet");
    assert_eq!(read!(inspect("i")), loaded);
    assert_eq!(read!(pending("i", None)), loaded.into_pending(None));
    let many = read!(load_many(&ids())).into_iter().map(|(_, one)| one.unwrap().deliveries);
    assert_eq!(many.collect::<Vec<_>>(), [vec![]]);
    read!(check_closed_waits("i", &["w".to_owned()]));
    assert_eq!(read!(requested(&place.owner)), Vec::<String>::new());
    assert_eq!(read!(ended(&ids())), ["unknown"]);
    assert_eq!(read!(upcoming(&definitions, now, 9)), []);
    assert_eq!(read!(upcoming_event(now)), None);
    assert_eq!(read!(open_waits("wfe.user-task", None, 9)).rows, []);
    assert_eq!(read!(unanswerable("i", &["w".to_owned()])), Vec::<String>::new());
    assert!(read!(finished("i", "", 0, 9)).is_empty());
    assert_eq!(read!(find(DEFINITION, "unknown")), None);
    assert!(read!(named("wfe.unknown", None, 9)).rows.is_empty());
    assert_eq!(read!(items("i", "p", 0, 9)), Vec::<serde_json::Value>::new());
    assert_eq!(read!(failures("i", None, 9)).rows, []);
    assert_eq!(read!(last_failures("i", &["p".to_owned()])), []);
    assert_eq!(read!(living_owners()), Some(1));
    assert_eq!(read!(hosts(Duration::from_millis(1))).len(), 1);
    read!(verify());
    read!(heartbeat(&place.owner));
    let card = HostCard::new(place.owner.id(), "program", now);
    read!(describe(&place.owner, &card));
    assert!(matches!(store.load("unknown").await, Err(WfeError::WorkflowNotFound(_))));
    assert!(matches!(store.get_event("unknown").await, Err(WfeError::EventNotFound(_))));
    called
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_writes_although_events_have_become_due() {
    let place = Place::with_what_became_due().await;
    let mut looker = foreign(&place.path).await;
    let before = written(&place.path, &mut looker).await;
    assert_eq!(read_all(&place).await, READS);
    assert!(before == written(&place.path, &mut looker).await, "a read has written");
    // The dispatcher's call assigns the positions.
    assert!(place.store.position_due_events().await.unwrap());
    assert_eq!(place.store.load("i").await.unwrap().deliveries[0].event.id, "e");
    assert_eq!(place.store.requested(&place.owner).await.unwrap(), ["i"]);
    assert!(before != written(&place.path, &mut looker).await);
    looker.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_return_while_another_process_is_in_the_middle_of_a_commit() {
    let place = Place::with_what_became_due().await;
    let revision = place.store.load("i").await.unwrap().revision;
    let other = Committing::on(&place.path);
    assert_eq!(read_all(&place).await, READS);
    assert_eq!(place.store.load("i").await.unwrap().revision, revision, "from before that commit");
    assert!(matches!(place.store.position_due_events().await, Err(WfeError::Busy { .. })));
    assert!(matches!(place.store.request("i", Control::Suspend).await, Err(WfeError::Busy { .. })));
    other.end();
    assert_eq!(place.store.load("i").await.unwrap().revision, revision + 1);
    assert!(place.store.position_due_events().await.unwrap());
    assert_eq!(place.store.load("i").await.unwrap().deliveries.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_finds_nothing_to_do_returns_while_another_process_is_in_the_middle_of_a_commit() {
    let place = Place::with_what_became_due().await;
    let (store, owner, now) = (&place.store, &place.owner, place.now());
    assert!(store.position_due_events().await.unwrap());
    let definitions = [(DEFINITION.to_owned(), 1)];
    let other = Committing::on(&place.path);
    assert_eq!(store.claim(owner, &definitions, now, 9).await.unwrap(), []);
    assert_eq!(store.acquire(owner, &definitions, "i", now).await.unwrap(), None);
    assert!(store.claim_loaded(owner, &definitions, now, 9).await.unwrap().is_empty());
    assert!(store.acquire_loaded(owner, &definitions, "i", now).await.unwrap().is_none());
    assert!(!store.position_due_events().await.unwrap());
    assert_eq!(store.finish_events(None, 9).await.unwrap().finished, 0);
    assert_eq!(store.claim_wait("wfe.user-task", "t", "w", now).await.unwrap(), None);
    store.process_commands(now, &|_| Box::pin(async { Ok(()) })).await.unwrap();
    store.persist_errors(&[]).await.unwrap();
    other.end();
}
