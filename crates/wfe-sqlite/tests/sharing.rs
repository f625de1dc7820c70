//! Several providers on one file.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::path::Path;

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
