//! A store that is opened for reading only changes nothing, whatever its version, and whoever has it open.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod earlier;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use chrono::Utc;
use earlier::EARLIER;
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe_core::{
    Result, WfeError,
    models::{Event, WorkflowInstance},
    traits::{EventRepository, PersistenceProvider, StepStore, SubscriptionRepository, WorkflowRepository},
};
use wfe_sqlite::{SqliteOptions, SqlitePersistenceProvider as Store};

const ROWS: &str = "\
    INSERT INTO workflows (id, name, workflow_definition_id, version, status, create_time, data) \
      VALUES ('i', 'i', 'd', 1, 'Runnable', 7, '{\"n\":1}'); \
    INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, event_published, \
      retry_count, children, scope, extension_attributes, container) \
      VALUES (1, 'live', 0, 0, 'p', 0, 1, 'Pending', 0, 0, '[]', '[]', '{}', ''); \
    INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed, position) \
      VALUES ('e', 'paid', '7', 'null', 8, 0, 1); \
    INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
      subscribe_as_of, is_open) VALUES ('w', 'wait', 'i', 0, 'p', 'paid', '7', 7, 1)";

/// A store as a program of this version left it.
async fn made_by(version: usize, path: &Path) -> SqliteConnection {
    let mut connection = earlier::empty(version, path).await;
    connection.execute(ROWS).await.unwrap();
    connection
}

/// What is in a folder: the bytes of the database, and the names of all files but SQLite's own two.
fn contents(path: &Path) -> (Vec<u8>, BTreeSet<String>) {
    let names = fs::read_dir(path.parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_of_sqlite = |name: &String| name.ends_with("-wal") || name.ends_with("-shm");
    (fs::read(path).unwrap(), names.filter(|name| !is_of_sqlite(name)).collect())
}

fn options(path: &Path) -> [SqliteOptions; 2] {
    [Store::file(path).read_only(), Store::file(path).upgrade(false)]
}

/// Reads all kinds of rows, and tries all kinds of writes.
async fn look(store: &Arc<Store>, version: i64) {
    assert_eq!(store.schema_version(), version);
    let loaded = store.load("i").await.unwrap();
    assert_eq!((loaded.instance.data, loaded.instance.execution_pointers.len()), (json!({"n": 1}), 1));
    assert_eq!((loaded.waits.len(), loaded.deliveries.len()), (1, 1));
    assert_eq!(store.inspect("i").await.unwrap().waits.len(), 1);
    assert_eq!(store.load_many(&["i".to_owned()]).await.unwrap().len(), 1);
    assert_eq!(store.get_events("paid", "7", Utc::now()).await.unwrap(), ["e"]);
    store.get_runnable_instances(Utc::now()).await.unwrap();
    store.finished("i", "", 0, 9).await.unwrap();
    store.ended(&["i".to_owned()]).await.unwrap();
    let mut instance = WorkflowInstance::new("d", 1, json!(0));
    "new".clone_into(&mut instance.id);
    let refused: [Result<()>; 5] = [
        store.create_new_workflow(&instance).await.map(drop),
        store.create_event(&Event::new("paid", "7", json!(null))).await.map(drop),
        store.register().await.map(drop),
        store.ensure_store_exists().await,
        store.terminate_subscription("w").await,
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        match refused {
            Err(WfeError::ReadOnly { location }) => assert!(location.ends_with("a.db")),
            Err(WfeError::SchemaTooOld { found, needed, .. }) => {
                assert_eq!((found, needed), (version, Store::SCHEMA_VERSION));
            }
            other => panic!("{at}: {other:?}"),
        }
    }
    assert!(store.get_workflow_instance("new").await.is_err());
}

#[tokio::test]
async fn a_store_of_an_earlier_version_is_read_as_it_is() {
    for version in 3..=EARLIER.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        // The log has commits, as after a crash of the program.
        let writer = made_by(version, &path).await;
        let before = contents(&path);
        for options in options(&path) {
            let store = Arc::new(options.open().await.unwrap());
            look(&store, i64::try_from(version).unwrap()).await;
            assert_eq!(contents(&path), before, "version {version}");
            store.close().await;
            assert_eq!(contents(&path), before, "version {version}");
        }
        writer.close().await.unwrap();
        let before = contents(&path);
        let store = Arc::new(Store::file(&path).read_only().open().await.unwrap());
        look(&store, i64::try_from(version).unwrap()).await;
        // Another program upgrades the store meanwhile.
        let newer = Arc::new(Store::file(&path).open().await.unwrap());
        assert_eq!(newer.schema_version(), Store::SCHEMA_VERSION);
        assert_eq!(store.load("i").await.unwrap().waits.len(), 1);
        assert_ne!(contents(&path), before);
        newer.close().await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_store_that_is_too_old_is_refused_and_stays() {
    for version in 1..3 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        made_by(version, &path).await.close().await.unwrap();
        let before = contents(&path);
        for options in options(&path) {
            match options.open().await {
                Err(WfeError::SchemaTooOld { location, needed: 3, .. }) => {
                    assert!(location.ends_with("a.db"));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(contents(&path), before);
        }
    }
}

#[tokio::test]
async fn looking_at_a_store_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    made_by(EARLIER.len(), &path).await.close().await.unwrap();
    Store::file(&path).open().await.unwrap().close().await;
    let before = contents(&path);
    let store = Arc::new(Store::file(&path).read_only().open().await.unwrap());
    look(&store, Store::SCHEMA_VERSION).await;
    // What a live host stores is seen at once.
    let host = Arc::new(Store::file(&path).open().await.unwrap());
    let owner = host.register().await.unwrap();
    let instance = WorkflowInstance::new("d", 1, json!("of the host"));
    let id = host.create_new_workflow(&instance).await.unwrap();
    assert_eq!(store.get_workflow_instance(&id).await.unwrap().data, "of the host");
    let with_host = contents(&path);
    let other = Arc::new(Store::file(&path).read_only().open().await.unwrap());
    look(&other, Store::SCHEMA_VERSION).await;
    other.close().await;
    assert_eq!(contents(&path), with_host);
    drop(owner);
    host.close().await;
    store.close().await;
    assert_eq!(contents(&path).1, before.1);
    // A store of the current version can be written although it must not be upgraded.
    let store = Store::file(&path).create(false).upgrade(false).open().await.unwrap();
    assert_eq!(store.get_workflow_instance(&id).await.unwrap().data, "of the host");
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(0))).await.unwrap();
}

#[tokio::test]
async fn the_log_of_a_killed_program_is_read_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (path, killed) = (folder.path().join("a.db"), tempfile::tempdir().unwrap());
    let used = killed.path().join("a.db");
    let writer = made_by(EARLIER.len(), &used).await;
    for suffix in ["", "-wal"] {
        let name = format!("a.db{suffix}");
        fs::copy(killed.path().join(&name), folder.path().join(&name)).unwrap();
    }
    writer.close().await.unwrap();
    let (before, log) = (contents(&path), fs::read(folder.path().join("a.db-wal")).unwrap());
    let store = Arc::new(Store::file(&path).read_only().open().await.unwrap());
    look(&store, 6).await;
    store.close().await;
    assert_eq!(contents(&path), before);
    assert_eq!(fs::read(folder.path().join("a.db-wal")).unwrap(), log);
}

#[tokio::test]
async fn a_missing_or_empty_file_is_named_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let all = |path: &Path| {
        let [reads, _] = options(path);
        [reads, Store::file(path).create(false), Store::file(path).create(false).upgrade(false)]
    };
    for options in all(&path) {
        match options.open().await {
            Err(WfeError::Unusable { path: named, reason, .. }) => {
                assert!(named == path && reason.contains("no such file"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert!(!path.exists() && fs::read_dir(folder.path()).unwrap().next().is_none());
    }
    fs::write(&path, "").unwrap();
    for options in all(&path) {
        match options.open().await {
            Err(WfeError::Unusable { reason, .. }) => assert!(reason.contains("empty"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(contents(&path).0.len(), 0);
    }
    assert!(matches!(Store::builder(":memory:").read_only().open().await, Err(WfeError::Unusable { .. })));
    // Without `create(false)`, a missing file is created, and is of the current version.
    fs::remove_file(&path).unwrap();
    Store::file(&path).upgrade(false).open().await.unwrap().close().await;
}

#[tokio::test]
async fn a_file_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    fs::write(&path, "not a database, but some text that is longer than a header").unwrap();
    let before = contents(&path);
    for options in options(&path) {
        assert!(matches!(options.open().await, Err(WfeError::Unusable { .. })));
        assert_eq!(contents(&path), before);
    }
    fs::remove_file(&path).unwrap();
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = options.connect().await.unwrap();
    other.execute("CREATE TABLE t (a)").await.unwrap();
    other.close().await.unwrap();
    let result = Store::file(&path).read_only().open().await;
    assert!(matches!(result, Err(WfeError::Unusable { .. })), "{result:?}");
}

/// A user and a group without programs and files: Linux gives both this number.
const NOBODY: u32 = 65_534;
/// Set by the gate, which runs as root: a test that needs root fails where it cannot run.
const DEMAND_ROOT: &str = "WFE_DEMAND_ROOT";
/// The database that the other user opens.
const DATABASE: &str = "WFE_READ_ONLY_DATABASE";
/// What the other user finds.
const EXPECTED: &str = "WFE_READ_ONLY_EXPECTED";

/// Runs as another user, who owns the database and may not write to its folder.
#[tokio::test]
async fn as_another_user() {
    let (Some(path), Ok(expected)) = (std::env::var_os(DATABASE), std::env::var(EXPECTED)) else { return };
    let opened = Store::file(PathBuf::from(path)).read_only().open().await;
    match (&*expected, opened) {
        ("read", Ok(store)) => look(&Arc::new(store), 6).await,
        (expected, Err(WfeError::Unusable { reason, .. })) if expected != "read" => {
            assert!(reason.contains(expected) && reason.contains("backup"), "{reason}");
        }
        (expected, other) => panic!("{expected}: {other:?}"),
    }
}

fn is_root() -> bool {
    let probe = tempfile::NamedTempFile::new().unwrap();
    let is_root = chown(probe.path(), Some(NOBODY), None).is_ok();
    assert!(is_root || std::env::var_os(DEMAND_ROOT).is_none(), "run this test as root");
    is_root
}

fn as_nobody(path: &Path, expected: &str) {
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "as_another_user", "--nocapture"])
        .env(DATABASE, path)
        .env(EXPECTED, expected)
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    assert!(done.status.success(), "{expected}: {}", String::from_utf8_lossy(&done.stdout));
}

#[tokio::test]
async fn in_a_folder_that_cannot_be_written_a_closed_store_is_read_and_another_one_is_refused() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let writer = made_by(EARLIER.len(), &path).await;
    let give = || {
        for entry in fs::read_dir(folder.path()).unwrap() {
            chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    };
    give();
    let before = contents(&path);
    as_nobody(&path, "has commits");
    assert_eq!(contents(&path), before);
    writer.close().await.unwrap();
    give();
    let before = contents(&path);
    as_nobody(&path, "read");
    fs::write(folder.path().join("a.db-wal"), "").unwrap();
    give();
    as_nobody(&path, "read");
    fs::remove_file(folder.path().join("a.db-wal")).unwrap();
    assert_eq!(contents(&path), before);
    let host = fs::File::create(folder.path().join("a.db-bell")).unwrap();
    host.lock_shared().unwrap();
    give();
    as_nobody(&path, "has it open");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
}
