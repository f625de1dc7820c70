//! What holds when the disk fails, fills up, or the process is killed: a child process of this test works on the store
//! above a C shim that makes the system calls fail on demand, or sees other mounts than there are.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by unwrapping it")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use serde_json::json;
use tempfile::TempDir;
use wfe_core::{
    WfeError,
    models::WorkflowInstance,
    traits::{PersistenceProvider, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider;

/// Says to the child process which database it works on.
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

/// The child's side. One line of standard input asks for one instance of that name; one line of standard output says
/// what became of it. Without the variable this is no test of its own.
#[tokio::test]
async fn child() {
    let Ok(database) = env::var(DATABASE) else { return };
    let store = SqlitePersistenceProvider::new(&format!("sqlite://{database}")).await.unwrap();
    for name in std::io::stdin().lock().lines() {
        let mut instance = WorkflowInstance::new("fault", 1, json!({ "filler": "x".repeat(20_000) }));
        instance.name = name.unwrap();
        let answer = match store.create_new_workflow(&instance).await {
            Ok(_) => "stored",
            Err(WfeError::CommitUnknown { source: Some(_), .. }) => "unknown",
            Err(WfeError::Full { source: Some(_), .. }) => "full",
            Err(other) => panic!("{other:?}"),
        };
        println!("\n@{answer}");
    }
}

/// Says to the child process which database must be refused.
const REMOTE: &str = "WFE_REMOTE_DATABASE";

/// The child's side. Without the variable this is no test of its own.
#[tokio::test]
async fn refused_child() {
    let Ok(database) = env::var(REMOTE) else { return };
    match SqlitePersistenceProvider::new(&format!("sqlite://{database}")).await {
        Err(WfeError::Unusable { path, reason, .. }) => println!("\n@{} {reason}", path.display()),
        other => println!("\n@{other:?}"),
    }
}

/// What opening a database comes to where the mounts are these.
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
fn a_network_file_system_is_refused_before_anything_is_made_there() {
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
    // What is local, and what nothing is known of, is opened.
    for mounts in [mounted_as("ext4", folder.path()), String::new()] {
        let answer = opened_with(&mounts, &database);
        assert!(answer.starts_with("Ok("), "{answer}");
    }
    // A file that is there already is left as it is, also where only a link to it is on a local disk.
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
    place: TempDir,
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
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let ask = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { place, child, ask, answers }
    }

    fn create(&mut self, name: &str) -> String {
        writeln!(self.ask, "{name}").unwrap();
        self.answers
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix('@').map(str::to_owned))
            .expect("the child answers")
    }

    fn arm(&self, file: &str, content: &str) {
        fs::write(self.place.path().join(file), content).unwrap();
    }

    fn disarm(&self, file: &str) {
        fs::remove_file(self.place.path().join(file)).unwrap();
    }

    fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.place
    }
}

async fn open(place: &TempDir) -> SqlitePersistenceProvider {
    let path = place.path().join("store.db");
    SqlitePersistenceProvider::new(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn a_commit_whose_sync_fails_has_an_unknown_outcome_and_the_store_goes_on_afterwards() {
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
async fn a_full_disk_is_said_so_at_any_byte_loses_nothing_stored_and_blocks_nothing_later() {
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
async fn what_was_answered_before_a_kill_in_the_middle_of_a_torn_write_is_there_afterwards() {
    for room in [10, 4_100, 13_000] {
        let mut victim = Victim::start(tempfile::tempdir().unwrap());
        for n in 0..20 {
            assert_eq!(victim.create(&format!("n{n}")), "stored");
        }
        victim.arm("fail-write", &room.to_string());
        writeln!(victim.ask, "torn").unwrap();
        let place = victim.kill();
        let store = open(&place).await;
        store.ensure_store_exists().await.unwrap();
        for n in 0..20 {
            store.get_workflow_instance_by_name(&format!("n{n}")).await.unwrap();
        }
        // Half of the torn one must not be there; it is whole (killed late) or not at all.
        if let Ok(torn) = store.get_workflow_instance_by_name("torn").await {
            assert_eq!(torn.data["filler"].as_str().unwrap().len(), 20_000);
        }
    }
}
