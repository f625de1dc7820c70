//! A copy of a database that is put back: beside the write-ahead log that belongs to it, and beside another one.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
    sample::select,
    test_runner::{Config, TestRunner},
};
use serde_json::json;
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe_core::{WfeError, models::WorkflowInstance, traits::WorkflowRepository};
use wfe_sqlite::SqlitePersistenceProvider;

async fn open(database: &Path) -> SqlitePersistenceProvider {
    SqlitePersistenceProvider::file(database).open().await.unwrap()
}

/// Creates an instance. Some hundred of them fill the log, which then starts again from its beginning.
async fn create(store: &SqlitePersistenceProvider, name: &str) {
    let mut instance = WorkflowInstance::new("d", 1, json!({ "filler": "x".repeat(50_000) }));
    instance.name = name.to_owned();
    store.create_new_workflow(&instance).await.unwrap();
}

async fn has(store: &SqlitePersistenceProvider, name: &str) -> bool {
    match store.get_workflow_instance_by_name(name).await {
        Ok(_) => true,
        Err(WfeError::WorkflowNotFound(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

fn sidecar(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Copies what a power cut would leave of a database without a running transaction, except for the index of the log.
fn cut(database: &Path, copy: &Path) {
    fs::copy(database, copy).unwrap();
    fs::copy(sidecar(database, "-wal"), sidecar(copy, "-wal")).unwrap();
}

/// The salts of the log, which change whenever the log starts again from its beginning.
fn salts(database: &Path) -> Vec<u8> {
    fs::read(sidecar(database, "-wal")).unwrap()[16..24].to_vec()
}

async fn until_the_log_begins_again(store: &SqlitePersistenceProvider, database: &Path) {
    create(store, "filling").await;
    let before = salts(database);
    for number in 0.. {
        create(store, &format!("filling {number}")).await;
        if salts(database) != before {
            return;
        }
    }
}

/// The database is refused, and the error names both files. Neither is touched; only the index of the log may be created.
async fn is_refused(database: &Path, why: &str) {
    let log = sidecar(database, "-wal");
    let before = (fs::read(database).unwrap(), fs::read(&log).unwrap());
    for _ in 0..2 {
        match SqlitePersistenceProvider::file(database).open().await {
            Err(WfeError::Unusable { path, reason, .. }) => {
                assert_eq!(path, database);
                for part in [why, &log.display().to_string(), "move", "put the earlier database back"] {
                    assert!(reason.contains(part), "{part}: {reason}");
                }
            }
            other => panic!("{other:?}"),
        }
        assert!((fs::read(database).unwrap(), fs::read(&log).unwrap()) == before, "it was touched");
    }
    let folder = fs::read_dir(database.parent().unwrap()).unwrap();
    let made =
        folder.map(|entry| entry.unwrap().path()).filter(|path| wfe_sqlite::is_sidecar(database, path));
    for path in made {
        assert!(path == log || path == sidecar(database, "-shm"), "{}", path.display());
    }
}

/// What a program does to a database with SQLite.
#[derive(Debug, Clone)]
enum Act {
    /// The store creates an instance.
    Create,
    /// One of the tools runs this.
    Run(usize, &'static str),
    /// The last tool begins to read, and continues. Until it ends, the log does not start again.
    Read,
    EndRead,
    /// The store is closed and opened.
    Reopen,
    /// All close it, and the last one checkpoints and deletes the log.
    CloseAll,
    /// All close it, and one uses it without a log, with pages of this size.
    WithoutLog(u32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    const WRITES: [&str; 9] = [
        "INSERT INTO others VALUES (zeroblob(20000))",
        "INSERT INTO others SELECT zeroblob(4000) FROM many",
        "DELETE FROM others WHERE rowid % 3 = 0",
        "UPDATE others SET filler = zeroblob(length(filler) / 2)",
        "CREATE TABLE more (filler); DROP TABLE more",
        // So large that it is written before it ends.
        "BEGIN; INSERT INTO others SELECT zeroblob(4000) FROM many; DELETE FROM others; ROLLBACK",
        "BEGIN; SAVEPOINT s; INSERT INTO others SELECT zeroblob(4000) FROM many; ROLLBACK TO s; \
         INSERT INTO others VALUES (1); COMMIT",
        "PRAGMA incremental_vacuum",
        "VACUUM",
    ];
    const CHECKPOINTS: [&str; 4] = [
        "PRAGMA wal_checkpoint(PASSIVE)",
        "PRAGMA wal_checkpoint(FULL)",
        "PRAGMA wal_checkpoint(RESTART)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    ];
    let run = |statements| (0..2_usize, select(statements)).prop_map(|(tool, run)| Act::Run(tool, run));
    let act = prop_oneof![
        6 => Just(Act::Create),
        6 => run(WRITES.to_vec()),
        4 => run(CHECKPOINTS.to_vec()),
        2 => prop_oneof![Just(Act::Read), Just(Act::EndRead)],
        1 => prop_oneof![Just(Act::Reopen), Just(Act::CloseAll)],
        1 => select(vec![512, 4096, 65_536]).prop_map(Act::WithoutLog),
    ];
    vec(act, 40)
}

async fn tool(database: &Path) -> SqliteConnection {
    // A checkpoint must not wait for the reader.
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(Duration::from_millis(1));
    let mut tool = options.connect().await.unwrap();
    // Pages that do not fit into the cache are written before the transaction ends.
    execute(&mut tool, "PRAGMA cache_size = 10").await;
    execute(
        &mut tool,
        "CREATE TABLE IF NOT EXISTS others (filler); CREATE VIEW IF NOT EXISTS many AS \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) SELECT i FROM n",
    )
    .await;
    tool
}

async fn tools(database: &Path) -> [SqliteConnection; 3] {
    [tool(database).await, tool(database).await, tool(database).await]
}

/// Runs all acts on one database. After each act, a copy of what a kill would leave opens, and is complete.
async fn is_never_refused(acts: Vec<Act>) {
    let folder = memory();
    let database = folder.path().join("a.db");
    let (mut store, mut names) = (open(&database).await, Vec::new());
    let (mut tools, mut is_reading) = (self::tools(&database).await, false);
    for (number, act) in acts.iter().enumerate() {
        match act {
            Act::Create => {
                names.push(number.to_string());
                create(&store, &number.to_string()).await;
            }
            Act::Run(by, statement) => execute(&mut tools[*by], statement).await,
            Act::Read if !is_reading => {
                is_reading = true;
                execute(&mut tools[2], "BEGIN; SELECT count(*) FROM others").await;
            }
            Act::EndRead if is_reading => {
                is_reading = false;
                execute(&mut tools[2], "COMMIT").await;
            }
            Act::Read | Act::EndRead => {}
            Act::Reopen => {
                store.close().await;
                store = open(&database).await;
            }
            Act::CloseAll | Act::WithoutLog(_) => {
                is_reading = false;
                for tool in tools {
                    tool.close().await.unwrap();
                }
                store.close().await;
                assert!(!sidecar(&database, "-wal").exists());
                if let Act::WithoutLog(size) = act {
                    let mut tool = SqliteConnectOptions::new().filename(&database).connect().await.unwrap();
                    let statements = format!(
                        "PRAGMA journal_mode = DELETE; PRAGMA page_size = {size}; VACUUM; INSERT INTO others VALUES (2)"
                    );
                    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut tool).await.unwrap();
                    tool.close().await.unwrap();
                }
                store = open(&database).await;
                tools = self::tools(&database).await;
            }
        }
        let place = memory();
        let copy = place.path().join("b.db");
        cut(&database, &copy);
        let copied = SqlitePersistenceProvider::file(&copy).open().await;
        let copied = copied.unwrap_or_else(|error| panic!("after {:?}: {error}", &acts[..=number]));
        for name in names.iter().rev().take(3) {
            assert!(has(&copied, name).await, "{name}, after {:?}", &acts[..=number]);
        }
        copied.close().await;
    }
    store.close().await;
}

/// A folder in memory, where a sync costs nothing.
fn memory() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

#[test]
fn a_log_is_never_refused_beside_its_own_database_whatever_was_done_to_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Each opens it some fifty times.
    let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&acts(), |acts| {
            runtime.block_on(is_never_refused(acts));
            Ok(())
        })
        .unwrap();
}

/// The number of cases: `PROPTEST_CASES`, or a few.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(3, |cases| cases.parse().unwrap())
}

async fn execute(connection: &mut SqliteConnection, statements: &'static str) {
    sqlx::raw_sql(statements).execute(connection).await.unwrap();
}

#[tokio::test]
async fn an_older_copy_beside_a_newer_log_is_refused_with_advice_and_opens_once_the_log_is_moved() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let database = at("a.db");
    let store = open(&database).await;
    create(&store, "old").await;
    // The two ways to copy a database, while no process writes.
    store.close().await;
    fs::copy(&database, at("copied")).unwrap();
    let store = open(&database).await;
    let mut tool = SqliteConnectOptions::new().filename(&database).connect().await.unwrap();
    let into = format!("VACUUM INTO '{}'", at("vacuumed").display());
    sqlx::query(sqlx::AssertSqlSafe(into)).execute(&mut tool).await.unwrap();
    tool.close().await.unwrap();
    until_the_log_begins_again(&store, &database).await;
    create(&store, "new").await;
    for copy in ["copied", "vacuumed"] {
        let place = tempfile::tempdir().unwrap();
        let restored = place.path().join("a.db");
        cut(&database, &restored);
        fs::copy(at(copy), &restored).unwrap();
        is_refused(&restored, "does not belong to").await;
        for suffix in ["-wal", "-shm"] {
            // The index may be missing.
            let _ = fs::rename(sidecar(&restored, suffix), place.path().join(format!("away{suffix}")));
        }
        let opened = open(&restored).await;
        assert!(has(&opened, "old").await && !has(&opened, "new").await, "{copy}");
        opened.close().await;
        // The moved files are still usable, together with the database that they belong to.
        fs::copy(&database, place.path().join("away")).unwrap();
        let opened = open(&place.path().join("away")).await;
        assert!(has(&opened, "old").await && has(&opened, "new").await, "{copy}");
        opened.close().await;
    }
    store.close().await;
}

#[tokio::test]
async fn a_new_database_replaces_a_removed_one_whatever_is_left_of_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let store = open(&database).await;
    create(&store, "one").await;
    let place = tempfile::tempdir().unwrap();
    let (gone, empty) = (place.path().join("gone.db"), place.path().join("empty.db"));
    for copy in [&gone, &empty] {
        cut(&database, copy);
    }
    store.close().await;
    fs::remove_file(&gone).unwrap();
    fs::write(&empty, "").unwrap();
    for begun in [&gone, &empty] {
        let store = open(begun).await;
        assert!(!has(&store, "one").await);
        store.close().await;
    }
}

#[tokio::test]
async fn an_older_copy_beside_a_log_with_all_later_commits_is_the_newest_state() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let store = open(&database).await;
    create(&store, "old").await;
    store.close().await;
    let store = open(&database).await;
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("a.db");
    fs::copy(&database, &copy).unwrap();
    create(&store, "new").await;
    fs::copy(sidecar(&database, "-wal"), sidecar(&copy, "-wal")).unwrap();
    let copied = open(&copy).await;
    assert!(has(&copied, "old").await && has(&copied, "new").await);
    copied.close().await;
    store.close().await;
}

/// Neither counter nor length show the damage here. SQLite reports it, and closes without a checkpoint.
#[tokio::test]
async fn a_database_that_is_damaged_under_its_log_is_refused_with_advice_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (database, place) = (folder.path().join("a.db"), tempfile::tempdir().unwrap());
    open(&database).await.close().await;
    let store = open(&database).await;
    create(&store, "one").await;
    let copy = place.path().join("b.db");
    cut(&database, &copy);
    store.close().await;
    // The last page of the schema, to which the first one leads. It has not changed since it was created.
    let mut bytes = fs::read(&copy).unwrap();
    let last = u32::from_be_bytes(bytes[108..112].try_into().unwrap()) as usize;
    bytes[(last - 1) * 4096..last * 4096].fill(0xff);
    fs::write(&copy, bytes).unwrap();
    is_refused(&copy, "SQLite reports damage").await;
}
