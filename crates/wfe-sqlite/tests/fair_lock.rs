//! The fair lock of the writers of several processes: shares, waits, and the cost of a stopped process for the others.

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

/// The variables that tell a child process what to do, and with which file.
const ROLE: &str = "WFE_TURNS_ROLE";
const FILE: &str = "WFE_TURNS_FILE";

/// Tests that measure time run alone.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How often each process writes.
const WRITES: usize = 100;

async fn open(database: &Path) -> SqlitePersistenceProvider {
    SqlitePersistenceProvider::file(database).open().await.unwrap()
}

async fn write(store: &SqlitePersistenceProvider) {
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
}

/// A child's side: prints that it is ready and waits for its input to end, before it writes or after it took a lock.
/// Without the variables this is no separate test.
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
    // A busy disk can delay a commit by seconds: no process gives up because of that.
    let patient = SqlitePersistenceProvider::file(Path::new(&file)).busy_timeout(Duration::from_mins(2));
    let store = patient.open().await.unwrap();
    wait();
    // The same clock for all processes of the machine.
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let mut writes = Vec::new();
    for _ in 0..WRITES {
        let began = now();
        write(&store).await;
        writes.push((began, now()));
    }
    store.close().await;
    for (began, ended) in writes {
        println!("@{began} {ended}");
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

    /// Lets the process continue.
    fn go(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Stops the process, and waits until it is stopped.
    fn stop(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    /// Continues the process, and waits until it has ended.
    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
        self.go();
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The writes of the process: when each call began and ended, in microseconds.
    fn writes(mut self) -> Vec<(u64, u64)> {
        let mut writes = Vec::new();
        while let Some(line) = self.line() {
            let (began, ended) = line.split_once(' ').unwrap();
            writes.push((began.parse().unwrap(), ended.parse().unwrap()));
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

/// The shares of processes that wrote at the same time. All figures count commits, not time: a busy machine or disk makes
/// each commit slower, but changes little in the order in which the processes write.
struct Shares {
    /// The commits of each process while all of them wrote.
    commits: Vec<u32>,
    /// The largest deviation of a process from the mean number of commits.
    away: f64,
    /// How many commits of other processes came between a call and its end: maximum and median.
    longest: usize,
    median: usize,
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { commits, away, longest, median } = self;
        write!(
            f,
            "commits {commits:?}: {away:.3} away; waited for {longest} others at most, {median} in the middle"
        )
    }
}

fn shares(processes: Vec<Process>) -> Shares {
    let all: Vec<_> = processes.into_iter().map(Process::writes).collect();
    let from = all.iter().map(|writes| writes[0].1).max().unwrap();
    let to = all.iter().map(|writes| writes[writes.len() - 1].1).min().unwrap();
    let counted = |writes: &[(u64, u64)]| -> Vec<(u64, u64)> {
        writes.iter().copied().filter(|(_, ended)| (from..=to).contains(ended)).collect()
    };
    let commits: Vec<_> = all.iter().map(|writes| u32::try_from(counted(writes).len()).unwrap()).collect();
    let mean = f64::from(commits.iter().sum::<u32>()) / f64::from(u32::try_from(commits.len()).unwrap());
    let away = commits.iter().map(|&count| (f64::from(count) - mean).abs() / mean).fold(0.0, f64::max);
    let mut ends: Vec<_> = all.iter().flatten().map(|(_, ended)| *ended).collect();
    ends.sort_unstable();
    let before = |time: u64| ends.partition_point(|ended| *ended < time);
    let others = |(began, ended): (u64, u64)| before(ended).saturating_sub(before(began));
    let mut waits: Vec<_> = all.iter().flat_map(|writes| counted(writes)).map(others).collect();
    waits.sort_unstable();
    // If one process ended before another began, there are none, and the shares are not numbers.
    let at = |index: usize| waits.get(index).copied().unwrap_or_default();
    Shares { commits, away, longest: at(waits.len().saturating_sub(1)), median: at(waits.len() / 2) }
}

#[test]
fn processes_that_write_without_pause_get_equal_shares_and_none_waits_long() {
    const PROCESSES: usize = 8;
    // In the median, most of the other processes wrote before; at most, each of them wrote eight times. Measured on a quiet and
    // on a busy machine, the waits were for 6 or 7 commits of others in the median and for 23 to 64 at most. With SQLite's own
    // lock alone they were for 1 or 2 in the median and for 72 to 243 at most.
    const MIDDLE: usize = PROCESSES / 2;
    const LONG: usize = (PROCESSES - 1) * 8;
    // A disk that hangs for as long as a stopped holder breaks the order; such a round does not count.
    const TIMES: usize = 10;
    let _alone = ALONE.blocking_lock();
    for _ in 0..TIMES {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let mut processes: Vec<_> = (0..PROCESSES).map(|_| Process::start("write", &database)).collect();
        processes.iter_mut().for_each(Process::go);
        let shares = shares(processes);
        println!("{shares}");
        if shares.away <= 0.2 && shares.median >= MIDDLE && shares.longest <= LONG {
            return;
        }
    }
    panic!("the shares were unequal, or a wait was long, {TIMES} times");
}

/// How long this many writes take, one after the other.
async fn time(store: &SqlitePersistenceProvider, writes: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..writes {
        write(store).await;
    }
    start.elapsed()
}

/// The files of the fair lock, by the suffixes of their names.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How long the stamp of a lock must stay unchanged until other processes bypass the lock.
const STALL: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_process_stopped_with_the_entry_or_writer_lock_costs_each_other_process_one_second_in_all() {
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
        // The process continues and releases the lock: that delays no other …
        frozen.end();
        let waited = time(&store, 20).await;
        assert!(waited < STALL, "{suffix}: {waited:?}");
        // … and the lock counts again: other processes wait for the next stopped holder.
        let frozen = Process::start("hold", &beside(&database, suffix));
        frozen.stop();
        let waited = time(&store, 1).await;
        assert!(waited >= STALL && waited < STALL * 2, "{suffix}: {waited:?}");
        // The same after a kill.
        frozen.kill();
        let waited = time(&store, 20).await;
        assert!(waited < STALL, "{suffix}: {waited:?}");
    }
}
