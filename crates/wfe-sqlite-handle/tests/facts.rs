//! The facts about sqlx, rusqlite and SQLite on which the crate, and its `unsafe` block, rest.

#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use wfe_sqlite_handle::{Error, LentHandle, Result, StatementStatus};

const TABLES: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT NOT NULL) STRICT; INSERT INTO t VALUES (1, 'a'), (2, 'b')";
const COUNT: &str = "SELECT count(*) FROM t";

/// A connection to a database in memory, and one to a file.
async fn both(folder: &tempfile::TempDir) -> [SqliteConnection; 2] {
    let file = SqliteConnectOptions::new().filename(folder.path().join("a.db")).create_if_missing(true);
    let memory = SqliteConnectOptions::new().filename(":memory:").in_memory(true);
    let mut both = [memory.connect().await.unwrap(), file.connect().await.unwrap()];
    for connection in &mut both {
        connection.execute(TABLES).await.unwrap();
    }
    both
}

fn run(lent: &LentHandle<'_>, sql: &str) -> Result<usize> {
    lent.prepare(sql)?.raw_execute()
}

fn code(error: &Error) -> i32 {
    error.sqlite_error().unwrap().extended_code
}

async fn count(connection: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar(COUNT).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn sqlx_and_rusqlite_link_one_sqlite_which_may_be_used_by_one_thread_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    for mut connection in both(&folder).await {
        let linked: String =
            sqlx::query_scalar("SELECT sqlite_source_id()").fetch_one(&mut connection).await.unwrap();
        let lent = LentHandle::of(&mut connection, 9).await.unwrap();
        let text = |sql| lent.prepare(sql).unwrap().query_row([], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(text("SELECT sqlite_source_id()"), linked);
        assert_eq!(text("SELECT sqlite_compileoption_used('THREADSAFE=1') || ''"), "1");
    }
}

#[tokio::test]
async fn sqlx_works_on_with_a_connection_that_is_given_back_and_closes_it() {
    let folder = tempfile::tempdir().unwrap();
    for mut connection in both(&folder).await {
        // sqlx keeps this statement prepared.
        assert_eq!(count(&mut connection).await, 2);
        for round in 3..100 {
            let lent = LentHandle::of(&mut connection, 9).await.unwrap();
            lent.prepare("INSERT INTO t VALUES (?, ?)").unwrap().execute((round, "c")).unwrap();
            assert_eq!((lent.changes(), lent.is_in_transaction()), (1, false));
            drop(lent);
            assert_eq!(count(&mut connection).await, round);
        }
        let mut transaction = connection.begin().await.unwrap();
        transaction.execute("DELETE FROM t").await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(count(&mut connection).await, 0);
        // Every statement is finalized: otherwise sqlx would panic when it closes the connection.
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_may_be_lent_and_given_back_without_end() {
    let options = SqliteConnectOptions::new().filename(":memory:").command_buffer_size(2);
    let mut connection = options.connect().await.unwrap();
    for _ in 0..2_000 {
        run(&LentHandle::of(&mut connection, 1).await.unwrap(), "SELECT 1 WHERE 0").unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_left_open_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    for mut connection in both(&folder).await {
        let lent = LentHandle::of(&mut connection, 9).await.unwrap();
        run(&lent, "BEGIN IMMEDIATE").unwrap();
        run(&lent, "DELETE FROM t").unwrap();
        assert!(lent.is_in_transaction());
        drop(lent);
        assert_eq!(count(&mut connection).await, 2);
        connection.begin().await.unwrap().commit().await.unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_statement_takes_back_itself_alone_and_tells_its_extended_code() {
    let folder = tempfile::tempdir().unwrap();
    for mut connection in both(&folder).await {
        let lent = LentHandle::of(&mut connection, 9).await.unwrap();
        run(&lent, "BEGIN IMMEDIATE").unwrap();
        run(&lent, "INSERT INTO t VALUES (3, 'c')").unwrap();
        let total = lent.total_changes();
        let failed = run(&lent, "INSERT INTO t VALUES (4, 'd'), (5, NULL)").unwrap_err();
        assert_eq!(code(&failed), 1299, "NOT NULL, as an extended code: sqlx has switched them on");
        assert!(lent.is_in_transaction());
        assert_eq!(lent.total_changes(), total, "what it has taken back does not count");
        assert_eq!(code(&run(&lent, "INSERT INTO t VALUES (1, 'a')").unwrap_err()), 1555);
        run(&lent, "COMMIT").unwrap();
        drop(lent);
        assert_eq!(count(&mut connection).await, 3);
    }
}

#[tokio::test]
async fn a_full_database_ends_the_transaction_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    for mut connection in both(&folder).await {
        connection.execute("PRAGMA max_page_count = 4").await.unwrap();
        let lent = LentHandle::of(&mut connection, 9).await.unwrap();
        run(&lent, "BEGIN IMMEDIATE").unwrap();
        let full = run(&lent, "INSERT INTO t VALUES (3, hex(zeroblob(100000)))").unwrap_err();
        assert_eq!((code(&full), lent.is_in_transaction()), (13, false));
    }
}

#[tokio::test]
async fn a_savepoint_takes_back_what_comes_after_it() {
    let folder = tempfile::tempdir().unwrap();
    for mut connection in both(&folder).await {
        let lent = LentHandle::of(&mut connection, 9).await.unwrap();
        for sql in ["BEGIN IMMEDIATE", "INSERT INTO t VALUES (3, 'c')", "SAVEPOINT r", "DELETE FROM t"] {
            run(&lent, sql).unwrap();
        }
        for sql in ["ROLLBACK TO r", "RELEASE r", "COMMIT"] {
            run(&lent, sql).unwrap();
        }
        drop(lent);
        assert_eq!(count(&mut connection).await, 3);
    }
}

#[tokio::test]
async fn sqlite_waits_for_a_lock_as_long_as_sqlx_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let [_, mut other] = both(&folder).await;
    let options = SqliteConnectOptions::new().filename(folder.path().join("a.db"));
    let mut connection = options.busy_timeout(Duration::from_millis(100)).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let lent = LentHandle::of(&mut connection, 9).await.unwrap();
    let began = Instant::now();
    assert_eq!(code(&run(&lent, "BEGIN IMMEDIATE").unwrap_err()), 5);
    assert!(began.elapsed() >= Duration::from_millis(90), "{:?}", began.elapsed());
    other.execute("COMMIT").await.unwrap();
    run(&lent, "BEGIN IMMEDIATE").unwrap();
}

#[tokio::test]
async fn a_value_may_contain_nul_and_a_text_that_is_not_utf8_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    for mut connection in both(&folder).await {
        let lent = LentHandle::of(&mut connection, 9).await.unwrap();
        let mut statement = lent.prepare("SELECT ?, CAST(x'61ff' AS TEXT)").unwrap();
        statement.raw_bind_parameter(1, "a\0b").unwrap();
        let mut rows = statement.raw_query();
        let row = rows.next().unwrap().unwrap();
        assert_eq!(row.get_ref(0).unwrap().as_str().unwrap(), "a\0b");
        let text = row.get_ref(1).unwrap();
        assert!(text.as_str().is_err());
        assert_eq!(text.as_bytes().unwrap(), b"a\xff");
    }
}

#[tokio::test]
async fn a_statement_stays_prepared_within_the_capacity_and_survives_a_change_of_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    for mut connection in both(&folder).await {
        let lent = LentHandle::of(&mut connection, 3).await.unwrap();
        let runs = |sql| lent.prepare(sql).unwrap().get_status(StatementStatus::Run);
        let select = || lent.prepare(COUNT)?.query_row([], |row| row.get::<_, i64>(0));
        assert_eq!((runs(COUNT), select().unwrap(), runs(COUNT)), (0, 2, 1));
        run(&lent, "ALTER TABLE t RENAME TO u").unwrap();
        assert_eq!(code(&select().unwrap_err()), 1, "it fails without a panic");
        run(&lent, "ALTER TABLE u RENAME TO t").unwrap();
        assert_eq!((select().unwrap(), runs(COUNT) > 0), (2, true));
        for sql in ["SELECT 1", "SELECT 2", "SELECT 3"] {
            assert_eq!(runs(sql), 0);
        }
        assert_eq!(runs(COUNT), 0, "the least recently used statement is dropped");
    }
}

/// The loan ends by an unwinding panic as it does by a return.
#[tokio::test]
async fn a_panic_gives_the_connection_back() {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    connection.execute(TABLES).await.unwrap();
    let lent = LentHandle::of(&mut connection, 9).await.unwrap();
    let work = std::panic::AssertUnwindSafe(move || {
        run(&lent, "BEGIN IMMEDIATE").unwrap();
        run(&lent, "DELETE FROM t").unwrap();
        let _unfinished = lent.prepare("SELECT * FROM t").unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(std::panic::catch_unwind(work).is_err());
    assert_eq!(count(&mut connection).await, 2);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_statement_is_ended_from_another_thread_and_none_is_after_the_loan() {
    const LONG: &str =
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n";
    let folder = tempfile::tempdir().unwrap();
    let [mut connection, _other] = both(&folder).await;
    let is_ended = Arc::new(AtomicBool::new(false));
    let mut lent = LentHandle::of(&mut connection, 4).await.unwrap();
    lent.end_when(Arc::clone(&is_ended));
    let two =
        |lent: &LentHandle<'_>| lent.prepare("SELECT 2").unwrap().query_row([], |row| row.get::<_, i64>(0));
    assert_eq!(two(&lent).unwrap(), 2);
    let ending = std::thread::spawn({
        let is_ended = Arc::clone(&is_ended);
        move || is_ended.store(true, Ordering::Relaxed)
    });
    let error = lent.prepare(LONG).unwrap().query_row([], |row| row.get::<_, i64>(0)).unwrap_err();
    assert_eq!(code(&error), 9, "SQLITE_INTERRUPT");
    ending.join().unwrap();
    drop(lent);
    assert_eq!(Arc::strong_count(&is_ended), 1, "the callback is gone");
    let lent = LentHandle::of(&mut connection, 4).await.unwrap();
    assert_eq!(two(&lent).unwrap(), 2);
    let many = LONG.replace("FROM n) SELECT", "FROM n LIMIT 100000) SELECT");
    assert_eq!(lent.prepare(&many).unwrap().query_row([], |row| row.get::<_, i64>(0)).unwrap(), 100_000);
    drop(lent);
    connection.close().await.unwrap();
}
