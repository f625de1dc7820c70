//! What a crowd costs: thousands of waits in one instance, thousands of instances that wait for one event. It takes a
//! release build.
#![cfg(all(target_os = "linux", not(debug_assertions)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    env, fs,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use wfe::{
    Outcome, WorkflowHost,
    definition::{Event, WorkflowBuilder},
};
use wfe_core::sync::lock;
use wfe_sqlite::SqlitePersistenceProvider;

/// Instances that wait for one event.
const INSTANCES: usize = 20_000;
/// Within this time, one that is started amid them begins.
const BEGINS: Duration = Duration::from_secs(1);

/// Waits side by side in one instance, few and many: eight times as many …
const FEW: u32 = 2_000;
const MANY: u32 = 16_000;
/// … may take so many times as long, …
const TIMES: u32 = 9;
/// … and their process so much memory.
const MEGABYTES: u64 = 200;
/// Few take less than a second, in which whatever else the machine does counts for much: the mean of so many runs.
const RUNS_OF_FEW: u32 = 3;
/// One round of so many has to hold, for the same reason.
const ROUNDS: usize = 3;

/// Say to a child process for which events to wait, and how many waits there are.
const KEYS: &str = "WFE_CROWD_KEYS";
const WAITS: &str = "WFE_CROWD_WAITS";
/// Begins the line in which a child process tells its result.
const RESULT: &str = "crowd took";

#[derive(Clone, Serialize, Deserialize)]
struct Nothing;

#[derive(Clone, Serialize, Deserialize)]
struct Count(u32);

/// The event that the waits wait for.
const COME: Event<()> = Event::new("come");

async fn host(folder: &tempfile::TempDir) -> WorkflowHost {
    let store = SqlitePersistenceProvider::file(folder.path().join("state.db")).open().await.unwrap();
    WorkflowHost::new(store)
}

/// Runs one for-each with so many waits to its end: all for one event, or each for its own. In a process of its own, whose
/// memory is that of nothing else. Gives how long it took, and the megabytes that were in memory at most.
fn side_by_side(keys: &str, waits: u32) -> (Duration, u64) {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "other_side", "--nocapture", "--test-threads=1"])
        .env(KEYS, keys)
        .env(WAITS, waits.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout).into_owned();
    let result = told.lines().find_map(|line| line.strip_prefix(RESULT));
    let Some(result) = result.filter(|_| child.status.success()) else {
        panic!("{}: {told}\n{}", child.status, String::from_utf8_lossy(&child.stderr));
    };
    let [millis, megabytes] = result.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{told}") };
    println!("{waits} waits for {keys}: {millis} ms, {megabytes} MB");
    (Duration::from_millis(millis.parse().unwrap()), megabytes.parse().unwrap())
}

/// The child's side. Without the variables this is no test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_side() {
    let (Ok(keys), Ok(waits)) = (env::var(KEYS), env::var(WAITS)) else { return };
    let (waits, is_one) = (waits.parse::<u32>().unwrap(), keys == ONE_EVENT);
    let folder = tempfile::tempdir().unwrap();
    let host = host(&folder).await;
    let all = WorkflowBuilder::<Count>::new("all", 1)
        .for_each(
            "all",
            |count| (0..count.0).collect(),
            |one| {
                one.wait_for(
                    "wait",
                    COME,
                    move |_, item| {
                        if is_one { "all".to_owned() } else { item.to_string() }
                    },
                )
            },
        )
        .concurrent(waits as usize)
        .build();
    host.register(all.unwrap()).unwrap();
    host.start().await.unwrap();
    let began = Instant::now();
    let id = host.start_workflow("all", &Count(waits)).await.unwrap();
    host.idle().await.unwrap();
    let keys =
        if is_one { vec!["all".to_owned()] } else { (0..waits).map(|item| item.to_string()).collect() };
    let publish = |key: String| {
        let host = &host;
        async move { host.publish(COME, key, ()).await.unwrap() }
    };
    stream::iter(keys).map(publish).buffer_unordered(64).for_each(|_| async {}).await;
    let end = host.outcome::<Count>(&id).await.unwrap();
    assert!(matches!(end, Outcome::Completed(_)));
    println!("\n{RESULT} {} {}", began.elapsed().as_millis(), megabytes());
    host.stop().await.unwrap();
}

const ONE_EVENT: &str = "one event";
const OWN_EVENTS: &str = "events of their own";

/// How much memory this process had at most.
fn megabytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap().div_ceil(1024)
}

/// The tests here measure: one at a time.
static MACHINE: Mutex<()> = Mutex::new(());

fn costs_grow_with_the_number(keys: &str) {
    let _alone = lock(&MACHINE);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let few = (0..RUNS_OF_FEW).map(|_| side_by_side(keys, FEW).0).sum::<Duration>() / RUNS_OF_FEW;
        let (many, megabytes) = side_by_side(keys, MANY);
        assert!(megabytes <= MEGABYTES, "{MANY} waits took {megabytes} MB");
        if many <= TIMES * few {
            return;
        }
        rounds.push((few, many));
    }
    panic!("what {FEW} and {MANY} waits took in each round: {rounds:?}");
}

#[test]
fn waits_side_by_side_for_one_event_cost_time_by_their_number_and_little_memory() {
    costs_grow_with_the_number(ONE_EVENT);
}

#[test]
fn waits_side_by_side_for_events_of_their_own_cost_time_by_their_number_and_little_memory() {
    costs_grow_with_the_number(OWN_EVENTS);
}

#[test]
fn what_is_started_amid_a_crowd_that_an_event_wakes_begins_soon() {
    let _alone = lock(&MACHINE);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let late = runtime.block_on(amid_a_crowd());
    println!("{} were started amid {INSTANCES}, the latest began after {:?}", late.len(), late.iter().max());
    assert!(late.len() >= 3, "the crowd had gone before: {late:?}");
    assert!(late.iter().all(|late| *late <= BEGINS), "{late:?}");
}

/// How long each of those took to begin that were started while the crowd was under way.
async fn amid_a_crowd() -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let host = host(&folder).await;
    let waits = WorkflowBuilder::<Nothing>::new("waits", 1)
        .wait_for("wait", COME, |_| "all")
        .then("step", async |_, _| Ok(()))
        .build();
    let begun = Arc::new(Mutex::new(Vec::new()));
    let quick = WorkflowBuilder::<Nothing>::new("quick", 1)
        .with(begun.clone())
        .call("first", |ctx, _| {
            ctx.app.lock().unwrap().push(Instant::now());
            Ok(())
        })
        .build();
    host.register(waits.unwrap()).unwrap();
    host.register(quick.unwrap()).unwrap();
    host.start().await.unwrap();
    let starts =
        stream::iter(0..INSTANCES).map(|_| async { host.start_workflow("waits", &Nothing).await.unwrap() });
    let ids: Vec<String> = starts.buffer_unordered(64).collect().await;
    host.idle().await.unwrap();
    host.publish(COME, "all", ()).await.unwrap();
    let crowd = async {
        for id in &ids {
            assert!(matches!(host.outcome::<Nothing>(id).await.unwrap(), Outcome::Completed(_)));
        }
    };
    let mut crowd = std::pin::pin!(crowd);
    let mut late = Vec::new();
    loop {
        let started = Instant::now();
        let one = async {
            let id = host.start_workflow("quick", &Nothing).await.unwrap();
            assert!(matches!(host.outcome::<Nothing>(&id).await.unwrap(), Outcome::Completed(_)));
        };
        tokio::select! {
            () = &mut crowd => break,
            () = one => late.push(begun.lock().unwrap()[late.len()] - started),
        }
    }
    host.stop().await.unwrap();
    late
}
