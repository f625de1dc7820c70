//! What an idle host costs: a process of its own, with many instances asleep, is measured from outside.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use wfe::{
    WorkflowHost,
    definition::{Event, Retry, WorkflowBuilder, WorkflowName},
    steps::StepError,
};
use wfe_sqlite::SqlitePersistenceProvider;

/// Says to the child process which database it works on.
const DATABASE: &str = "WFE_IDLE_DATABASE";
/// In full in a release build; every other one waits for an event, without a limit in time, and some for their children.
const ASLEEP: usize = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
/// What an instance that sleeps may take of the host's memory, in bytes.
const MEMORY: usize = 1024;
/// What "no measurable CPU" means: below 0.5 % of one core over ten seconds. A build without optimization, which the promise
/// is not about, takes some two and a half times as much for the same (0.2 and 0.5 % were measured).
const WINDOW: Duration = Duration::from_secs(10);
const SHARE: f64 = if cfg!(debug_assertions) { 0.01 } else { 0.005 };

/// How often the threads of an idle process wake up in a second, all together. The poll of the store and the watch over
/// the database's files take a few wake-ups each: 9 were measured, and 44 when the files were polled.
const WAKE_UPS: f64 = 12.0;

#[derive(Clone, Serialize, Deserialize)]
struct Nothing;

#[derive(Clone, Serialize, Deserialize)]
struct Name(String);

const NEVER: Event<()> = Event::new("never");
const WAITING: WorkflowName<Name> = WorkflowName::new("waiting");

/// The child's side: brings the instances to sleep, says so, and idles until its input ends. Without the variable this
/// is no test of its own.
#[tokio::test]
async fn other_side() {
    let Ok(database) = env::var(DATABASE) else { return };
    let provider = SqlitePersistenceProvider::new(&format!("sqlite://{database}")).await.unwrap();
    let host = WorkflowHost::new(provider);
    let sleepy = WorkflowBuilder::<Nothing>::new("sleepy", 1)
        .call("fail", |_, _| Err::<(), _>(StepError::retryable("not today")))
        .retry(Retry::every(Duration::from_hours(1)).attempts(2))
        .build();
    host.register(sleepy.unwrap()).unwrap();
    let waiting = WAITING.define(1).wait_for("wait", NEVER, |name| name.0.clone()).build();
    host.register(waiting.unwrap()).unwrap();
    let parent = WorkflowBuilder::<Name>::new("parent", 1).parallel("both", |both| {
        both.branch(|b| b.sub_workflow("sub", WAITING, Name::clone))
            .branch(|b| b.wait_for("too", NEVER, |name| name.0.clone()))
    });
    host.register(parent.build().unwrap()).unwrap();
    host.start().await.unwrap();
    begin(&host, 0..ASLEEP / 10).await;
    println!("\n@few {}", resident());
    begin(&host, ASLEEP / 10..ASLEEP).await;
    println!("\n@asleep {}", resident());
    let end = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    end.await.unwrap();
    host.stop().await.unwrap();
}

async fn begin(host: &WorkflowHost, numbers: Range<usize>) {
    let starts = stream::iter(numbers).map(|number| async move {
        if number.is_multiple_of(20) {
            host.start_workflow("parent", &Name(format!("number {number}"))).await.unwrap()
        } else if number.is_multiple_of(2) {
            host.start_workflow("waiting", &Name(format!("number {number}"))).await.unwrap()
        } else {
            host.start_workflow("sleepy", &Nothing).await.unwrap()
        }
    });
    starts.buffer_unordered(64).for_each(|_| async {}).await;
    host.idle().await.unwrap();
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// Nanoseconds that the threads of a process have been on a core.
fn cpu(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap())
        .map(|line| line.split_whitespace().next().unwrap().parse::<u64>().unwrap())
        .sum()
}

/// How often the threads of a process have gone to sleep.
fn sleeps(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap())
        .map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
            line.trim().parse::<u64>().unwrap()
        })
        .sum()
}

fn files(folder: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::metadata(path).unwrap()))
        .map(|(path, found)| (path, found.len(), found.modified().unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_host_whose_instances_all_sleep_or_wait_uses_no_measurable_cpu_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "other_side", "--nocapture", "--test-threads=1"])
        .env(DATABASE, folder.path().join("store.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut memory = |when: &str| -> usize {
        let said = said.find_map(|line| line.unwrap().strip_prefix(when).map(|bytes| bytes.parse().unwrap()));
        said.expect("the child ended before its instances slept")
    };
    let (few, all) = (memory("@few "), memory("@asleep "));
    let each = all.saturating_sub(few) / (ASLEEP - ASLEEP / 10);

    // The last instances' ownership is given back a moment after their errors are told: until then it is no idleness.
    let settle = Duration::from_millis(100);
    let mut before = files(folder.path());
    loop {
        thread::sleep(settle);
        let now = files(folder.path());
        if now == before {
            break;
        }
        before = now;
    }
    // Not a wait for a condition: the window over which is measured.
    let (begun, slept) = (cpu(child.id()), sleeps(child.id()));
    thread::sleep(WINDOW);
    let share = Duration::from_nanos(cpu(child.id()) - begun).div_duration_f64(WINDOW);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let wake_ups = (sleeps(child.id()) - slept) as f64 / WINDOW.as_secs_f64();
    let after = files(folder.path());

    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(after, before, "an idle host wrote");
    assert!(share < SHARE, "an idle host used {:.2} % of a core", share * 100.0);
    println!(
        "{ASLEEP} instances asleep: {:.3} % of a core, {wake_ups:.1} wake-ups a second, {each} bytes each",
        share * 100.0
    );
    assert!(wake_ups < WAKE_UPS, "an idle host woke up {wake_ups:.1} times a second");
    // What a few take is lost in what the allocator and SQLite keep for later.
    assert!(cfg!(debug_assertions) || each < MEMORY, "an instance asleep takes {each} bytes");
}
