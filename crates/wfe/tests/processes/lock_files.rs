//! Lock files of living hosts that somebody removes: the hosts go on, and so does what they run.

use std::{fs, io::ErrorKind, path::PathBuf, time::Duration};

use wfe::{
    Outcome, WorkflowHost,
    models::WorkflowStatus,
    traits::{StepStore, WorkflowRepository},
};

use crate::worker::{Done, Place, Worker, holding, until};

const LEASE: Duration = Duration::from_secs(30);
const OFTEN: Duration = Duration::from_millis(50);
/// A machine that is busy at a bad moment may cost a body that runs twice: the best of so many counts.
const ATTEMPTS: usize = 3;
const INSTANCES: usize = 20;

/// The lock files of the hosts. An empty one is still being made: if it is removed, nothing is lost, and it is made again.
fn signs(place: &Place) -> Vec<PathBuf> {
    let all = fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().path());
    let signs = all.filter(|path| path.to_string_lossy().contains("-owner-"));
    // One that has gone meanwhile is none, either.
    signs.filter(|path| fs::metadata(path).is_ok_and(|found| found.len() > 0)).collect()
}

fn remove(signs: &[PathBuf]) {
    for sign in signs {
        match fs::remove_file(sign) {
            // Its host has ended what it ran under that name.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.unwrap(),
        }
    }
}

/// Waits until both hosts have noticed, and have registered anew, beside what they put back for what they still run.
fn until_noticed(place: &Place, removed: &[PathBuf]) {
    until(|| signs(place).iter().filter(|sign| !removed.contains(sign)).count() >= 2);
}

async fn end_well(place: &Place, workers: [Worker; 2], ids: &[String]) {
    place.let_go("one");
    place.let_go("other");
    let [mut one, other] = workers;
    for id in ids {
        assert!(["one", "other"].contains(&one.ask(&format!("wait {id}")).as_str()), "{id}");
    }
    one.stop();
    other.stop();
    let provider = place.provider().await;
    for id in ids {
        assert_eq!(provider.get_workflow_instance(id).await.unwrap().status, WorkflowStatus::Complete);
        assert!(provider.failures(id, None, 9).await.unwrap().rows.is_empty());
    }
    assert_eq!(signs(place), Vec::<PathBuf>::new(), "each host removes its own");
}

fn two(place: &Place) -> ([Worker; 2], Vec<String>) {
    let mut workers = [place.worker("one", LEASE, OFTEN), place.worker("other", LEASE, OFTEN)];
    let ids = (0..INSTANCES).map(|number| workers[number % 2].start("hold")).collect();
    until(|| place.begun().len() == INSTANCES);
    (workers, ids)
}

#[tokio::test]
async fn hosts_that_lose_their_lock_files_go_on_with_what_they_run() {
    for attempt in 1..=ATTEMPTS {
        let place = Place::new();
        let (workers, ids) = two(&place);
        let removed = signs(&place);
        assert_eq!(removed.len(), 2);
        remove(&removed);
        until_noticed(&place, &removed);
        end_well(&place, workers, &ids).await;
        let begun = place.begun().len();
        assert!(
            begun <= 2 * INSTANCES,
            "{begun}: once more for each time that the files were removed, at most"
        );
        if begun == INSTANCES {
            return;
        }
        assert!(attempt < ATTEMPTS, "{begun} bodies for {INSTANCES} instances");
    }
}

#[tokio::test]
async fn hosts_whose_lock_files_are_removed_again_and_again_end_no_instance_as_poison() {
    // More than the deaths after which an instance is taken for the culprit.
    const TIMES: usize = 12;
    let place = Place::new();
    let (workers, ids) = two(&place);
    for _ in 0..TIMES {
        let removed = signs(&place);
        remove(&removed);
        until_noticed(&place, &removed);
    }
    end_well(&place, workers, &ids).await;
    let begun = place.begun().len();
    assert!(begun <= (1 + TIMES) * INSTANCES, "{begun}");
}

/// Between the loss and the next look of the host, too.
#[tokio::test]
async fn an_instance_that_is_started_on_a_host_without_a_lock_file_runs_once() {
    let place = Place::new();
    place.let_go("here");
    let host = WorkflowHost::builder(place.provider().await).poll_interval(LEASE).build();
    host.register(holding("hold", place.0.path().to_owned(), "here", None)).unwrap();
    host.start().await.unwrap();
    for round in 1..=5 {
        remove(&signs(&place));
        let id = host.start_workflow("hold", &Done::default()).await.unwrap();
        let Outcome::Completed(done) = host.outcome::<Done>(&id).await.unwrap() else { panic!("{id}") };
        assert_eq!((done.by, place.begun().len()), (vec!["here".to_owned()], round));
    }
    host.stop().await.unwrap();
    drop(host);
    assert_eq!(signs(&place), Vec::<PathBuf>::new());
}
