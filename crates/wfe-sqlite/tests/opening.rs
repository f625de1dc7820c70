//! Opening: what is created, what is refused, and that a refused file is not changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping it")]

use std::{
    error::Error as _,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions,
};
use wfe_core::{
    WfeError,
    models::{ExecutionError, ExecutionPointer, WorkflowInstance},
    traits::{PersistenceProvider, StepStore, WorkflowRepository},
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
async fn an_unusable_file_is_refused_with_path_and_cause_and_not_changed() {
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

#[cfg(unix)]
#[tokio::test]
async fn a_database_with_a_second_hard_link_is_refused_by_either_name_and_a_symbolic_link_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let store = SqlitePersistenceProvider::file(at("a.db")).open().await.unwrap();
    fs::create_dir(at("sub")).unwrap();
    fs::hard_link(at("a.db"), at("sub/b.db")).unwrap();
    for name in ["a.db", "sub/b.db"] {
        let error = refused(&at(name)).await;
        assert!(
            matches!(&error, WfeError::Unusable { path, reason, .. } if *path == at(name) && reason.contains("hard link")),
            "{error:?}"
        );
    }
    fs::remove_file(at("sub/b.db")).unwrap();
    std::os::unix::fs::symlink(at("a.db"), at("sub/b.db")).unwrap();
    SqlitePersistenceProvider::file(at("sub/b.db")).open().await.unwrap().close().await;
    store.close().await;
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    SqlitePersistenceProvider::file(&path).open().await.unwrap().close().await;
    made(&path, "PRAGMA user_version = 8").await;
    let before = contents(folder.path());
    match refused(&path).await {
        WfeError::SchemaTooNew { found, supported, location } => {
            assert_eq!((found, supported, location), (8, 7, path.display().to_string()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(contents(folder.path()), before);
}

/// A store after `.dump` and `.read` of SQLite's shell: complete, except for the two numbers that mark it.
#[tokio::test]
async fn a_copy_without_the_mark_of_a_store_is_refused_with_advice_and_opens_once_the_advice_was_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("copy.db"));
    let instance = WorkflowInstance::new("d", 1, json!(null));
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    store.create_new_workflow(&instance).await.unwrap();
    store.close().await;
    let mut tool = foreign(&path).await;
    let into = format!("VACUUM INTO '{}'", copy.display());
    tool.execute(AssertSqlSafe(into)).await.unwrap();
    tool.close().await.unwrap();
    // One of the two numbers alone is no mark either.
    for lost in [
        "PRAGMA application_id = 0; PRAGMA user_version = 0",
        "PRAGMA application_id = 0",
        "PRAGMA user_version = 0",
    ] {
        made(&copy, lost).await;
        let before = contents(folder.path());
        let error = refused(&copy).await;
        assert_eq!(contents(folder.path()), before, "{lost}");
        // The source of the error is the cause, and gives no advice of its own.
        let why = error.source().unwrap();
        assert!(why.to_string().contains("its application_id is") && why.source().is_none(), "{why}");
        let error = error.to_string();
        let (_, mend) =
            error.split_once("with an SQLite tool: ").unwrap_or_else(|| panic!("{lost}: {error}"));
        assert!(error.contains("VACUUM INTO"), "{error}");
        let mut tool = foreign(&copy).await;
        tool.execute(AssertSqlSafe(mend.to_owned())).await.unwrap();
        tool.close().await.unwrap();
        let store = SqlitePersistenceProvider::file(&copy).open().await.unwrap();
        assert_eq!(store.get_workflow_instance(&instance.id).await.unwrap().id, instance.id);
        store.close().await;
        // Back to the state of a copy that was never opened.
        made(&copy, "PRAGMA journal_mode = DELETE").await;
    }
    // Neither another program's database nor an incomplete store gets the advice to mark it.
    for other in [
        "PRAGMA application_id = 7",
        "PRAGMA application_id = 0; PRAGMA user_version = 8",
        "PRAGMA user_version = 0; DROP INDEX events_dated",
    ] {
        made(&copy, other).await;
        let error = refused(&copy).await.to_string();
        assert!(error.contains("another program's"), "{other}: {error}");
    }
}

/// A marked store opens even if an operator has added tables to it. So does a copy, once it is marked.
#[tokio::test]
async fn the_error_of_an_unmarked_copy_with_additional_tables_says_what_the_file_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    SqlitePersistenceProvider::file(&path).open().await.unwrap().close().await;
    let marks = "PRAGMA application_id = 0; PRAGMA user_version = 0";
    for (adds, told) in [
        ("CREATE TABLE notes (a); CREATE INDEX notes_a ON notes (a)", "the table notes: "),
        ("CREATE INDEX mine ON workflows (name)", "the table notes, the index mine of workflows: "),
        (
            "ALTER TABLE workflows ADD COLUMN mine TEXT; CREATE TABLE others (a)",
            "the table notes, the table others, the column workflows.mine and 1 more: ",
        ),
        ("CREATE VIEW v AS SELECT 1", ""),
    ] {
        made(&path, adds).await;
        SqlitePersistenceProvider::file(&path).open().await.unwrap().close().await;
        made(&path, "PRAGMA journal_mode = DELETE").await;
        made(&path, marks).await;
        let before = contents(folder.path());
        let error = refused(&path).await.to_string();
        assert_eq!(contents(folder.path()), before, "{adds}");
        assert!(error.contains(told) && error.contains("a newer WFE"), "{adds}: {error}");
        let (_, mend) =
            error.split_once("with an SQLite tool: ").unwrap_or_else(|| panic!("{adds}: {error}"));
        let mut tool = foreign(&path).await;
        tool.execute(AssertSqlSafe(mend.to_owned())).await.unwrap();
        tool.close().await.unwrap();
        SqlitePersistenceProvider::file(&path).open().await.unwrap().close().await;
        made(&path, "PRAGMA journal_mode = DELETE").await;
    }
}

#[tokio::test]
async fn a_version_that_rises_while_the_store_is_open_is_refused_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    made(&path, "PRAGMA user_version = 8").await;
    assert!(matches!(store.ensure_store_exists().await, Err(WfeError::SchemaTooNew { .. })));
    // Only the WAL contains the newer version.
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
        // Each process sees at least its own instance; the last one sees all.
        assert!(!store.get_workflow_instances(&ids).await.unwrap().is_empty());
    }
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let ids: Vec<_> = (0..16).map(|number| number.to_string()).collect();
    assert_eq!(store.get_workflow_instances(&ids).await.unwrap().len(), 16);
}

#[tokio::test]
async fn stored_data_is_there_after_a_close_and_calls_of_a_closed_store_return_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let instance = WorkflowInstance::new("d", 1, json!(null));
    let id = store.create_new_workflow(&instance).await.unwrap();
    store.close().await;
    store.close().await;
    assert!(matches!(store.get_workflow_instance(&id).await, Err(WfeError::Closed(_))));
    assert!(matches!(store.persist_workflow(&instance).await, Err(WfeError::Closed(_))));
    assert!(!folder.path().join("a.db-wal").exists(), "closing has checkpointed the WAL into the file");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    assert_eq!(store.get_workflow_instance(&id).await.unwrap().id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_close_waits_until_the_store_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = Arc::new(SqlitePersistenceProvider::file(&path).open().await.unwrap());
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    let closing: Vec<_> = (0..16)
        .map(|_| {
            let (store, wal) = (Arc::clone(&store), folder.path().join("a.db-wal"));
            tokio::spawn(async move {
                store.close().await;
                assert!(!wal.exists(), "closing has checkpointed the WAL into the file");
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
async fn a_value_that_does_not_decode_is_reported_with_its_row_and_affects_no_other_row() {
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

#[tokio::test]
async fn opening_a_store_with_an_incomplete_schema_names_file_and_missing_parts_and_changes_nothing() {
    for (change, missing) in [
        ("DROP TABLE scheduled_commands", "the table scheduled_commands"),
        ("DROP TABLE execution_errors; DROP TABLE events", "the table events, the table execution_errors"),
        ("ALTER TABLE execution_errors DROP COLUMN causes", "the column execution_errors.causes"),
        ("ALTER TABLE workflows RENAME COLUMN start_key TO key", "the column workflows.start_key"),
        ("DROP INDEX events_stream", "the index events_stream of events"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        SqlitePersistenceProvider::file(&path).open().await.unwrap().close().await;
        // A trigger would keep the column that it names from being dropped.
        let change = change.replace(
            "ALTER TABLE execution_errors",
            "DROP TRIGGER execution_errors_causes; ALTER TABLE execution_errors",
        );
        let mut tool = foreign(&path).await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(change)).execute(&mut tool).await.unwrap();
        tool.close().await.unwrap();
        let before = contents(folder.path());
        match refused(&path).await {
            WfeError::Unusable { path: named, reason, .. } => {
                assert_eq!(named, path);
                assert!(reason.contains(missing) && reason.contains("version 7"), "{missing}: {reason}");
            }
            other => panic!("{missing}: {other:?}"),
        }
        assert_eq!(contents(folder.path()), before, "{missing}");
    }
}

#[tokio::test]
async fn tables_that_an_operator_has_added_to_the_schema_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    SqlitePersistenceProvider::file(&path).open().await.unwrap().close().await;
    made(
        &path,
        "CREATE TABLE notes (id INTEGER); CREATE INDEX notes_id ON notes (id); CREATE VIEW all_notes AS SELECT * FROM notes; \
         CREATE INDEX workflows_more ON workflows (version); ALTER TABLE workflows ADD COLUMN color TEXT; \
         CREATE TRIGGER noted AFTER DELETE ON workflows BEGIN INSERT INTO notes VALUES (old.seq); END",
    )
    .await;
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    store.create_new_workflow(&WorkflowInstance::new("d", 1, json!(null))).await.unwrap();
    store.ensure_store_exists().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn every_error_of_an_open_store_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    made(&path, "DROP TABLE execution_errors").await;
    let error = ExecutionError::new("w", "p", "m");
    for error in [
        store.persist_errors(&[error]).await.unwrap_err(),
        store.failures("w", None, 1).await.unwrap_err(),
        store.ensure_store_exists().await.unwrap_err(),
    ] {
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    // An upgrade that adds what is there already.
    let path = folder.path().join("b.db");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    made(&path, "PRAGMA user_version = 3").await;
    match store.ensure_store_exists().await.unwrap_err() {
        error @ WfeError::Storage { .. } => {
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
