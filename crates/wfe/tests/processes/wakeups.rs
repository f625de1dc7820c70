use std::time::{Duration, Instant};

use wfe::{
    Outcome, WorkflowHost,
    clock::{Clock, SystemClock},
    traits::{StepStore, WorkflowRepository},
};

use crate::worker::{Done, Place, holding, until};

/// Nothing here may depend on polls.
const RARELY: Duration = Duration::from_hours(1);
const LEASE: Duration = Duration::from_secs(30);
/// In well under this, work that another process stored begins.
const SOON: Duration = Duration::from_millis(100);
/// Measured so often; a busy machine may hold up some.
const TIMES: usize = 20;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_start_of_one_process_begins_soon_in_another_one_and_its_end_is_heard_as_soon() {
    let place = Place::new();
    let worker = place.worker("worker", LEASE, RARELY);
    place.let_go("worker");
    // It only stores: it is never started.
    let client = WorkflowHost::builder(place.provider().await).build();
    client.register(holding("hold", place.0.path().to_owned(), "client", None)).unwrap();
    // This one runs, but knows no definition: it waits for what others do.
    let watcher = WorkflowHost::builder(place.provider().await).poll_interval(RARELY).build();
    watcher.start().await.unwrap();
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    for n in 1..=TIMES {
        let id = client.start_workflow("hold", &Done::default()).await.unwrap();
        let stored = Instant::now();
        until(|| place.begun_by("worker") == n);
        begins.push(stored.elapsed());
        let ended = watcher.wait_for::<Done>(&id).await.unwrap();
        assert_eq!(ended, Outcome::Completed(Done { by: vec!["worker".to_owned()] }));
        ends.push(stored.elapsed());
    }
    let (begins, ends) = (median(begins), median(ends));
    assert!(begins < SOON / 2, "{begins:?}");
    assert!(ends < SOON, "{ends:?}");
    println!("begun {begins:?} and the end heard {ends:?} after it was stored");
    watcher.stop().await.unwrap();
    worker.stop();
}

#[tokio::test]
async fn a_request_of_one_process_reaches_an_instance_that_is_busy_in_another_one_soon() {
    let place = Place::new();
    let mut worker = place.worker("worker", LEASE, RARELY);
    let client = WorkflowHost::builder(place.provider().await).poll_interval(RARELY).build();
    client.start().await.unwrap();
    let mut took = Vec::new();
    for n in 1..=TIMES {
        let id = worker.start("hold");
        until(|| place.begun_by("worker") == n);
        let asked = Instant::now();
        client.terminate(&id).await.unwrap();
        assert_eq!(client.wait_for::<Done>(&id).await.unwrap(), Outcome::Terminated);
        took.push(asked.elapsed());
    }
    let took = median(took);
    assert!(took < SOON, "{took:?}");
    client.stop().await.unwrap();
    worker.stop();
}

/// One process puts an instance to sleep and is killed. Another one, which never had to do with it, fires its timer.
#[tokio::test]
async fn a_timer_of_a_process_that_was_killed_fires_on_time_in_another_one() {
    let (mut late, mut seen) = (Duration::MAX, 0);
    while seen < 3 {
        let place = Place::new();
        let other = place.worker("other", LEASE, RARELY);
        place.let_go("other");
        let mut one = place.worker("one", LEASE, RARELY);
        // Only now: both claim what is due.
        let id = one.start("pause");
        let provider = place.provider().await;
        let mut due = None;
        while due.is_none() && place.begun().len() < 2 {
            let loaded = provider.load(&id).await.unwrap();
            due = loaded.instance.next_execution.filter(|due| loaded.owner.is_none() && *due > 0);
        }
        one.kill();
        let Some(due) = due else {
            // It was claimed ahead before anybody could see it without an owner.
            other.stop();
            continue;
        };
        seen += 1;
        until(|| place.begun_by("other") == 1);
        let now = SystemClock.now().timestamp_millis();
        late = late.min(Duration::from_millis((now - due).unsigned_abs()));
        assert!(now >= due);
        until(|| place.begun().len() == 2);
        other.stop();
        let instance = provider.get_workflow_instance(&id).await.unwrap();
        assert_eq!(serde_json::from_value::<Done>(instance.data).unwrap().by, ["other"]);
        if late < SOON {
            return;
        }
    }
    panic!("{late:?} late");
}
