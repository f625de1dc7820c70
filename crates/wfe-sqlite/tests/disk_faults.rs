//! The guarantees when the disk fails or fills up, or the process is killed. A child process of this test works on the
//! store above a C shim that makes system calls fail on demand, or shows it other mounts.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by unwrapping it"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
    task::Poll,
    time::{Duration, Instant},
};

use chrono::DateTime;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::json;
use tempfile::TempDir;
use wfe_core::{
    WfeError,
    clock::{Clock, SystemClock},
    models::{Event, ExecutionError, WorkflowInstance},
    traits::{PersistenceProvider, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider;

/// The variable that names the database to the child process.
const DATABASE: &str = "WFE_FAULT_DATABASE";

/// The shim, compiled once.
fn shim() -> &'static Path {
    static SHIM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    &SHIM
        .get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let library = dir.path().join("shim.so");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fault_shim.c");
            let status = Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-o"])
                .arg(&library)
                .arg(source)
                .arg("-ldl")
                .status();
            assert!(status.unwrap().success(), "the C compiler refused the shim");
            (dir, library)
        })
        .1
}

/// The child's side. For each line of standard input it creates an instance of that name, and prints the result as one
/// line. Without the variable this is no separate test.
#[tokio::test]
async fn child() {
    let Ok(database) = env::var(DATABASE) else { return };
    let store = SqlitePersistenceProvider::new(&format!("sqlite://{database}")).await.unwrap();
    for name in std::io::stdin().lock().lines() {
        let mut instance = WorkflowInstance::new("fault", 1, json!({ "filler": "x".repeat(20_000) }));
        instance.name = name.unwrap();
        let created = store.create_new_workflow(&instance).await;
        if let Err(error) = &created {
            assert!(error.to_string().contains(&database), "{error}");
        }
        let answer = match created {
            Ok(_) => "stored",
            Err(WfeError::CommitUnknown { source: Some(_), .. }) => "unknown",
            Err(WfeError::Full { source: Some(_), .. }) => "full",
            Err(WfeError::Unusable { .. }) => "lost",
            Err(other) => panic!("{other:?}"),
        };
        println!("\n@{answer}");
    }
}

/// The variable that names a database that must be refused to the child process.
const REMOTE: &str = "WFE_REMOTE_DATABASE";

/// The child's side. Without the variable this is no separate test.
#[tokio::test]
async fn refused_child() {
    let Ok(database) = env::var(REMOTE) else { return };
    match SqlitePersistenceProvider::new(&format!("sqlite://{database}")).await {
        Err(WfeError::Unusable { path, reason, .. }) => println!("\n@{} {reason}", path.display()),
        other => println!("\n@{other:?}"),
    }
}

/// The child's side, under a clock before 1970. Without the variable this is no separate test.
#[tokio::test]
async fn past_child() {
    let Some(database) = env::var_os(PAST) else { return };
    let now = SystemClock.now();
    assert!(now < DateTime::UNIX_EPOCH, "{now}");
    let mut ids = std::collections::HashSet::new();
    for _ in 0..100 {
        let instance = WorkflowInstance::new("d", 1, json!(null));
        assert!(instance.create_time >= now && ids.insert(instance.id));
        assert!(Event::new("e", "k", json!(null)).event_time >= now);
        assert!(ExecutionError::new("w", "p", "m").error_time >= now);
    }
    println!("\n@{}", SqlitePersistenceProvider::file(database).open().await.unwrap_err());
    println!("\n@{}", SqlitePersistenceProvider::new(":memory:").await.unwrap_err());
}

/// The variable that names a database that the child process must not open.
const PAST: &str = "WFE_PAST_DATABASE";

#[test]
fn opening_under_a_clock_before_1970_returns_an_error_and_nothing_panics() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "past_child", "--nocapture", "--test-threads=1"])
        .env("LD_PRELOAD", shim())
        .env("WFE_CLOCK_BACK", (70_i64 * 366 * 86_400).to_string())
        .env(PAST, &database)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors: Vec<_> = said.lines().filter_map(|line| line.strip_prefix('@')).collect();
    assert_eq!(errors.len(), 2, "{said}");
    for (error, name) in errors.iter().zip([database.to_str().unwrap(), ":memory:"]) {
        assert!(error.contains(name) && error.contains("before 1970; set the clock"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file is created");
}

/// The result of opening a database with these mounts.
fn opened_with(mounts: &str, database: &Path) -> String {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("mountinfo"), mounts).unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "refused_child", "--nocapture", "--test-threads=1"])
        .env("LD_PRELOAD", shim())
        .env("WFE_MOUNTINFO", place.path().join("mountinfo"))
        .env(REMOTE, database)
        .output()
        .unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    answer.lines().find_map(|line| line.strip_prefix('@')).expect("the child answers").to_owned()
}

/// A line of `/proc/self/mountinfo` for the file system that a path is on.
fn mounted_as(kind: &str, path: &Path) -> String {
    let device = fs::metadata(path).unwrap().dev();
    let (major, minor) = (device >> 8 & 0xfff, device >> 12 & !0xff | device & 0xff);
    format!("36 35 {major}:{minor} / /mnt/my\\040share rw,noatime master:1 - {kind} server:/export rw\n")
}

#[test]
fn a_network_file_system_is_refused_before_any_file_is_created_there() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    for kind in ["nfs4", "cifs", "fuse.sshfs"] {
        let answer = opened_with(&mounted_as(kind, folder.path()), &database);
        let (path, reason) = answer.split_once(' ').unwrap();
        assert_eq!(Path::new(path), database);
        for part in [kind, "/mnt/my share", "local disk"] {
            assert!(reason.contains(part), "{reason}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{kind}");
    }
    // Local and unknown file systems are accepted.
    for mounts in [mounted_as("ext4", folder.path()), String::new()] {
        let answer = opened_with(&mounts, &database);
        assert!(answer.starts_with("Ok("), "{answer}");
    }
    // An existing file is not changed, even if only a link to it is on a local disk.
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (elsewhere, link) = (memory.path().join("a.db"), folder.path().join("link.db"));
    fs::copy(&database, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    for (remote, path) in [(folder.path(), &database), (memory.path(), &elsewhere), (memory.path(), &link)] {
        let answer = opened_with(&mounted_as("nfs", remote), path);
        assert!(answer.contains("network file system nfs "), "{answer}");
    }
    assert_eq!(fs::read(&database).unwrap(), fs::read(&elsewhere).unwrap());
    assert_eq!(fs::read_dir(memory.path()).unwrap().count(), 1);
}

struct Victim {
    place: Option<TempDir>,
    child: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Victim {
    fn start(place: TempDir) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env("LD_PRELOAD", shim())
            .env(DATABASE, place.path().join("store.db"))
            .env("WFE_FAIL_SYNC", place.path().join("fail-sync"))
            .env("WFE_FAIL_WRITE", place.path().join("fail-write"))
            .env("WFE_STOP_SYNC", place.path().join("stop-sync"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let ask = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { place: Some(place), child, ask, answers }
    }

    fn create(&mut self, name: &str) -> String {
        self.ask(name);
        self.answer()
    }

    fn ask(&mut self, name: &str) {
        writeln!(self.ask, "{name}").unwrap();
    }

    fn answer(&mut self) -> String {
        self.answers
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix('@').map(str::to_owned))
            .expect("the child answers")
    }

    fn arm(&self, file: &str, content: &str) {
        fs::write(self.place().path().join(file), content).unwrap();
    }

    fn disarm(&self, file: &str) {
        fs::remove_file(self.place().path().join(file)).unwrap();
    }

    /// Begins to create an instance, and waits until the process is frozen inside that COMMIT.
    fn freeze(&mut self, name: &str) {
        self.arm("stop-sync", "1");
        self.ask(name);
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.place.take().unwrap()
    }

    fn place(&self) -> &TempDir {
        self.place.as_ref().unwrap()
    }
}

impl Drop for Victim {
    /// A failed test leaves no stopped process behind.
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn open(place: &TempDir) -> SqlitePersistenceProvider {
    let path = place.path().join("store.db");
    SqlitePersistenceProvider::new(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn a_commit_whose_sync_fails_has_an_unknown_outcome_and_the_store_continues_afterwards() {
    let mut victim = Victim::start(tempfile::tempdir().unwrap());
    assert_eq!(victim.create("before"), "stored");
    victim.arm("fail-sync", "");
    assert_eq!(victim.create("during"), "unknown");
    victim.disarm("fail-sync");
    assert_eq!(victim.create("after"), "stored");
    let place = victim.kill();
    let store = open(&place).await;
    for name in ["before", "after"] {
        assert_eq!(store.get_workflow_instance_by_name(name).await.unwrap().name, name);
    }
}

#[tokio::test]
async fn a_full_disk_at_any_byte_is_reported_loses_nothing_stored_and_blocks_no_later_call() {
    for room in [0, 1, 24, 4_000, 4_120, 9_000, 20_000] {
        let mut victim = Victim::start(tempfile::tempdir().unwrap());
        assert_eq!(victim.create("before"), "stored");
        victim.arm("fail-write", &room.to_string());
        assert_eq!(victim.create("during"), "full", "with room for {room} bytes");
        victim.disarm("fail-write");
        assert_eq!(victim.create("after"), "stored");
        let place = victim.kill();
        let store = open(&place).await;
        store.get_workflow_instance_by_name("before").await.unwrap();
        store.get_workflow_instance_by_name("after").await.unwrap();
        let during = store.get_workflow_instance_by_name("during").await;
        assert!(matches!(during, Err(WfeError::WorkflowNotFound(_))), "{during:?}");
    }
}

#[tokio::test]
async fn acknowledged_commits_survive_a_kill_in_the_middle_of_a_torn_write() {
    for room in [10, 4_100, 13_000] {
        let mut victim = Victim::start(tempfile::tempdir().unwrap());
        for n in 0..20 {
            assert_eq!(victim.create(&format!("n{n}")), "stored");
        }
        victim.arm("fail-write", &room.to_string());
        victim.ask("torn");
        let place = victim.kill();
        let store = open(&place).await;
        store.ensure_store_exists().await.unwrap();
        for n in 0..20 {
            store.get_workflow_instance_by_name(&format!("n{n}")).await.unwrap();
        }
        // The torn commit must not be there in part: it is complete (the kill came late) or missing.
        if let Ok(torn) = store.get_workflow_instance_by_name("torn").await {
            assert_eq!(torn.data["filler"].as_str().unwrap().len(), 20_000);
        }
    }
}

/// How long callers wait for a process that is frozen in a commit.
const BUSY: Duration = Duration::from_secs(1);

async fn open_for(place: &TempDir, busy: Duration) -> SqlitePersistenceProvider {
    SqlitePersistenceProvider::file(place.path().join("store.db")).busy_timeout(busy).open().await.unwrap()
}

async fn create(store: &SqlitePersistenceProvider, name: &str) -> Result<String, WfeError> {
    let mut instance = WorkflowInstance::new("fault", 1, json!(null));
    instance.name = name.to_owned();
    store.create_new_workflow(&instance).await
}

/// Polls a future once: its request is sent then.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context).is_pending())).await
}

/// A write returns `Busy` in time, and not before its time is over.
async fn is_busy_in_time(store: &SqlitePersistenceProvider, name: &str) {
    let start = Instant::now();
    match create(store, name).await {
        Err(WfeError::Busy { message, source: Some(_) }) => {
            assert!(message.contains("store.db") && message.contains("busy_timeout"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    // At most one attempt of 100 ms late, plus the delay of a busy machine; two waits in a row would be too long.
    let waited = start.elapsed();
    assert!(waited >= BUSY && waited < BUSY * 9 / 5, "{waited:?}");
}

#[tokio::test]
async fn a_process_frozen_in_a_commit_makes_writers_busy_in_time_and_its_commit_is_stored_when_it_continues()
{
    let mut victim = Victim::start(tempfile::tempdir().unwrap());
    assert_eq!(victim.create("before"), "stored");
    let store = open_for(victim.place(), BUSY).await;
    let patient = open_for(victim.place(), BUSY * 60).await;
    create(&store, "between").await.unwrap();
    victim.freeze("during");
    // Each write has its own deadline, in whatever order they come.
    for _ in 0..2 {
        tokio::join!(
            is_busy_in_time(&store, "a"),
            is_busy_in_time(&store, "b"),
            is_busy_in_time(&store, "c")
        );
        assert!(store.get_workflow_instance_by_name("before").await.is_ok());
        let during = store.get_workflow_instance_by_name("during").await;
        assert!(matches!(during, Err(WfeError::WorkflowNotFound(_))), "{during:?}");
    }
    // A provider that opens the file now can read, too.
    let newcomer = open_for(victim.place(), BUSY).await;
    newcomer.ensure_store_exists().await.unwrap();
    newcomer.get_workflow_instance_by_name("between").await.unwrap();
    // A caller with more time waits until the process continues.
    let mut waiting = Box::pin(create(&patient, "waiting"));
    assert!(is_pending(&mut waiting).await);
    victim.go_on();
    assert_eq!(victim.answer(), "stored");
    waiting.await.unwrap();
    for (store, name) in [(&store, "after"), (&newcomer, "later")] {
        create(store, name).await.unwrap();
        let during = store.get_workflow_instance_by_name("during").await.unwrap();
        assert_eq!(during.data["filler"].as_str().unwrap().len(), 20_000);
        for name in ["a", "b", "c"] {
            let refused = store.get_workflow_instance_by_name(name).await;
            assert!(matches!(refused, Err(WfeError::WorkflowNotFound(_))), "{refused:?}");
        }
    }
    assert_eq!(victim.create("again"), "stored");
    victim.kill();
}

#[tokio::test]
async fn a_commit_whose_database_is_removed_before_its_answer_has_an_unknown_outcome_and_is_the_last_one() {
    let mut victim = Victim::start(tempfile::tempdir().unwrap());
    assert_eq!(victim.create("before"), "stored");
    victim.freeze("during");
    fs::remove_file(victim.place().path().join("store.db")).unwrap();
    victim.go_on();
    assert_eq!(victim.answer(), "unknown");
    assert_eq!(victim.create("after"), "lost");
    victim.kill();
}

#[tokio::test]
async fn the_commit_of_a_process_killed_while_frozen_in_it_is_stored_or_not_and_writers_continue() {
    let mut victim = Victim::start(tempfile::tempdir().unwrap());
    assert_eq!(victim.create("before"), "stored");
    let store = open_for(victim.place(), BUSY * 60).await;
    victim.freeze("during");
    let mut waiting = Box::pin(create(&store, "waiting"));
    assert!(is_pending(&mut waiting).await);
    let place = victim.kill();
    waiting.await.unwrap();
    store.get_workflow_instance_by_name("before").await.unwrap();
    let during = store.get_workflow_instance_by_name("during").await;
    match &during {
        Ok(during) => assert_eq!(during.data["filler"].as_str().unwrap().len(), 20_000),
        Err(error) => assert!(matches!(error, WfeError::WorkflowNotFound(_)), "{error:?}"),
    }
    store.close().await;
    // The outcome that was found stays.
    let store = open(&place).await;
    assert_eq!(store.get_workflow_instance_by_name("during").await.is_ok(), during.is_ok());
    store.get_workflow_instance_by_name("waiting").await.unwrap();
}
