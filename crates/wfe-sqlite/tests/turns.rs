//! Writers of several processes take turns: shares, waits, and what a process costs the others that stands still.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping it")]

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::json;
use wfe_core::{models::WorkflowInstance, traits::WorkflowRepository};
use wfe_sqlite::SqlitePersistenceProvider;

/// Say to a child process what to do, and with which file.
const ROLE: &str = "WFE_TURNS_ROLE";
const FILE: &str = "WFE_TURNS_FILE";

/// What measures time runs alone.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How long the processes write.
const RUN: Duration = Duration::from_secs(2);

async fn open(database: &Path) -> SqlitePersistenceProvider {
    SqlitePersistenceProvider::file(database).open().await.unwrap()
}

async fn write(store: &SqlitePersistenceProvider) {
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
}

/// A child's side: says that it is ready and waits for its input to end, before it writes or after it took a lock.
/// Without the variables this is no test of its own.
#[tokio::test]
async fn child() {
    let (Ok(role), Some(file)) = (env::var(ROLE), env::var_os(FILE)) else { return };
    let wait = || {
        println!("\n@ready");
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    };
    if role == "hold" {
        let file = File::options().read(true).write(true).open(file).unwrap();
        file.lock().unwrap();
        wait();
        return;
    }
    let store = open(Path::new(&file)).await;
    wait();
    let (start, mut waits) = (Instant::now(), Vec::new());
    while start.elapsed() < RUN {
        let began = Instant::now();
        write(&store).await;
        let ended = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        waits.push((ended.as_micros(), began.elapsed().as_micros()));
    }
    store.close().await;
    for (ended, waited) in waits {
        println!("@{ended} {waited}");
    }
}

struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a child and waits until it is ready.
    fn start(role: &str, file: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(FILE, file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, lines };
        assert_eq!(process.line().as_deref(), Some("ready"));
        process
    }

    fn line(&mut self) -> Option<String> {
        self.lines.by_ref().map(Result::unwrap).find_map(|line| line.strip_prefix('@').map(str::to_owned))
    }

    /// Lets it go on.
    fn go(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Stops it, and waits until it stands still.
    fn stop(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    /// Continues it, and waits until it has come to its end.
    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
        self.go();
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it wrote: when each call ended, and how long it took, in microseconds.
    fn writes(mut self) -> Vec<(u64, u32)> {
        let mut writes = Vec::new();
        while let Some(line) = self.line() {
            let (ended, waited) = line.split_once(' ').unwrap();
            writes.push((ended.parse().unwrap(), waited.parse().unwrap()));
        }
        assert!(self.child.wait().unwrap().success());
        writes
    }
}

impl Drop for Process {
    /// A failed test leaves no stopped process behind.
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What processes got that wrote at the same time.
struct Shares {
    /// How far the process that is farthest from the mean number of commits is away from it.
    away: f64,
    /// The longest wait, in medians.
    longest: f64,
    commits: Vec<u32>,
    /// Microseconds.
    median: u32,
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { away, longest, commits, median } = self;
        write!(f, "commits {commits:?}: {away:.3} away; longest wait {longest:.1} medians of {median} µs")
    }
}

fn shares(processes: Vec<Process>) -> Shares {
    let all: Vec<_> = processes.into_iter().map(Process::writes).collect();
    // Only while all of them wrote.
    let from = all.iter().map(|writes| writes[0].0).max().unwrap();
    let to = all.iter().map(|writes| writes[writes.len() - 1].0).min().unwrap();
    let waits = |writes: &[(u64, u32)]| -> Vec<u32> {
        writes.iter().filter(|(ended, _)| (from..=to).contains(ended)).map(|(_, waited)| *waited).collect()
    };
    let commits: Vec<_> = all.iter().map(|writes| u32::try_from(waits(writes).len()).unwrap()).collect();
    let mut waits: Vec<_> = all.iter().flat_map(|writes| waits(writes)).collect();
    waits.sort_unstable();
    let count = u32::try_from(commits.len()).unwrap();
    let mean = f64::from(commits.iter().sum::<u32>()) / f64::from(count);
    let away = commits.iter().map(|&count| (f64::from(count) - mean).abs() / mean).fold(0.0, f64::max);
    let median = waits[waits.len() / 2];
    Shares { away, longest: f64::from(waits[waits.len() - 1]) / f64::from(median), commits, median }
}

#[test]
fn processes_that_write_all_the_time_get_equal_shares_and_none_waits_long() {
    const PROCESSES: usize = 8;
    // What else the machine does can keep one process from running for longer than it ever waits for its turn, so the
    // measurement is repeated, a few times. By SQLite's own lock the longest wait is hundreds of medians each time.
    const TIMES: usize = 10;
    let _alone = ALONE.blocking_lock();
    for _ in 0..TIMES {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let mut processes: Vec<_> = (0..PROCESSES).map(|_| Process::start("write", &database)).collect();
        processes.iter_mut().for_each(Process::go);
        let shares = shares(processes);
        println!("{shares}");
        if shares.away <= 0.2 && shares.longest <= 20.0 {
            return;
        }
    }
    panic!("the shares were unequal, or a wait was long, {TIMES} times");
}

/// How long so many writes take, one after the other.
async fn time(store: &SqlitePersistenceProvider, writes: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..writes {
        write(store).await;
    }
    start.elapsed()
}

/// The locks of the turnstile, by the end of their names.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How long a lock must stand still to be passed by.
const STALL: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_process_that_stands_still_at_gate_or_turn_costs_the_others_one_second_in_all() {
    let _alone = ALONE.lock().await;
    for suffix in ["-gate", "-turn"] {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let store = open(&database).await;
        assert!(time(&store, 10).await < STALL);
        let frozen = Process::start("hold", &beside(&database, suffix));
        frozen.stop();
        let waited = time(&store, 1).await;
        assert!(waited >= STALL && waited < STALL * 2, "{suffix}: {waited:?}");
        let waited = time(&store, 20).await;
        assert!(waited < STALL, "{suffix}: {waited:?}");
        // It goes on and gives the lock back: that holds up nobody …
        frozen.end();
        let waited = time(&store, 20).await;
        assert!(waited < STALL, "{suffix}: {waited:?}");
        // … and the lock counts again: the next one that stands still is waited for.
        let frozen = Process::start("hold", &beside(&database, suffix));
        frozen.stop();
        let waited = time(&store, 1).await;
        assert!(waited >= STALL && waited < STALL * 2, "{suffix}: {waited:?}");
        // So it is after a kill.
        frozen.kill();
        let waited = time(&store, 20).await;
        assert!(waited < STALL, "{suffix}: {waited:?}");
    }
}
