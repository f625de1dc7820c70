//! Opening: what is made, what is refused, and that what is refused is left as it was.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use serde_json::json;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe_core::{
    WfeError,
    models::{Event, ExecutionPointer, WorkflowInstance},
    traits::{EventRepository, Intervention, PersistenceProvider, StepStore, WorkflowRepository},
};
use wfe_sqlite::SqlitePersistenceProvider;

async fn foreign(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

async fn made(path: &Path, sql: &'static str) {
    let mut connection = foreign(path).await;
    connection.execute(sql).await.unwrap();
    connection.close().await.unwrap();
}

/// Everything in a folder, byte for byte.
fn contents(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).ok()))
        .collect();
    all.sort();
    all
}

async fn refused(path: &Path) -> WfeError {
    let url = format!("sqlite://{}", path.display());
    SqlitePersistenceProvider::new(&url).await.unwrap_err()
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_by_path_and_cause_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("text"), "no database, however long this text may be: ".repeat(10)).unwrap();
    fs::write(at("short"), "x").unwrap();
    fs::write(at("truncated"), b"SQLite format 3\0").unwrap();
    made(&at("tables"), "CREATE TABLE customers (id INTEGER)").await;
    made(&at("wal"), "PRAGMA journal_mode = WAL; CREATE TABLE customers (id INTEGER)").await;
    made(&at("other"), "PRAGMA application_id = 7").await;
    made(&at("versioned"), "PRAGMA user_version = 1; CREATE TABLE workflows (id TEXT)").await;
    let before = contents(folder.path());
    for name in [
        "folder",
        "text",
        "short",
        "truncated",
        "tables",
        "wal",
        "other",
        "versioned",
        "missing/a.db",
        "text/a.db",
    ] {
        match refused(&at(name)).await {
            WfeError::Unusable { path, reason, .. } => {
                assert_eq!(path, at(name));
                assert!(!reason.is_empty(), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(contents(folder.path()), before, "{name}");
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    SqlitePersistenceProvider::file(&path).open().await.unwrap().close().await;
    made(&path, "PRAGMA user_version = 7").await;
    let before = contents(folder.path());
    match refused(&path).await {
        WfeError::SchemaTooNew { found, supported, location } => {
            assert_eq!((found, supported, location), (7, 2, path.display().to_string()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(contents(folder.path()), before);
}

/// A store as a program of version 1 left it: its script, and a row in each table.
async fn made_by_version_1(path: &Path) -> SqliteConnection {
    let mut connection = foreign(path).await;
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; BEGIN").await.unwrap();
    connection.execute(include_str!("../src/sql/schema.sql")).await.unwrap();
    connection.execute("PRAGMA application_id = 1464223025; PRAGMA user_version = 1; COMMIT").await.unwrap();
    connection.execute(ROWS_OF_VERSION_1).await.unwrap();
    connection
}

const ROWS_OF_VERSION_1: &str = "\
    INSERT INTO workflows (id, name, workflow_definition_id, version, status, create_time, control, control_number, data) \
      VALUES ('i', 'i', 'd', 1, 'Runnable', 7, 'Suspend', 3, '{\"n\":1}'); \
    INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, event_published, \
      retry_count, children, scope, extension_attributes, container) \
      VALUES (1, 'live', 0, 0, 'p', 0, 1, 'Pending', 0, 0, '[]', '[]', '{}', ''); \
    INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed, position) \
      VALUES ('e', 'paid', '7', 'null', 8, 0, 1); \
    INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
      subscribe_as_of, is_open) VALUES ('w', 'wait', 'i', 0, 'p', 'paid', '7', 7, 1); \
    INSERT INTO scheduled_commands (command_name, data, execute_time) VALUES ('ProcessEvent', 'e', 9); \
    INSERT INTO execution_errors (error_time, workflow_id, execution_pointer_id, message) VALUES (9, 'i', 'p', 'm')";

/// The statements that make up a schema, without regard to when they were run.
async fn schema_of(path: &Path) -> (i64, Vec<String>) {
    let mut connection = foreign(path).await;
    let version = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.unwrap();
    let all = sqlx::query_scalar("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    (version, all)
}

#[tokio::test]
async fn a_store_of_version_1_is_upgraded_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.db"), folder.path().join("new.db"));
    made_by_version_1(&old).await.close().await.unwrap();
    assert_eq!(schema_of(&old).await.0, 1);
    let store = SqlitePersistenceProvider::file(&old).open().await.unwrap();
    SqlitePersistenceProvider::file(&new).open().await.unwrap().close().await;
    assert_eq!(schema_of(&old).await, schema_of(&new).await);
    assert_eq!(schema_of(&old).await.0, 2);
    let loaded = store.load("i").await.unwrap();
    assert_eq!((loaded.instance.data, loaded.instance.execution_pointers.len()), (json!({"n": 1}), 1));
    assert_eq!(loaded.control.map(|request| request.number), Some(3));
    assert_eq!((loaded.waits.len(), loaded.deliveries.len()), (1, 1));
    assert_eq!(store.get_events("paid", "7", Utc::now()).await.unwrap(), ["e"]);
    let owner = store.enlist().await.unwrap();
    let claimed = store.claim(&owner, &[("d".to_owned(), 1)], Utc::now(), 9).await.unwrap();
    assert_eq!(claimed.len(), 1);
    store.close().await;
    SqlitePersistenceProvider::file(&old).open().await.unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_version_1_may_be_opened_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    made_by_version_1(&path).await.close().await.unwrap();
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { SqlitePersistenceProvider::file(&path).open().await.unwrap() })
        })
        .collect();
    for task in opening {
        let store = task.await.unwrap();
        assert_eq!(store.load("i").await.unwrap().waits.len(), 1);
    }
}

#[tokio::test]
async fn whoever_has_a_store_of_version_1_open_goes_on_with_it_once_it_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut older = made_by_version_1(&path).await;
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    for statement in
        ROWS_OF_VERSION_1.replace("'i'", "'j'").replace("('e'", "('f'").replace("('w'", "('x'").split("; ")
    {
        let own = statement
            .replace("'ProcessEvent', 'e'", "'ProcessEvent', 'f'")
            .replace("(1, 'live'", "(2, 'live'");
        let own = own.replace("8, 0, 1)", "8, 0, 2)");
        older.execute(sqlx::AssertSqlSafe(own)).await.unwrap();
    }
    let loaded = store.load("j").await.unwrap();
    assert_eq!((loaded.waits.len(), loaded.deliveries.len()), (1, 1));
    let owner = store.enlist().await.unwrap();
    assert_eq!(store.claim(&owner, &[("d".to_owned(), 1)], Utc::now(), 9).await.unwrap().len(), 2);
    // A wait that version 1 stores does not mark what it waits for; the next walk over the unprocessed events does.
    store.create_event(&Event { id: "g".to_owned(), ..Event::new("sent", "8", json!(null)) }).await.unwrap();
    let mut other = WorkflowInstance::new("d", 2, json!(null));
    (other.id, other.next_execution) = ("k".to_owned(), None);
    store.create_new_workflow(&other).await.unwrap();
    older
        .execute(
            "INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, \
             event_key, subscribe_as_of, is_open) VALUES ('y', 'wait', 'k', 0, 'p', 'sent', '8', 0, 1)",
        )
        .await
        .unwrap();
    let definitions = [("d".to_owned(), 2)];
    assert!(store.claim(&owner, &definitions, Utc::now(), 9).await.unwrap().is_empty());
    assert_eq!(store.finish_events(None, 99).await.unwrap().finished, 0);
    assert_eq!(store.claim(&owner, &definitions, Utc::now(), 9).await.unwrap()[0].id, "k");
    // A request of version 1 leaves what belonged to the one before it.
    store.intervene("j", &Intervention::Skip).await.unwrap();
    assert_eq!(store.load("j").await.unwrap().control.unwrap().intervention, Some(Intervention::Skip));
    older
        .execute(
            "UPDATE workflows SET control = 'Resume', control_number = control_number + 1 WHERE id = 'j'",
        )
        .await
        .unwrap();
    assert_eq!(store.load("j").await.unwrap().control.unwrap().intervention, None);
    let control: i64 =
        sqlx::query_scalar("UPDATE workflows SET control = NULL WHERE id = 'j' RETURNING control_number")
            .fetch_one(&mut older)
            .await
            .unwrap();
    assert_eq!(control, 5);
}

#[tokio::test]
async fn a_version_that_rises_while_the_store_is_open_is_refused_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    made(&path, "PRAGMA user_version = 7").await;
    assert!(matches!(store.ensure_store_exists().await, Err(WfeError::SchemaTooNew { .. })));
    // The newer version stands only in the WAL here.
    assert!(matches!(refused(&path).await, WfeError::SchemaTooNew { .. }));
}

#[tokio::test]
async fn a_fresh_store_has_six_tables_a_wal_and_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b%3F.db");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    let mut connection = foreign(&path).await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(
        tables,
        [
            "event_subscriptions",
            "events",
            "execution_errors",
            "execution_pointers",
            "scheduled_commands",
            "workflows"
        ]
    );
    let strict: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND strict")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(strict, 6);
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
    assert_eq!(mode, "wal");
    let vacuum: i64 = sqlx::query_scalar("PRAGMA auto_vacuum").fetch_one(&mut connection).await.unwrap();
    assert_eq!(vacuum, 2, "incremental");
    let foreign_key: String =
        sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_list('execution_pointers')")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(foreign_key, "workflows");
    let unique: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pragma_index_list('scheduled_commands') AS l WHERE l.\"unique\" AND \
         (SELECT group_concat(name) FROM pragma_index_info(l.name)) = 'command_name,data'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(unique, 1);
    #[cfg(unix)]
    for (file, _) in contents(folder.path()) {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn an_empty_file_and_an_empty_database_become_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, header) = (folder.path().join("empty"), folder.path().join("header"));
    fs::write(&empty, "").unwrap();
    made(&header, "CREATE TABLE gone (id INTEGER); DROP TABLE gone").await;
    for path in [empty, header] {
        let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
        store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fresh_file_may_be_opened_by_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let opening: Vec<_> = (0..16)
        .map(|number| {
            let path = path.clone();
            tokio::spawn(async move {
                let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
                let mut instance = WorkflowInstance::new("d", 1, json!(number));
                instance.id = number.to_string();
                store.create_new_workflow(&instance).await.unwrap();
                store
            })
        })
        .collect();
    for task in opening {
        let store = task.await.unwrap();
        let ids: Vec<_> = (0..16).map(|number| number.to_string()).collect();
        // Whoever is ready sees at least its own; the last one sees all.
        assert!(!store.get_workflow_instances(&ids).await.unwrap().is_empty());
    }
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let ids: Vec<_> = (0..16).map(|number| number.to_string()).collect();
    assert_eq!(store.get_workflow_instances(&ids).await.unwrap().len(), 16);
}

#[tokio::test]
async fn what_is_stored_is_there_after_close_and_a_closed_store_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let instance = WorkflowInstance::new("d", 1, json!(null));
    let id = store.create_new_workflow(&instance).await.unwrap();
    store.close().await;
    store.close().await;
    assert!(matches!(store.get_workflow_instance(&id).await, Err(WfeError::Closed(_))));
    assert!(matches!(store.persist_workflow(&instance).await, Err(WfeError::Closed(_))));
    assert!(!folder.path().join("a.db-wal").exists(), "the WAL is back in the file");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    assert_eq!(store.get_workflow_instance(&id).await.unwrap().id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_closes_a_store_waits_until_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = Arc::new(SqlitePersistenceProvider::file(&path).open().await.unwrap());
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    let closing: Vec<_> = (0..16)
        .map(|_| {
            let (store, wal) = (Arc::clone(&store), folder.path().join("a.db-wal"));
            tokio::spawn(async move {
                store.close().await;
                assert!(!wal.exists(), "the WAL is back in the file");
            })
        })
        .collect();
    for task in closing {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_store_held_by_another_is_busy_for_writers_and_not_for_readers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store =
        SqlitePersistenceProvider::file(&path).busy_timeout(Duration::from_millis(20)).open().await.unwrap();
    let mut instance = WorkflowInstance::new("d", 1, json!(null));
    store.create_new_workflow(&instance).await.unwrap();
    let mut other = foreign(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    instance.next_execution = None;
    assert!(matches!(store.persist_workflow(&instance).await, Err(WfeError::Busy { .. })));
    assert_eq!(store.get_workflow_instance(&instance.id).await.unwrap().next_execution, Some(0));
    other.execute("ROLLBACK").await.unwrap();
    store.persist_workflow(&instance).await.unwrap();
    assert_eq!(store.get_workflow_instance(&instance.id).await.unwrap().next_execution, None);
}

#[tokio::test]
async fn a_value_that_does_not_decode_names_its_place_and_harms_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = SqlitePersistenceProvider::file(&path).cache_bytes(0).open().await.unwrap();
    let (one, other) = (WorkflowInstance::new("d", 1, json!(1)), WorkflowInstance::new("d", 1, json!(2)));
    store.create_new_workflow(&one).await.unwrap();
    store.create_new_workflow(&other).await.unwrap();
    let mut connection = foreign(&path).await;
    sqlx::query("UPDATE workflows SET data = '{' WHERE id = ?")
        .bind(&one.id)
        .execute(&mut connection)
        .await
        .unwrap();
    match store.get_workflow_instance(&one.id).await {
        Err(WfeError::Corrupt { table, column, row, .. }) => {
            assert_eq!((table, column, row), ("workflows", "data", one.id));
        }
        found => panic!("{found:?}"),
    }
    assert_eq!(store.get_workflow_instance(&other.id).await.unwrap().data, json!(2));
    let mut broken = WorkflowInstance::new("d", 1, json!(3));
    broken.execution_pointers.push(ExecutionPointer::new(0));
    store.create_new_workflow(&broken).await.unwrap();
    connection.execute("UPDATE execution_pointers SET scope = '[1]'").await.unwrap();
    match store.get_workflow_instance(&broken.id).await {
        Err(WfeError::Corrupt { table, column, row, .. }) => {
            let place = format!("{} of {}", broken.execution_pointers[0].id, broken.id);
            assert_eq!((table, column, row), ("execution_pointers", "scope", place));
        }
        found => panic!("{found:?}"),
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_path_that_is_not_utf_8_is_refused_before_anything_is_made() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"a\xff.db"));
    let error = SqlitePersistenceProvider::file(&path).open().await.unwrap_err();
    assert!(matches!(error, WfeError::Unusable { .. }), "{error:?}");
    assert_eq!(contents(folder.path()), []);
}
