//! Backups, checks, compaction, checkpoints and statistics, while the store is in use.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod earlier;

use std::{
    collections::BTreeSet,
    fs,
    ops::ControlFlow,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use futures_util::FutureExt;
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use wfe_core::{
    WfeError,
    models::WorkflowInstance,
    traits::{CheckDepth, CheckpointMode, Management, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider as Store;

async fn run(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    connection.execute(sql).await.unwrap();
    connection.close().await.unwrap();
}

async fn create(store: &Store, n: usize) {
    for n in 0..n {
        let instance = WorkflowInstance::new("d", 1, json!({ "n": n, "filler": "x".repeat(2_000) }));
        store.create_new_workflow(&instance).await.unwrap();
    }
}

async fn store() -> (TempDir, PathBuf, Arc<Store>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = Store::file(&path).open().await.unwrap();
    create(&store, 100).await;
    (folder, path, Arc::new(store))
}

/// The files in a folder that are not the store's own.
fn others(path: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(path.parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with("a.db")).collect()
}

#[tokio::test]
async fn a_backup_is_a_whole_store_and_nobody_waits_for_it() {
    let (folder, path, store) = store().await;
    let target = folder.path().join("copy.db");
    let (last, calls) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = |done: u64, total: Option<u64>| {
        assert!(done <= total.unwrap());
        last.store(total.unwrap() - done, SeqCst);
        calls.fetch_add(1, SeqCst);
        ControlFlow::Continue(())
    };
    let (report, ()) = tokio::join!(store.backup(&target, &progress), create(&store, 20));
    let report = report.unwrap();
    assert!((100..=120).contains(&report.instances), "{report:?}");
    assert_eq!(report.bytes, fs::metadata(&target).unwrap().len());
    assert!(last.load(SeqCst) == 0 && calls.load(SeqCst) >= 2);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(others(&path), BTreeSet::from(["copy.db".to_owned()]));
    // It is a store, of the same version, and can be compacted and backed up.
    let copy = Store::file(&target).create(false).upgrade(false).open().await.unwrap();
    assert_eq!(copy.statistics().await.unwrap().open_instances, report.instances);
    assert_eq!(copy.check(CheckDepth::Full, &()).await.unwrap().faults, [""; 0]);
    create(&copy, 1).await;
    copy.close().await;
}

#[tokio::test]
async fn a_backup_of_a_store_that_is_only_read_and_of_one_in_memory() {
    let (folder, path, store) = store().await;
    let reads = Store::file(&path).read_only().open().await.unwrap();
    let report = reads.backup(&folder.path().join("one.db"), &()).await.unwrap();
    assert_eq!(report.instances, 100);
    reads.close().await;
    store.close().await;
    let memory = Store::new(":memory:").await.unwrap();
    create(&memory, 3).await;
    let report = memory.backup(&folder.path().join("two.db"), &()).await.unwrap();
    assert_eq!(report.instances, 3);
    assert_eq!(others(&path), BTreeSet::from(["one.db".to_owned(), "two.db".to_owned()]));
    // A store of an earlier version is copied as it is.
    let old = folder.path().join("old.db");
    earlier::empty(3, &old).await.close().await.unwrap();
    let reads = Store::file(&old).read_only().open().await.unwrap();
    reads.backup(&folder.path().join("three.db"), &()).await.unwrap();
    assert_eq!(reads.check(CheckDepth::Full, &()).await.unwrap().faults, [""; 0]);
    assert_eq!(reads.statistics().await.unwrap().schema_version, 3);
    assert!(matches!(reads.compact(&()).await, Err(WfeError::ReadOnly { .. })));
    assert!(matches!(reads.checkpoint(CheckpointMode::Passive).await, Err(WfeError::ReadOnly { .. })));
    let copy = Store::file(folder.path().join("three.db")).read_only().open().await.unwrap();
    assert_eq!(copy.schema_version(), 3);
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_leaves_nothing_if_it_fails() {
    let (folder, path, store) = store().await;
    let there = folder.path().join("there");
    fs::write(&there, "precious").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
    let before = others(&path);
    for target in [
        there.clone(),
        folder.path().join("link"),
        folder.path().to_owned(),
        folder.path().join("no folder/copy.db"),
        path.clone(),
        folder.path().join("a.db-journal"),
    ] {
        match store.backup(&target, &()).await {
            Err(WfeError::Unusable { path: named, .. }) => assert_eq!(named, target),
            other => panic!("{}: {other:?}", target.display()),
        }
    }
    assert_eq!((fs::read_to_string(&there).unwrap(), others(&path)), ("precious".to_owned(), before.clone()));
    // The target appears while the copy is made.
    let late = folder.path().join("late");
    let progress = |_: u64, _: Option<u64>| {
        fs::write(&late, "precious").unwrap();
        ControlFlow::Continue(())
    };
    assert!(matches!(store.backup(&late, &progress).await, Err(WfeError::Unusable { .. })));
    assert_eq!(fs::read_to_string(&late).unwrap(), "precious");
    fs::remove_file(&late).unwrap();
    assert_eq!(others(&path), before);
}

#[tokio::test]
async fn a_backup_ends_when_its_caller_wants_it() {
    let (folder, path, store) = store().await;
    let target = folder.path().join("copy.db");
    let stop = |_: u64, _: Option<u64>| ControlFlow::Break(());
    assert!(matches!(store.backup(&target, &stop).await, Err(WfeError::Cancelled)));
    assert!(matches!(store.check(CheckDepth::Full, &stop).await, Err(WfeError::Cancelled)));
    assert_eq!(others(&path), BTreeSet::new());
    // A dropped future: nothing is left, or the backup was complete by then.
    for polls in 0..6 {
        let target = folder.path().join(format!("dropped-{polls}.db"));
        {
            let mut backup = Box::pin(store.backup(&target, &()));
            for _ in 0..polls {
                if backup.as_mut().now_or_never().is_some() {
                    break;
                }
                store.get_workflow_instance("nothing").await.unwrap_err();
            }
        }
        while others(&path).iter().any(|name| name.contains(".partial-")) {
            tokio::task::yield_now().await;
        }
        if target.exists() {
            let copy = Store::file(&target).create(false).open().await.unwrap();
            assert_eq!(copy.statistics().await.unwrap().open_instances, 100);
        }
    }
    store.close().await;
}

/// The callback counts the ticks since the endless statement began, so the statement is running when it is ended.
#[tokio::test]
async fn a_statement_of_a_check_ends_while_it_runs() {
    let (_folder, path, store) = store().await;
    run(
        &path,
        "UPDATE workflows SET begun = 1; DROP TABLE execution_pointers; CREATE VIEW execution_pointers AS \
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT -n AS workflow, 'live' AS kind FROM n",
    )
    .await;
    let ticks = AtomicU64::new(0);
    // The fourth step looks for pointers until it finds some.
    let stop = |done: u64, _: Option<u64>| {
        let is_endless = done == 3;
        if is_endless && ticks.fetch_add(1, SeqCst) == 1 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let ended = store.check(CheckDepth::Full, &stop).await;
    assert!(matches!(ended, Err(WfeError::Cancelled)), "{ended:?}");
    assert!(ticks.load(SeqCst) >= 2);
    store.close().await;
}

#[tokio::test]
async fn a_check_names_what_does_not_fit_together() {
    let (_folder, path, store) = store().await;
    let steps = AtomicU64::new(0);
    let follow = |done: u64, total: Option<u64>| {
        steps.store(total.unwrap() - done, SeqCst);
        ControlFlow::Continue(())
    };
    for depth in [CheckDepth::Quick, CheckDepth::Full] {
        assert_eq!(store.check(depth, &follow).await.unwrap().faults, [""; 0]);
        assert_eq!(steps.load(SeqCst), 0);
    }
    run(
        &path,
        "PRAGMA foreign_keys = OFF; \
         INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, event_published, \
           retry_count, children, scope, extension_attributes, container) \
           VALUES (999, 'history', 1, 0, 'p', 0, 0, 'Complete', 0, 0, '[]', '[]', '{}', ''); \
         INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
           subscribe_as_of, is_open) VALUES ('gone//p//1', 'wait', 'gone', 0, 'p', 'e', 'k', 7, 1); \
         INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed, position) \
           VALUES ('far', 'e', 'k', 'null', 7, 1, 4000000); \
         UPDATE workflows SET data = '{' WHERE seq = 1; UPDATE workflows SET begun = 1 WHERE seq = 2",
    )
    .await;
    let faults = store.check(CheckDepth::Full, &()).await.unwrap().faults.join("\n");
    for expected in [
        "execution_pointers, row",
        "gone//p//1",
        "row far",
        "its data is not JSON",
        "live pointers are missing",
    ] {
        assert!(faults.contains(expected), "{expected}: {faults}");
    }
    assert_eq!(store.check(CheckDepth::Quick, &()).await.unwrap().faults, [""; 0]);
    store.close().await;
    // Damage in the file itself.
    let mut bytes = fs::read(&path).unwrap();
    let page = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let at = bytes.len() / page / 2 * page;
    bytes[at..at + page].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let damaged = Store::file(&path).read_only().open().await.unwrap();
    for depth in [CheckDepth::Quick, CheckDepth::Full] {
        assert!(!damaged.check(depth, &()).await.unwrap().faults.is_empty());
    }
    let target = path.with_extension("copy");
    assert!(damaged.backup(&target, &()).await.is_err());
    assert!(!target.exists());
}

#[tokio::test]
async fn compaction_makes_the_file_shorter_while_hosts_write() {
    let (folder, path, store) = store().await;
    run(&path, "DELETE FROM workflows WHERE seq % 10 <> 0").await;
    let other = Store::file(&path).open().await.unwrap();
    let before = store.statistics().await.unwrap();
    assert!(before.free_bytes > 100_000, "{before:?}");
    let stop = |_: u64, _: Option<u64>| ControlFlow::Break(());
    assert!(matches!(store.compact(&stop).await, Err(WfeError::Cancelled)));
    let (report, ()) = tokio::join!(store.compact(&()), create(&other, 10));
    let (freed, after) = (report.unwrap().freed_bytes, store.statistics().await.unwrap());
    assert!(freed > 100_000 && after.free_bytes < 50_000, "{freed} {after:?}");
    other.checkpoint(CheckpointMode::Truncate).await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), store.statistics().await.unwrap().bytes);
    assert!(fs::metadata(&path).unwrap().len() < before.bytes);
    assert_eq!(store.check(CheckDepth::Full, &()).await.unwrap().faults, [""; 0]);
    assert_eq!(store.compact(&()).await.unwrap().freed_bytes, 0);
    create(&store, 1).await;
    // A database that another tool has made.
    let plain = folder.path().join("plain.db");
    store.backup(&plain, &()).await.unwrap();
    run(&plain, "PRAGMA auto_vacuum = NONE; VACUUM").await;
    let plain = Store::file(&plain).open().await.unwrap();
    match plain.compact(&()).await {
        Err(WfeError::Invalid(reason)) => assert!(reason.contains("auto_vacuum"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(Store::new(":memory:").await.unwrap().compact(&()).await.unwrap().freed_bytes, 0);
}

#[tokio::test]
async fn a_checkpoint_empties_the_log_unless_a_reader_needs_it() {
    let (_folder, path, store) = store().await;
    let log = || fs::metadata(path.with_extension("db-wal")).unwrap().len();
    create(&store, 1).await;
    assert!(store.statistics().await.unwrap().log_pages.unwrap() > 0 && log() > 0);
    let report = store.checkpoint(CheckpointMode::Passive).await.unwrap();
    assert!(!report.was_hindered && report.moved_pages == report.log_pages && log() > 0, "{report:?}");
    assert_eq!(store.statistics().await.unwrap().log_pages, Some(0));
    let mut reader = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    reader.execute("BEGIN; SELECT count(*) FROM workflows").await.unwrap();
    create(&store, 3).await;
    let report = store.checkpoint(CheckpointMode::Passive).await.unwrap();
    assert!(report.was_hindered && report.moved_pages < report.log_pages, "{report:?}");
    let short = Store::file(&path).busy_timeout(std::time::Duration::from_millis(100)).open().await.unwrap();
    let (busy, ()) = tokio::join!(short.checkpoint(CheckpointMode::Truncate), create(&store, 3));
    assert!(matches!(busy, Err(WfeError::Busy { .. })), "{busy:?}");
    reader.execute("COMMIT").await.unwrap();
    let report = store.checkpoint(CheckpointMode::Truncate).await.unwrap();
    assert!(!report.was_hindered && log() == 0, "{report:?}");
    create(&store, 1).await;
    let memory = Store::new(":memory:").await.unwrap();
    assert!(!memory.checkpoint(CheckpointMode::Truncate).await.unwrap().was_hindered);
}

#[tokio::test]
async fn statistics_count_what_is_there() {
    let (_folder, path, store) = store().await;
    run(&path, "UPDATE workflows SET status = 'Complete' WHERE seq <= 40").await;
    let found = store.statistics().await.unwrap();
    assert_eq!(found.location, path.display().to_string());
    assert_eq!(i64::from(found.schema_version), Store::SCHEMA_VERSION);
    assert_eq!((found.open_instances, found.instances, found.errors, found.events), (60, 100, 0, 0));
    assert!(found.bytes > 200_000 && found.log_bytes > 0 && found.disk_free_bytes.unwrap() > 0);
    assert_eq!(found.oldest_reader, None);
    let memory = Store::new(":memory:").await.unwrap();
    create(&memory, 2).await;
    let found = memory.statistics().await.unwrap();
    assert_eq!((&*found.location, found.open_instances, found.log_bytes), (":memory:", 2, 0));
    assert_eq!(memory.check(CheckDepth::Full, &()).await.unwrap().faults, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_while_a_copy_and_a_check_are_made() {
    let (folder, _path, store) = store().await;
    create(&store, 1_000).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let writes = tokio::spawn({
        let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
        async move {
            let mut commits = 0;
            while !is_over.load(SeqCst) {
                create(&store, 1).await;
                commits += 1;
            }
            commits
        }
    });
    for n in 0..3 {
        store.backup(&folder.path().join(format!("{n}.db")), &()).await.unwrap();
        assert_eq!(store.check(CheckDepth::Full, &()).await.unwrap().faults, [""; 0]);
    }
    is_over.store(true, SeqCst);
    assert!(writes.await.unwrap() > 3);
}
