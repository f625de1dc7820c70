//! Tests with a database that is copied, removed, renamed, replaced, cut short or overwritten while a process has it
//! open. They cover systems that have open file description (OFD) locks, and systems that have none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod cut_short;
mod process;

use std::{
    fs,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt};
use wfe_core::traits::StepStore;

use self::process::{Locks, Place, Process, create};
use crate::{
    SqlitePersistenceProvider,
    sqlx::{self, ConnectOptions, Connection},
};

const BOTH: [Locks; 2] = [Locks::Description, Locks::Posix];

/// Asserts that every kind of call fails with an error that names the lost file and what happened to it. Asserts that
/// the process cannot open the database once more.
fn is_lost(process: &mut Process, file: &Path, event: &str) {
    for call in ["create late", "read before", "read late", "beat", "verify", "listen"] {
        let answer = process.ask(call);
        let is_named = answer.starts_with(&format!("unusable {} ", file.display()));
        assert!(is_named && answer.contains(event), "{call}: {answer}");
    }
    let again = process.ask("again");
    assert!(again.starts_with("unusable "), "{again}");
}

/// Starts a process, which stores an instance with the id `before`. Then calls `act`, which changes the files of the
/// process. Asserts that the process acknowledges nothing afterwards.
fn lose(place: &Place, act: impl FnOnce(), file: &str, event: &str) -> Process {
    let mut one = place.process();
    assert_eq!(one.ask("create before"), "ok");
    act();
    let (answer, file) = (one.ask("create after"), place.path(file));
    let is_named = answer.starts_with(&format!("unusable {} ", file.display()));
    assert!(is_named && answer.contains(event), "{answer}");
    is_lost(&mut one, &file, event);
    one
}

/// Opens and closes the database. A closing connection that takes itself for the last one removes the log.
async fn open_and_close(place: &Place) {
    // Once with SQLite alone, and once with the store.
    place.connect().await.close().await.unwrap();
    place.process().end();
}

#[tokio::test]
async fn a_program_that_copies_its_open_database_loses_nothing_when_another_process_opens_and_closes_it() {
    let place = Place::new(Locks::Description);
    let mut one = place.process();
    for round in 0..5 {
        assert_eq!(one.ask(&format!("create a{round}")), "ok");
        assert_eq!(one.ask("copy"), "ok");
        open_and_close(&place).await;
        assert!(place.path("-wal").exists() && place.path("-shm").exists(), "no process removed it");
        assert_eq!(one.ask(&format!("create b{round}")), "ok");
    }
    one.child.kill().unwrap();
    let expected: Vec<_> = ["a", "b"].iter().flat_map(|n| (0..5).map(move |r| format!("{n}{r}"))).collect();
    assert_eq!(place.stored().await, expected);
}

#[tokio::test]
async fn without_locks_of_descriptions_a_copy_loses_no_acknowledged_commit_either() {
    let place = Place::new(Locks::Posix);
    let mut one = place.process();
    // The next commit takes the locks again.
    assert_eq!(one.ask("create a"), "ok");
    assert_eq!(one.ask("copy"), "ok");
    assert_eq!(one.ask("create b"), "ok");
    open_and_close(&place).await;
    assert_eq!(one.ask("create c"), "ok");
    // The first one to close checkpoints the log into the database, and removes it.
    assert_eq!(one.ask("copy"), "ok");
    place.connect().await.close().await.unwrap();
    let answer = one.ask("create d");
    assert!(answer.starts_with("unusable ") && answer.contains("removed or renamed"), "{answer}");
    is_lost(&mut one, &place.path("-wal"), "removed or renamed");
    let mut other = place.process();
    assert_eq!(other.ask("create e"), "ok");
    one.end();
    other.end();
    assert_eq!(place.stored().await, ["a", "b", "c", "e"]);
}

/// In this test, the locks may be lost and another connection may open the database at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_while_the_file_is_copied_and_others_open_and_close_it_is_stored() {
    const ROUNDS: usize = 30;
    for locks in BOTH {
        let place = Place::new(locks);
        let mut acknowledged = Vec::new();
        let mut one = place.process();
        for round in 0..ROUNDS {
            let came = tokio::spawn({
                let options = place.options();
                async move {
                    let mut connection = options.connect().await?;
                    sqlx::query("SELECT count(*) FROM workflows").execute(&mut connection).await?;
                    connection.close().await
                }
            });
            for name in [format!("{round}"), format!("{round} after a copy")] {
                let answer = one.ask(&format!("create {name}"));
                match answer.as_str() {
                    "ok" => acknowledged.push(name),
                    lost => {
                        assert!(locks == Locks::Posix && lost.starts_with("un"), "{lost}");
                        one.end();
                        one = place.process();
                    }
                }
                assert_eq!(one.ask("copy"), "ok");
            }
            came.await.unwrap().unwrap();
        }
        one.end();
        let stored = place.stored().await;
        assert!(acknowledged.len() >= ROUNDS, "{locks:?}: {}", acknowledged.len());
        assert!(
            acknowledged.iter().all(|name| stored.contains(name)),
            "{locks:?}: {acknowledged:?} {stored:?}"
        );
    }
}

#[tokio::test]
async fn a_program_that_has_copied_its_database_still_checkpoints_the_log_when_it_closes_last() {
    for locks in BOTH {
        let place = Place::new(locks);
        let mut one = place.process();
        assert_eq!(one.ask("create a"), "ok");
        assert_eq!(one.ask("copy"), "ok");
        one.end();
        let left = fs::read_dir(place.folder.path()).unwrap();
        assert_eq!(left.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), ["a.db"]);
        assert_eq!(place.stored().await, ["a"]);
    }
}

#[tokio::test]
async fn nothing_is_stored_in_a_database_that_was_removed_and_none_is_created_in_its_place_meanwhile() {
    for locks in BOTH {
        let place = Place::new(locks);
        let one = lose(&place, || fs::remove_file(&place.database).unwrap(), "", "removed or renamed");
        let (_, opened) = Process::start(&place.database, locks);
        assert!(opened.starts_with("unusable") && opened.contains("removed while a process"), "{opened}");
        assert!(!place.database.exists());
        one.end();
        let (mut other, opened) = Process::start(&place.database, locks);
        // The remains of the log are not used for a new database.
        assert_eq!(opened, "ok");
        assert_eq!(other.ask("create new"), "ok");
        other.end();
        assert_eq!(place.stored().await, ["new"]);
    }
}

#[tokio::test]
async fn a_database_that_was_renamed_is_complete_when_it_is_back() {
    for locks in BOTH {
        let place = Place::new(locks);
        let elsewhere = place.folder.path().join("b.db");
        let rename = || fs::rename(&place.database, &elsewhere).unwrap();
        lose(&place, rename, "", "removed or renamed").end();
        fs::rename(&elsewhere, &place.database).unwrap();
        let mut one = place.process();
        assert_eq!(one.ask("read before"), "ok");
        assert!(one.ask("read after").contains("WorkflowNotFound"));
        one.end();
        assert_eq!(place.stored().await, ["before"]);
    }
}

#[tokio::test]
async fn nothing_is_stored_in_a_database_that_was_replaced_and_nothing_is_written_into_its_successor() {
    for locks in BOTH {
        let place = Place::new(locks);
        let copy = place.folder.path().join("copy.db");
        let replace = || {
            fs::copy(&place.database, &copy).unwrap();
            fs::rename(&copy, &place.database).unwrap();
        };
        let one = lose(&place, replace, "", "another file");
        let bytes = fs::read(&place.database).unwrap();
        one.end();
        assert_eq!(fs::read(&place.database).unwrap(), bytes);
        assert!(place.path("-wal").exists(), "what was acknowledged can still be rescued");
    }
}

#[tokio::test]
async fn nothing_is_stored_in_a_database_that_was_emptied_and_no_process_repairs_it_unasked() {
    for locks in BOTH {
        let place = Place::new(locks);
        let empty = || fs::File::options().write(true).open(&place.database).unwrap().set_len(0).unwrap();
        lose(&place, empty, "", "emptied").end();
        assert_eq!(fs::read(&place.database).unwrap(), b"");
        assert!(place.path("-wal").exists());
    }
}

#[tokio::test]
async fn the_last_connection_to_close_writes_the_commits_of_a_removed_log_into_the_database() {
    for (locks, suffix) in BOTH.into_iter().flat_map(|locks| [(locks, "-wal"), (locks, "-shm")]) {
        let place = Place::new(locks);
        let mut other = place.process();
        let remove = || fs::remove_file(place.path(suffix)).unwrap();
        let one = lose(&place, remove, suffix, "removed or renamed");
        is_lost(&mut other, &place.path(suffix), "removed or renamed");
        one.end();
        other.end();
        assert!(!place.path("-wal").exists(), "{locks:?} {suffix}");
        assert_eq!(place.stored().await, ["before"], "{locks:?} {suffix}");
    }
}

#[tokio::test]
async fn a_log_that_another_process_has_created_since_is_not_overwritten() {
    for locks in BOTH {
        let place = Place::new(locks);
        let one = lose(&place, || fs::remove_file(place.path("-wal")).unwrap(), "-wal", "removed or renamed");
        fs::remove_file(place.path("-shm")).unwrap();
        let mut other = place.connect().await;
        sqlx::query("CREATE TABLE other AS SELECT 1 AS one").execute(&mut other).await.unwrap();
        one.end();
        assert!(place.path("-wal").exists());
        other.close().await.unwrap();
        let mut connection = place.connect().await;
        let one = sqlx::query_scalar::<_, i64>("SELECT one FROM other").fetch_one(&mut connection).await;
        assert_eq!(one.unwrap(), 1, "{locks:?}");
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_once_sqlite_reported_damage() {
    for locks in BOTH {
        let place = Place::new(locks);
        let mut one = place.process();
        assert_eq!(one.ask("create before"), "ok");
        // A checkpoint, so that the log does not hide the damage in the file.
        let mut connection = place.connect().await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let mut file = fs::File::options().write(true).open(&place.database).unwrap();
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let bytes = vec![0x5a; length];
        file.write_all(&bytes).unwrap();
        // SQLite answers some calls from memory, until one needs a page of the file.
        let asked = (0..10_000).flat_map(|number| [format!("create n{number}"), "read before".to_owned()]);
        let first = asked.map(|call| one.ask(&call)).find(|answer| answer != "ok").unwrap();
        assert!(first.starts_with("un") && first.contains("damaged or overwritten"), "{first}");
        is_lost(&mut one, &place.database, "damaged or overwritten");
        one.end();
        assert_eq!(fs::read(&place.database).unwrap(), bytes, "the file may be a restored backup");
    }
}

#[tokio::test]
async fn a_store_that_only_reads_or_waits_for_changes_finds_a_loss_within_a_second() {
    for call in ["listen", "read before"] {
        let place = Place::new(Locks::Description);
        let mut one = place.process();
        assert_eq!(one.ask("create before"), "ok");
        if call == "listen" {
            one.send(call);
        }
        fs::remove_file(&place.database).unwrap();
        let removed = Instant::now();
        let mut answers =
            std::iter::from_fn(|| Some(if call == "listen" { one.answer() } else { one.ask(call) }));
        let answer = answers.find(|answer| answer != "ok").unwrap();
        assert!(answer.starts_with("unusable"), "{answer}");
        // A busy machine adds to it.
        assert!(removed.elapsed() < Duration::from_secs(10), "{:?}", removed.elapsed());
    }
}

#[tokio::test]
async fn a_store_can_be_opened_again_once_what_was_lost_is_closed() {
    for locks in BOTH {
        let place = Place::new(locks);
        let remove = || fs::remove_file(place.path("-wal")).unwrap();
        let mut one = lose(&place, remove, "-wal", "removed or renamed");
        assert_eq!(one.ask("reopen"), "ok");
        for call in ["read before", "create again", "verify"] {
            assert_eq!(one.ask(call), "ok", "{call}");
        }
        one.end();
        assert_eq!(place.stored().await, ["again", "before"]);
    }
}

#[tokio::test]
async fn a_store_that_was_lost_and_closed_stays_lost() {
    for locks in BOTH {
        let place = Place::new(locks);
        let mut one = place.process();
        assert_eq!(one.ask("create before"), "ok");
        fs::remove_file(&place.database).unwrap();
        // Closing is the first call that finds the loss, and returns no error.
        assert_eq!(one.ask("close"), "ok");
        let answer = one.ask("verify");
        assert!(answer.starts_with("unusable ") && answer.contains("removed or renamed"), "{answer}");
        one.end();
    }
}

#[tokio::test]
async fn a_link_that_leads_to_another_file_now_is_a_loss_too() {
    let place = Place::new(Locks::Description);
    let link = place.folder.path().join("link.db");
    std::os::unix::fs::symlink(&place.database, &link).unwrap();
    fs::File::create(&place.database).unwrap();
    let (mut one, opened) = Process::start(&link, Locks::Description);
    assert_eq!(opened, "ok");
    assert_eq!(one.ask("create before"), "ok");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(place.folder.path().join("other.db"), &link).unwrap();
    let answer = one.ask("create after");
    assert!(answer.starts_with(&format!("unusable {} ", link.display())), "{answer}");
    one.end();
    assert_eq!(place.stored().await, ["before"]);
}

#[tokio::test]
async fn a_store_in_memory_has_no_file_that_could_be_lost() {
    let store = SqlitePersistenceProvider::new(":memory:").await.unwrap();
    create(&store, "a").await.unwrap();
    store.verify().await.unwrap();
    assert!(store.news().next().now_or_never().is_none());
}
