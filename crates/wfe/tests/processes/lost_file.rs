//! Hosts whose database is copied by their own program, or taken away.

use std::{fs, time::Duration};

use wfe::{models::WorkflowStatus, traits::WorkflowRepository};

use crate::worker::{Place, until};

const POLL: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_hosts_report_as_completed_is_stored_though_their_program_copies_the_database() {
    const ROUNDS: usize = 8;
    let place = Place::new();
    let mut workers = [place.worker("one", LEASE, POLL), place.worker("other", LEASE, POLL)];
    place.let_go("one");
    place.let_go("other");
    let mut completed = Vec::new();
    for _ in 0..ROUNDS {
        for worker in &mut workers {
            let id = worker.start("hold");
            for suffix in ["", "-wal"] {
                assert_eq!(worker.ask(&format!("copy {suffix}")), "copied");
            }
            // Somebody else opens the file and closes it.
            place.provider().await.close().await;
            let end = worker.ask(&format!("wait {id}"));
            assert!(["one", "other"].contains(&&*end), "{end}");
            completed.push(id);
        }
    }
    // One is killed, so that nothing but what is in the file tells; the other one ends gracefully.
    let [mut one, other] = workers;
    one.kill();
    other.stop();
    let instances = place.provider().await.get_workflow_instances(&completed).await.unwrap();
    assert_eq!(instances.len(), 2 * ROUNDS);
    assert!(instances.iter().all(|instance| instance.status == WorkflowStatus::Complete));
}

#[tokio::test]
async fn a_host_whose_database_was_removed_ends_and_no_other_one_begins_its_work_anew_meanwhile() {
    let place = Place::new();
    let database = place.0.path().join("state.db");
    let mut one = place.worker("one", LEASE, POLL);
    let id = one.start("hold");
    until(|| place.begun_by("one") == 1);
    fs::remove_file(&database).unwrap();
    let (_, said) = place.worker_that_says("other", LEASE, POLL);
    assert!(said.starts_with("error") && said.contains("removed while a process"), "{said}");
    let expected = format!("error cannot use {}: it was removed or renamed", database.display());
    for call in [format!("wait {id}"), "start hold".to_owned(), "stop".to_owned()] {
        let said = one.ask(&call);
        assert!(said.starts_with(&expected), "{call}: {said}");
    }
    assert_eq!(place.begun(), [("one".to_owned(), id)]);
    assert!(!database.exists());
    drop(one);
    place.worker("other", LEASE, POLL).stop();
}

#[tokio::test]
async fn hosts_whose_log_was_cut_short_acknowledge_nothing_more() {
    let place = Place::new();
    let mut workers = [place.worker("one", LEASE, POLL), place.worker("other", LEASE, POLL)];
    place.let_go("one");
    place.let_go("other");
    for worker in &mut workers {
        let id = worker.start("hold");
        worker.ask(&format!("wait {id}"));
    }
    let log = place.0.path().join("state.db-wal");
    fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    let expected = format!("error cannot use {}: it was emptied or cut short", log.display());
    for worker in &mut workers {
        for call in ["start hold", "stop"] {
            let said = worker.ask(call);
            assert!(said.starts_with(&expected), "{call}: {said}");
        }
    }
}

#[tokio::test]
async fn what_hosts_have_acknowledged_is_written_back_where_only_the_log_was_removed() {
    let place = Place::new();
    let mut workers = [place.worker("one", LEASE, POLL), place.worker("other", LEASE, POLL)];
    place.let_go("one");
    place.let_go("other");
    let mut ids = Vec::new();
    for worker in &mut workers {
        let id = worker.start("hold");
        worker.ask(&format!("wait {id}"));
        ids.push(id);
    }
    let log = place.0.path().join("state.db-wal");
    fs::remove_file(&log).unwrap();
    for mut worker in workers {
        let said = worker.ask("stop");
        assert!(said.starts_with(&format!("error cannot use {}: it was removed", log.display())), "{said}");
        worker.ends();
    }
    let instances = place.provider().await.get_workflow_instances(&ids).await.unwrap();
    assert_eq!(instances.len(), 2);
    assert!(instances.iter().all(|instance| instance.status == WorkflowStatus::Complete));
}
