use std::time::Duration;

use crate::worker::{Place, Worker};

/// The callers are notified of each other's commits, and do not wait for a poll.
const LEASE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(1);

#[test]
fn of_two_processes_that_retry_an_instance_one_does_and_the_step_runs_once_more() {
    let place = Place::new();
    let mut workers = [place.worker("one", LEASE, POLL), place.worker("other", LEASE, POLL)];
    let id = workers[0].start("fails");
    assert!(workers[1].ask(&format!("wait {id}")).starts_with("Failed"));
    std::fs::write(place.0.path().join("mended"), "").unwrap();
    for worker in &mut workers {
        worker.send(&format!("retry {id}"));
    }
    let mut answers: Vec<_> = workers.iter_mut().map(Worker::answer).collect();
    answers.sort();
    assert_eq!(answers[1], "retried");
    let refused = ["refused NotEnded", "refused Changed", "refused Completed"];
    assert!(refused.contains(&answers[0].as_str()), "{answers:?}");
    for worker in &mut workers {
        assert_eq!(worker.ask(&format!("wait {id}")), format!("{id}/fail#2"));
    }
    assert_eq!(place.begun_by("fails"), 2);
    workers.into_iter().for_each(Worker::stop);
}

#[test]
fn an_instance_that_is_retried_right_before_its_process_is_killed_goes_on_in_another_one() {
    let place = Place::new();
    let mut one = place.worker("one", LEASE, POLL);
    let id = one.start("fails");
    assert!(one.ask(&format!("wait {id}")).starts_with("Failed"));
    std::fs::write(place.0.path().join("mended"), "").unwrap();
    assert_eq!(one.ask(&format!("retry {id}")), "retried");
    one.kill();
    let mut other = place.worker("other", LEASE, POLL);
    assert_eq!(other.ask(&format!("wait {id}")), format!("{id}/fail#2"));
    other.stop();
}
