use std::time::{Duration, Instant};

use wfe::{
    Outcome, WorkflowHost,
    clock::{Clock, SystemClock},
    traits::{StepStore, WorkflowRepository},
};

use crate::worker::{Done, PATIENCE, Place, holding, until};

/// Nothing here may depend on polls.
const RARELY: Duration = Duration::from_hours(1);
const LEASE: Duration = Duration::from_secs(30);
/// In well under this, work that another process stored begins.
const SOON: Duration = Duration::from_millis(100);
/// Measured so often in a round.
const TIMES: usize = 20;
/// A machine that is busy with other things may spoil a round, and another one is measured.
const ROUNDS: usize = 5;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_start_of_one_process_begins_soon_in_another_one_and_its_end_is_heard_as_soon() {
    let place = Place::new();
    let mut worker = place.worker("worker", LEASE, RARELY);
    place.let_go("worker");
    // It only stores: it is never started.
    let client = WorkflowHost::builder(place.provider().await).build();
    client.register(holding("hold", place.0.path().to_owned(), "client", None)).unwrap();
    // This one runs, but knows no definition: it waits for what others do.
    let watcher = WorkflowHost::builder(place.provider().await).poll_interval(RARELY).build();
    watcher.start().await.unwrap();
    let mut n = 0;
    let mut begun = |since: Instant| {
        n += 1;
        until(|| place.begun_by("worker") == n);
        since.elapsed()
    };
    for _ in 0..ROUNDS {
        let (mut begins, mut ends) = (Vec::new(), Vec::new());
        // The same where nobody has to hear of it from another process.
        let (mut own_begins, mut own_ends) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            let id = client.start_workflow("hold", &Done::default()).await.unwrap();
            let stored = Instant::now();
            begins.push(begun(stored));
            let ended = watcher.outcome::<Done>(&id).await.unwrap();
            assert_eq!(ended, Outcome::Completed(Done { by: vec!["worker".to_owned()] }));
            ends.push(stored.elapsed());
            let asked = Instant::now();
            worker.send("start hold");
            own_begins.push(begun(asked));
            let id = worker.answer();
            assert_eq!(worker.ask(&format!("wait {id}")), "worker");
            own_ends.push(asked.elapsed());
        }
        let (begins, ends) = (median(begins), median(ends));
        let (own_begins, own_ends) = (median(own_begins), median(own_ends));
        println!(
            "begun {begins:?} and the end heard {ends:?} after it was stored; alone: {own_begins:?}, {own_ends:?}"
        );
        if begins < own_begins + SOON / 2 && ends < own_ends + SOON {
            watcher.stop().await.unwrap();
            return worker.stop();
        }
    }
    panic!("it took longer {ROUNDS} times");
}

#[tokio::test]
async fn a_request_of_one_process_reaches_an_instance_that_is_busy_in_another_one_soon() {
    let place = Place::new();
    let mut worker = place.worker("worker", LEASE, RARELY);
    let client = WorkflowHost::builder(place.provider().await).poll_interval(RARELY).build();
    client.start().await.unwrap();
    let mut n = 0;
    for _ in 0..ROUNDS {
        // What a start takes that nobody has to hear of from another process: it is stored, and something begins.
        let (mut took, mut own) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            n += 1;
            let began = Instant::now();
            worker.send("start hold");
            until(|| place.begun_by("worker") == n);
            own.push(began.elapsed());
            let id = worker.answer();
            let asked = Instant::now();
            client.terminate(&id).await.unwrap();
            assert_eq!(client.outcome::<Done>(&id).await.unwrap(), Outcome::Terminated);
            took.push(asked.elapsed());
        }
        let (took, own) = (median(took), median(own));
        println!("ended {took:?} after it was asked for; a start alone: {own:?}");
        // The request is stored and begins in one process, and its end is stored and heard in the other one.
        if took < SOON + own * 2 {
            client.stop().await.unwrap();
            return worker.stop();
        }
    }
    panic!("it took longer {ROUNDS} times");
}

/// One process puts an instance to sleep and is killed. Another one, which never had to do with it, fires its timer.
#[tokio::test]
async fn a_timer_of_a_process_that_was_killed_fires_on_time_in_another_one() {
    // A machine that is busy with other things may spoil three of those that count, and some rounds in which nobody saw the
    // instance asleep.
    const COUNTED: usize = 3;
    const ROUNDS: usize = 10;
    let mut late = Vec::new();
    for _ in 0..ROUNDS {
        let place = Place::new();
        let other = place.worker("other", LEASE, RARELY);
        place.let_go("other");
        let mut one = place.worker("one", LEASE, RARELY);
        // Only now: both claim what is due.
        let id = one.start("pause");
        let provider = place.provider().await;
        let (mut due, began) = (None, Instant::now());
        while due.is_none() && place.begun().len() < 2 {
            assert!(began.elapsed() < PATIENCE, "it neither sleeps nor goes on");
            let loaded = provider.load(&id).await.unwrap();
            due = loaded.instance.next_execution.filter(|due| loaded.owner.is_none() && *due > 0);
        }
        one.kill();
        let Some(due) = due.filter(|_| place.begun_by("one") == 1) else {
            // It was claimed ahead before anybody could see it without an owner, or went on before the kill.
            other.stop();
            continue;
        };
        until(|| place.begun_by("other") == 1);
        let now = SystemClock.now().timestamp_millis();
        assert!(now >= due);
        until(|| place.begun().len() == 2);
        other.stop();
        let instance = provider.get_workflow_instance(&id).await.unwrap();
        assert_eq!(serde_json::from_value::<Done>(instance.data).unwrap().by, ["other"]);
        late.push(Duration::from_millis((now - due).unsigned_abs()));
        if late[late.len() - 1] < SOON {
            return;
        }
        if late.len() == COUNTED {
            break;
        }
    }
    panic!("late by {late:?}; a round in which it was not seen asleep does not count");
}
