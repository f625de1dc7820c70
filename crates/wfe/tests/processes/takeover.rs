use std::time::{Duration, Instant};

use wfe::{
    WorkflowHost,
    models::{PointerStatus, WorkflowStatus},
    traits::{StepStore, WorkflowRepository},
};

use crate::worker::{Done, Place, until};

/// What a host has without being told.
const POLL: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(30);
/// A lease that a test can outlast, and a poll that fits it.
const SHORT: Duration = Duration::from_secs(2);
const OFTEN: Duration = Duration::from_millis(50);
/// A busy machine may hold up a measured time: the best of so many counts.
const ATTEMPTS: usize = 3;

async fn done(place: &Place, id: &str) -> Done {
    let instance = place.provider().await.get_workflow_instance(id).await.unwrap();
    assert_eq!(instance.status, WorkflowStatus::Complete);
    serde_json::from_value(instance.data).unwrap()
}

#[tokio::test]
async fn work_of_a_killed_process_is_resumed_by_another_one_within_two_seconds() {
    const INSTANCES: usize = 20;
    let mut took = Duration::MAX;
    for _ in 0..ATTEMPTS {
        let place = Place::new();
        let mut one = place.worker("one", LEASE, POLL);
        let ids: Vec<_> = (0..INSTANCES).map(|_| one.start("hold")).collect();
        until(|| place.begun_by("one") == INSTANCES);
        let other = place.worker("other", LEASE, POLL);
        place.let_go("other");
        one.kill();
        took = took.min(until(|| place.begun_by("other") == INSTANCES));
        other.stop();
        for id in &ids {
            assert_eq!(done(&place, id).await.by, ["other"]);
        }
        assert_eq!(place.begun().len(), 2 * INSTANCES);
        if took < Duration::from_secs(2) {
            return;
        }
    }
    panic!("it took {took:?}");
}

/// A third process publishes, whether anybody runs or not.
#[tokio::test]
async fn waits_of_a_killed_process_get_each_event_of_another_one_once_and_in_order() {
    const INSTANCES: usize = 20;
    let place = Place::new();
    let publisher = WorkflowHost::builder(place.provider().await).build();
    let say = async |word: &str| publisher.publish_event("word", "k", word).await.unwrap();
    let words = async |id: &String| {
        let instance = place.provider().await.get_workflow_instance(id).await.unwrap();
        serde_json::from_value::<Done>(instance.data).unwrap().by
    };
    let mut one = place.worker("one", LEASE, POLL);
    let ids: Vec<_> = (0..INSTANCES).map(|_| one.start("listen")).collect();
    say("first").await;
    let began = Instant::now();
    // Killed while others may still be taking it.
    while words(&ids[0]).await.is_empty() {
        assert!(began.elapsed() < LEASE, "the event did not arrive");
    }
    say("second").await;
    one.kill();
    say("third").await;
    let mut other = place.worker("other", LEASE, POLL);
    for id in &ids {
        assert_eq!(other.ask(&format!("wait {id}")), "first,second,third");
    }
    other.stop();
}

#[tokio::test]
async fn work_of_a_frozen_process_goes_to_another_one_after_its_lease_and_what_it_did_is_void() {
    let mut took = Duration::MAX;
    for _ in 0..ATTEMPTS {
        took = took.min(taken_over_from_frozen().await);
        if took < SHORT * 3 / 2 {
            return;
        }
    }
    panic!("it took {took:?}");
}

/// How long it took.
async fn taken_over_from_frozen() -> Duration {
    let place = Place::new();
    let mut one = place.worker("one", SHORT, OFTEN);
    let id = one.start("hold");
    until(|| place.begun_by("one") == 1);
    let mut other = place.worker("other", SHORT, OFTEN);
    place.let_go("other");
    one.freeze();
    let frozen = Instant::now();
    until(|| place.begun_by("other") == 1);
    let took = frozen.elapsed();
    assert!(took > 2 * SHORT / 3, "{took:?}: a sign of life may be as old as a third of the lease");
    assert_eq!(other.ask(&format!("wait {id}")), "other");
    // It wakes up, finishes the body it was in, and is told that this was for nothing.
    one.go_on();
    place.let_go("one");
    assert_eq!(one.ask(&format!("wait {id}")), "other");
    // And it is as good a worker as before.
    let own = one.start("only-one");
    assert_eq!(one.ask(&format!("wait {own}")), "one");
    one.stop();
    other.stop();
    assert_eq!(done(&place, &id).await.by, ["other"]);
    assert_eq!(place.begun().len(), 3);
    took
}

#[tokio::test]
async fn a_step_that_takes_longer_than_the_lease_stays_with_its_process() {
    let place = Place::new();
    let mut one = place.worker("one", SHORT / 2, OFTEN);
    let other = place.worker("other", SHORT / 2, OFTEN);
    place.let_go("other");
    let id = one.start("hold");
    // Two leases of nothing but heartbeats, which come each sixth of one.
    until(|| place.heartbeats().into_iter().max() >= Some(12));
    place.let_go("one");
    assert_eq!(one.ask(&format!("wait {id}")), "one");
    assert_eq!(place.begun(), [("one".to_owned(), id)]);
    other.stop();
    one.stop();
}

/// Quick steps need no heartbeats: their commits show that the process lives. Neither does an idle process.
#[tokio::test]
async fn nothing_is_written_for_heartbeats_while_steps_are_quick() {
    let place = Place::new();
    let mut one = place.worker("one", SHORT / 2, OFTEN);
    place.let_go("one");
    // Somebody looks, and must not take one quick instance after the other for one that stands still.
    let other = place.worker("other", SHORT / 2, OFTEN);
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < 2 * SHORT {
        let round = Instant::now();
        let id = one.start("hold");
        assert_eq!(one.ask(&format!("wait {id}")), "one");
        longest = longest.max(round.elapsed());
    }
    // On a machine so busy that a step took a third of the lease, heartbeats are right.
    assert!(place.heartbeats() == [0, 0] || longest > SHORT / 6, "{longest:?}, {:?}", place.heartbeats());
    assert_eq!(place.begun_by("other"), 0);
    other.stop();
    std::fs::remove_file(place.0.path().join("go-one")).unwrap();
    let id = one.start("hold");
    let before = place.heartbeats();
    until(|| place.heartbeats() != before);
    place.let_go("one");
    assert_eq!(one.ask(&format!("wait {id}")), "one");
    one.stop();
}

#[tokio::test]
async fn a_host_takes_only_instances_whose_definition_it_knows() {
    let place = Place::new();
    let mut one = place.worker("one", LEASE, OFTEN);
    let other = place.worker("other", LEASE, OFTEN);
    place.let_go("other");
    let id = one.start("only-one");
    until(|| place.begun_by("one") == 1);
    one.kill();
    // The other one leaves it to whoever knows it.
    place.let_go("one");
    let mut again = place.worker("one", LEASE, OFTEN);
    assert_eq!(again.ask(&format!("wait {id}")), "one");
    again.stop();
    other.stop();
    assert_eq!(place.begun_by("other"), 0);
}

/// It does no more than stop its host: that closes nothing by itself.
#[tokio::test]
async fn a_process_that_stops_its_host_and_ends_leaves_nothing_but_the_database() {
    let place = Place::new();
    place.let_go("one");
    for _ in 0..5 {
        let mut one = place.worker("one", LEASE, POLL);
        let id = one.start("hold");
        assert_eq!(one.ask(&format!("wait {id}")), "one");
        one.stop();
        let mut left: Vec<_> =
            std::fs::read_dir(place.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["go-one", "log", "state.db"]);
    }
}

/// Tries until a process was frozen in the moment that is meant.
async fn until_frozen_in_time(attempt: impl AsyncFn() -> bool) {
    for _ in 0..ATTEMPTS {
        if attempt().await {
            return;
        }
    }
    panic!("it was never frozen in time");
}

/// Between its sleep and its next attempt an instance comes to no commit, which would tell that it was taken over.
#[tokio::test]
async fn a_process_that_was_frozen_with_what_it_claimed_ahead_does_not_begin_it() {
    until_frozen_in_time(frozen_ahead).await;
}

/// `false`: it was frozen too late.
async fn frozen_ahead() -> bool {
    let place = Place::new();
    let mut one = place.worker("one", SHORT, OFTEN);
    let provider = place.provider().await;
    let id = one.start("pause");
    place.let_go("one");
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < LEASE, "it was not claimed ahead");
        let loaded = provider.load(&id).await.unwrap();
        let sleeps = loaded.instance.execution_pointers[0].status == PointerStatus::Sleeping;
        if (sleeps && loaded.owner.is_some()) || place.begun().len() > 1 {
            break;
        }
    }
    one.freeze();
    if place.begun().len() > 1 {
        one.go_on();
        one.stop();
        return false;
    }
    let mut other = place.worker("other", SHORT, OFTEN);
    place.let_go("other");
    assert_eq!(other.ask(&format!("wait {id}")), "other");
    one.go_on();
    // It has gone on with what it held by then.
    let own = one.start("only-one");
    assert_eq!(one.ask(&format!("wait {own}")), "one");
    assert_eq!(place.begun().iter().filter(|(_, of)| *of == id).count(), 2);
    one.stop();
    other.stop();
    true
}

/// While one branch runs, the pause of another one ends without a commit, which would tell that it was taken over.
#[tokio::test]
async fn a_process_that_was_frozen_in_the_pause_of_a_branch_does_not_go_on_with_it() {
    until_frozen_in_time(frozen_in_a_pause).await;
}

/// `false`: it was frozen too late.
async fn frozen_in_a_pause() -> bool {
    let place = Place::new();
    let mut one = place.worker("one", SHORT, OFTEN);
    let id = one.start("branches");
    let provider = place.provider().await;
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < LEASE, "no branch pauses");
        let loaded = provider.load(&id).await.unwrap();
        let pointers = loaded.instance.execution_pointers;
        if pointers.iter().any(|pointer| pointer.status == PointerStatus::Sleeping)
            && place.begun_by("one") == 2
        {
            break;
        }
    }
    one.freeze();
    if place.begun_by("one") != 2 {
        one.go_on();
        place.let_go("one");
        one.stop();
        return false;
    }
    let mut other = place.worker("other", SHORT, OFTEN);
    place.let_go("other");
    assert_eq!(other.ask(&format!("wait {id}")), "other");
    one.go_on();
    until(|| place.begun_by("told-one") == 1);
    assert_eq!((place.begun_by("one"), place.begun_by("other")), (2, 2));
    place.let_go("one");
    one.stop();
    other.stop();
    true
}

/// Nor does a commit come between its wait for a place and its begin.
#[tokio::test]
async fn a_process_that_was_frozen_with_a_body_that_waited_for_a_place_does_not_begin_it() {
    let place = Place::new();
    let mut one = place.worker("one", SHORT, OFTEN);
    let begins = one.start("queue");
    until(|| place.begun_by("one") == 1);
    let waits = one.start("queue");
    until(|| one.ask(&format!("stands {waits}")) == "[Slot]");
    one.freeze();
    let mut other = place.worker("other", SHORT, OFTEN);
    place.let_go("other");
    for id in [&begins, &waits] {
        assert_eq!(other.ask(&format!("wait {id}")), "other");
    }
    one.go_on();
    // The first one ends, and its place is free.
    place.let_go("one");
    assert_eq!(one.ask(&format!("wait {begins}")), "other");
    let own = one.start("queue");
    assert_eq!(one.ask(&format!("wait {own}")), "one");
    let by = |id: &String| place.begun().into_iter().filter(|(_, of)| of == id).map(|(by, _)| by).collect();
    let (begins, waits): (Vec<_>, Vec<_>) = (by(&begins), by(&waits));
    assert_eq!((begins.len(), waits), (2, vec!["other".to_owned()]));
    one.stop();
    other.stop();
}
