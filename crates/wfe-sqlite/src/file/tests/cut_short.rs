//! Tests with files that are cut short in place, and with files that SQLite itself makes shorter.

use std::{
    fs::{self, File},
    path::Path,
};

use wfe_core::{WfeError, traits::StepStore};

use super::{
    BOTH, is_lost, lose,
    process::{Locks, Place},
};
use crate::{
    SqlitePersistenceProvider,
    sqlx::{Connection, Executor, SqliteConnection},
};

const EVENT: &str = "emptied or cut short";

fn cut(path: &Path, length: impl Fn(u64) -> u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(length(file.metadata().unwrap().len())).unwrap();
}

async fn run(connection: &mut SqliteConnection, statement: &'static str) {
    connection.execute(statement).await.unwrap();
}

/// Runs a checkpoint, so that the tables are in the database file.
async fn checkpoint(place: &Place, mode: &'static str) {
    let mut connection = place.connect().await;
    run(&mut connection, mode).await;
    connection.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_acknowledged_once_the_log_was_cut_short() {
    type To = fn(u64) -> u64;
    let lengths: [(&str, To); 4] = [
        ("nothing", |_| 0),
        ("its header", |_| 32),
        ("half", |length| length / 2),
        ("a byte less", |length| length - 1),
    ];
    for (locks, (to, length)) in BOTH.into_iter().flat_map(|locks| lengths.map(|length| (locks, length))) {
        let place = Place::new(locks);
        let log = place.path("-wal");
        let mut other = place.process();
        let mut left = 0;
        let act = || {
            cut(&log, length);
            left = fs::metadata(&log).unwrap().len();
        };
        let one = lose(&place, act, "-wal", EVENT);
        is_lost(&mut other, &log, EVENT);
        other.end();
        one.end();
        assert_eq!(fs::metadata(&log).unwrap().len(), left, "{to}: nothing more is written");
    }
}

#[tokio::test]
async fn a_log_that_was_emptied_and_has_grown_again_is_found() {
    for locks in BOTH {
        let place = Place::new(locks);
        // The log checks like this if a commit comes between the truncation and the next check.
        let act = || {
            let length = fs::metadata(place.path("-wal")).unwrap().len();
            cut(&place.path("-wal"), |_| 0);
            cut(&place.path("-wal"), |_| length);
        };
        lose(&place, act, "-wal", EVENT).end();
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_once_the_database_was_cut_short() {
    // PASSIVE leaves the copied frames in the log, where they are not read any more; TRUNCATE starts the log again.
    for mode in ["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        for (locks, pages) in BOTH.into_iter().flat_map(|locks| [(locks, 1), (locks, 20)]) {
            let place = Place::new(locks);
            let mut one = place.process();
            assert_eq!(one.ask("create before"), "ok");
            checkpoint(&place, mode).await;
            cut(&place.database, |length| length - pages * 4_096);
            let left = fs::metadata(&place.database).unwrap().len();
            is_lost(&mut one, &place.database, EVENT);
            one.end();
            assert_eq!(fs::metadata(&place.database).unwrap().len(), left, "nothing more is written");
        }
    }
}

#[tokio::test]
async fn a_database_that_is_cut_before_the_first_commit_is_found() {
    let place = Place::new(Locks::Description);
    // When that process has closed the database, the log is gone.
    let mut before = place.process();
    assert_eq!(before.ask("create before"), "ok");
    before.end();
    let store = SqlitePersistenceProvider::file(&place.database).open().await.unwrap();
    cut(&place.database, |length| length - 4_096);
    for _ in 0..2 {
        let error = store.verify().await.unwrap_err();
        assert!(matches!(error, WfeError::Unusable { .. }) && error.to_string().contains(EVENT), "{error}");
    }
}

#[tokio::test]
async fn a_database_that_has_grown_and_was_cut_between_two_checks_is_found() {
    for mode in ["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)"] {
        for locks in BOTH {
            let place = Place::new(locks);
            let mut one = place.process();
            assert_eq!(one.ask("create before"), "ok");
            assert_eq!(one.ask("verify"), "ok");
            let mut connection = place.connect().await;
            run(&mut connection, "CREATE TABLE grown AS SELECT randomblob(400000) AS a").await;
            run(&mut connection, mode).await;
            connection.close().await.unwrap();
            cut(&place.database, |length| length - 4_096);
            is_lost(&mut one, &place.database, EVENT);
        }
    }
}

#[tokio::test]
async fn a_wal_index_that_was_cut_short_is_found() {
    for locks in BOTH {
        let place = Place::new(locks);
        lose(&place, || cut(&place.path("-shm"), |_| 0), "-shm", EVENT).end();
    }
}

/// The ordinary statements by which SQLite makes its files shorter or longer.
const ORDINARY: [&str; 12] = [
    "INSERT INTO heap SELECT randomblob(4000) FROM generate LIMIT 300",
    "PRAGMA wal_checkpoint(PASSIVE)",
    "DELETE FROM heap",
    "VACUUM",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "INSERT INTO heap SELECT randomblob(4000) FROM generate LIMIT 100",
    "PRAGMA wal_checkpoint(RESTART)",
    "DELETE FROM heap",
    "PRAGMA incremental_vacuum",
    "PRAGMA wal_checkpoint(PASSIVE)",
    "INSERT INTO heap SELECT randomblob(4000) FROM generate LIMIT 200",
    "PRAGMA wal_checkpoint(FULL)",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sqlite_does_to_its_files_is_never_taken_for_a_loss() {
    let place = Place::new(Locks::Description);
    let mut one = place.process();
    let mut connection = place.connect().await;
    run(&mut connection, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM; CREATE TABLE heap (a)").await;
    run(
        &mut connection,
        "CREATE VIEW generate AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300) SELECT n FROM c",
    )
    .await;
    let ordinary = tokio::spawn(async move {
        for statement in [ORDINARY; 10].as_flattened() {
            run(&mut connection, statement).await;
        }
        connection
    });
    let (mut checks, mut created) = (0, 0);
    while !ordinary.is_finished() {
        // These checks come in addition to those of the writer, which keep other processes waiting.
        for _ in 0..100 {
            assert_eq!(one.ask("verify"), "ok");
            checks += 1;
        }
        assert_eq!(one.ask(&format!("create {created}")), "ok");
        created += 1;
    }
    let mut connection = ordinary.await.unwrap();
    run(&mut connection, "DROP VIEW generate; DROP TABLE heap").await;
    connection.close().await.unwrap();
    assert!(checks > ORDINARY.len(), "{checks}");
    one.end();
    assert_eq!(place.stored().await.len(), created);
}
