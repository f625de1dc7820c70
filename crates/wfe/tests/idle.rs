//! What an idle host costs: a process of its own, with many instances asleep, is measured from outside.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "test code says what it expects by unwrapping it; ticks and milliseconds of seconds are far below 2^52"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use wfe::{
    Lifecycle, WorkflowHost,
    definition::{Retry, WorkflowBuilder, inline},
    steps::StepError,
};
use wfe_sqlite::SqlitePersistenceProvider;

/// Says to the child process which database it works on.
const DATABASE: &str = "WFE_IDLE_DATABASE";
const ASLEEP: usize = 2_000;
/// What "no measurable CPU" means: below 0.5 % of one core over ten seconds.
const WINDOW: Duration = Duration::from_secs(10);
const SHARE: f64 = 0.005;

#[derive(Clone, Serialize, Deserialize)]
struct Nothing;

/// The child's side: brings the instances to sleep, says so, and idles until its input ends. Without the variable this
/// is no test of its own.
#[tokio::test]
async fn child() {
    let Ok(database) = env::var(DATABASE) else { return };
    let provider = SqlitePersistenceProvider::new(&format!("sqlite://{database}")).await.unwrap();
    let host = WorkflowHost::new(provider);
    let later = Retry::up_to(1).first_pause(Duration::from_hours(1)).longest_pause(Duration::from_hours(1));
    let fails = inline(|_, _: Arc<Nothing>| async { Err::<(), _>(StepError::retryable("not today")) });
    let definition = WorkflowBuilder::<Nothing>::new("sleepy", 1).then("fail", fails.retry(later)).build();
    host.register(definition.unwrap()).unwrap();
    let mut events = host.lifecycle();
    host.start().await.unwrap();
    let mut asleep = 0;
    for started in 1..=ASLEEP {
        host.start_workflow("sleepy", &Nothing).await.unwrap();
        // In steps, so that the events are read as they come.
        while started - asleep > 100 || (started == ASLEEP && asleep < ASLEEP) {
            asleep += usize::from(matches!(events.recv().await.unwrap().what, Lifecycle::Error(_)));
        }
    }
    println!("\n@asleep");
    let end = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    end.await.unwrap();
    host.stop().await.unwrap();
}

/// Nanoseconds that the threads of a process have been on a core.
fn cpu(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap())
        .map(|line| line.split_whitespace().next().unwrap().parse::<u64>().unwrap())
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
fn a_host_with_two_thousand_instances_asleep_uses_no_measurable_cpu_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DATABASE, folder.path().join("store.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap() == "@asleep"), "the child ended before its instances slept");

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
    let begun = cpu(child.id());
    thread::sleep(WINDOW);
    let share = (cpu(child.id()) - begun) as f64 / WINDOW.as_nanos() as f64;
    let after = files(folder.path());

    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(after, before, "an idle host wrote");
    assert!(share < SHARE, "an idle host used {:.2} % of a core", share * 100.0);
    println!("an idle host with {ASLEEP} instances asleep used {:.3} % of a core", share * 100.0);
}
