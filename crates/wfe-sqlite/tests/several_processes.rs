//! Several providers and processes on one file.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use chrono::Utc;
use serde_json::json;
use wfe_core::{
    models::WorkflowInstance,
    traits::{StepStore, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider;

async fn open(database: &Path) -> SqlitePersistenceProvider {
    SqlitePersistenceProvider::file(database).open().await.unwrap()
}

/// The variable that names the database to a child process.
const DATABASE: &str = "WFE_SHARED_DATABASE";

/// The variable that makes a child process wait until it is killed.
const LINGER: &str = "WFE_SHARED_LINGER";

/// A child's side: waits for its input to end, opens the store and writes once. Without the variable this is no separate
/// test.
#[tokio::test]
async fn child() {
    let Some(database) = env::var_os(DATABASE) else { return };
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    let store = open(Path::new(&database)).await;
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    store.next_definition_sequence("d").await.unwrap();
    if env::var_os(LINGER).is_some() {
        println!("\n@lingers");
        std::future::pending::<()>().await;
    }
    store.close().await;
}

#[tokio::test]
async fn many_processes_may_open_one_fresh_file_at_the_same_moment() {
    const PROCESSES: u64 = 8;
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let mut children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["child", "--exact"]).env(DATABASE, &database);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    // All processes are ready; now they start.
    for child in &mut children {
        drop(child.stdin.take());
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert!(beside(&database).is_empty(), "the last one to close removed them");
    let store = open(&database).await;
    assert_eq!(store.get_runnable_instances(Utc::now()).await.unwrap().len() as u64, PROCESSES);
    assert_eq!(store.next_definition_sequence("d").await.unwrap(), PROCESSES + 1);
}

/// How many locks the kernel's table has on a file.
fn locks(database: &Path) -> usize {
    use std::os::unix::fs::MetadataExt;
    let inode = format!(":{} ", fs::metadata(database).unwrap().ino());
    let all = fs::read_to_string("/proc/locks").unwrap();
    // The kernel's list is not read atomically: while other processes lock and unlock, a line may come twice, with another
    // number in front.
    let own = all.lines().filter(|line| line.contains(&inode)).filter_map(|line| line.split_once(' '));
    own.map(|(_, lock)| lock).collect::<BTreeSet<_>>().len()
}

/// Closing any descriptor of a file releases all locks that the process has on it.
#[tokio::test]
async fn opening_a_file_once_more_releases_no_lock_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let one = open(&database).await;
    one.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    assert_eq!(locks(&database), 2, "SQLite's shared lock, and that of WFE");
    let other = open(&database).await;
    assert_eq!(locks(&database), 2);
    other.close().await;
    assert_eq!(locks(&database), 2);
    one.close().await;
    assert_eq!(locks(&database), 0);
}

#[tokio::test]
async fn an_owner_is_alive_for_every_path_that_leads_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("a.db"), folder.path().join("link.db"));
    let one = open(&real).await;
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let other = open(&link).await;
    let (owner, looker) = (one.register().await.unwrap(), other.register().await.unwrap());
    let instance = WorkflowInstance::new("d", 1, json!(null));
    one.start(Some(&owner), &instance).await.unwrap();
    let definitions = [("d".to_owned(), 1)];
    assert_eq!(other.claim(&looker, &definitions, Utc::now(), 9).await.unwrap(), []);
    drop(owner);
    assert_eq!(other.claim(&looker, &definitions, Utc::now(), 9).await.unwrap().len(), 1);
}

/// What lies beside the database for those who share it: the ends of the names.
fn beside(database: &Path) -> Vec<String> {
    let name = format!("{}-", database.file_name().unwrap().to_str().unwrap());
    let mut found: Vec<_> = fs::read_dir(database.parent().unwrap())
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str().unwrap().strip_prefix(&name).map(str::to_owned)
        })
        .filter(|end| !["wal", "shm"].contains(&end.as_str()))
        .collect();
    found.sort();
    found
}

const BESIDE: [&str; 3] = ["bell", "gate", "turn"];

#[tokio::test]
async fn what_lies_beside_the_file_is_for_its_user_alone_and_goes_with_the_last_provider() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("a.db"), folder.path().join("link.db"));
    let one = open(&real).await;
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let other = open(&link).await;
    assert_eq!(beside(&real), BESIDE);
    assert!(beside(&link).is_empty());
    for end in BESIDE {
        let path = folder.path().join(format!("a.db-{end}"));
        assert!(wfe_sqlite::is_sidecar(&real, &path));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{end}");
    }
    one.close().await;
    drop(one);
    assert_eq!(beside(&real), BESIDE);
    other.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    other.close().await;
    assert!(beside(&real).is_empty());
    // A failed opening leaves no file behind either.
    fs::remove_file(&real).unwrap();
    fs::create_dir(folder.path().join("a.db-wal")).unwrap();
    SqlitePersistenceProvider::file(&real).open().await.unwrap_err();
    assert!(beside(&real).is_empty());
}

#[tokio::test]
async fn the_sidecars_of_a_killed_process_are_used_again_and_may_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    for delete in [false, true] {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["child", "--exact"]).env(DATABASE, &database).env(LINGER, "");
        command.args(["--nocapture", "--test-threads=1"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdin.take());
        // The process prints nothing before its store is open and written to.
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line.ends_with("@lingers")));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(beside(&database), BESIDE);
        if delete {
            for end in BESIDE {
                fs::remove_file(folder.path().join(format!("a.db-{end}"))).unwrap();
            }
        }
        let store = open(&database).await;
        assert_eq!(beside(&database), BESIDE);
        store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
        store.close().await;
        assert!(beside(&database).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn opening_and_closing_at_the_same_time_is_never_an_error() {
    const TASKS: usize = 4;
    const TIMES: usize = 25;
    let folder = tempfile::tempdir().unwrap();
    let database = Arc::new(folder.path().join("a.db"));
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let database = Arc::clone(&database);
            tokio::spawn(async move {
                for _ in 0..TIMES {
                    let store = open(&database).await;
                    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
                    store.close().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(beside(&database).is_empty());
    let store = open(&database).await;
    assert_eq!(store.get_runnable_instances(Utc::now()).await.unwrap().len(), TASKS * TIMES);
}

/// A program that ends without closing the store only drops the provider.
#[tokio::test]
async fn dropping_the_last_provider_leaves_nothing_but_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    for _ in 0..20 {
        let (one, other) = (open(&database).await, open(&database).await);
        one.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
        drop(one);
        assert!(folder.path().join("a.db-bell").exists(), "a provider has it open");
        drop(other);
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a.db"]);
    }
}
