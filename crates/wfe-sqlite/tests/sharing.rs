//! Several providers and processes on one file.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
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

/// Says to a child process which database it works on.
const DATABASE: &str = "WFE_SHARED_DATABASE";

/// A child's side: waits for its input to end, opens the store and writes once. Without the variable this is no test of
/// its own.
#[tokio::test]
async fn child() {
    let Some(database) = env::var_os(DATABASE) else { return };
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    let store = open(Path::new(&database)).await;
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    store.next_definition_sequence("d").await.unwrap();
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
    // All are there; now they go.
    for child in &mut children {
        drop(child.stdin.take());
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let store = open(&database).await;
    assert_eq!(store.get_runnable_instances(Utc::now()).await.unwrap().len() as u64, PROCESSES);
    assert_eq!(store.next_definition_sequence("d").await.unwrap(), PROCESSES + 1);
}

/// How many locks the kernel's table has on a file.
fn locks(database: &Path) -> usize {
    use std::os::unix::fs::MetadataExt;
    let inode = format!(":{} ", std::fs::metadata(database).unwrap().ino());
    std::fs::read_to_string("/proc/locks").unwrap().lines().filter(|line| line.contains(&inode)).count()
}

/// Closing any descriptor of a file takes away all the locks that the process holds on it.
#[tokio::test]
async fn opening_a_file_once_more_leaves_the_locks_on_it_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let one = open(&database).await;
    one.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    assert_eq!(locks(&database), 1, "SQLite's shared lock");
    let other = open(&database).await;
    assert_eq!(locks(&database), 1);
    other.close().await;
    assert_eq!(locks(&database), 1);
    one.close().await;
    assert_eq!(locks(&database), 0);
}

#[tokio::test]
async fn an_owner_is_alive_by_whatever_path_the_file_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("a.db"), folder.path().join("link.db"));
    let one = open(&real).await;
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let other = open(&link).await;
    let (owner, looker) = (one.enlist().await.unwrap(), other.enlist().await.unwrap());
    let instance = WorkflowInstance::new("d", 1, json!(null));
    one.start(Some(&owner), &instance).await.unwrap();
    let definitions = [("d".to_owned(), 1)];
    assert_eq!(other.claim(&looker, &definitions, Utc::now(), 9).await.unwrap(), []);
    drop(owner);
    assert_eq!(other.claim(&looker, &definitions, Utc::now(), 9).await.unwrap().len(), 1);
}
