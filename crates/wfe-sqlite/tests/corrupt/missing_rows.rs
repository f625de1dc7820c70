//! Rows that are missing, or impossible.

use serde_json::json;
use wfe_core::{
    clock::Clock,
    models::{Event, EventSubscription, WorkflowStatus},
    traits::{EventRepository, StepCommit, StepStore, SubscriptionRepository, WorkflowRepository},
};

use crate::support::{
    Place, commit, committed, definitions, event, instance, place_of, pointer, texts, wait,
};

#[tokio::test]
async fn an_instance_without_pointers_has_not_begun_unless_it_had_some() {
    let mut place = Place::new().await;
    let mut blank = instance("i");
    blank.execution_pointers.clear();
    place.store.create_new_workflow(&blank).await.unwrap();
    // Written again, claimed and released: that does not make it begin.
    blank.data = json!(2);
    place.store.persist_workflow(&blank).await.unwrap();
    let owner = place.store.register().await.unwrap();
    let claimed = place.store.claim(&owner, &definitions(), place.clock.now(), 9).await.unwrap();
    committed(&place.store, claimed[0].fence, StepCommit { release: true, ..commit("i") }).await;
    assert_eq!(place.store.load("i").await.unwrap().instance.execution_pointers, []);
    let claimed = place.store.claim(&owner, &definitions(), place.clock.now(), 9).await.unwrap();
    let begins = StepCommit { upserted: vec![pointer("p")], release: true, ..commit("i") };
    committed(&place.store, claimed[0].fence, begins).await;
    assert_eq!(place.store.load("i").await.unwrap().instance.execution_pointers.len(), 1);
    place.spoil("DELETE FROM execution_pointers").await;
    let lost = ("execution_pointers", "workflow", "i".to_owned());
    assert_eq!(place_of(place.store.load("i").await), lost);
    let (_, one) = place.store.load_many(&texts(&["i"])).await.unwrap().pop().unwrap();
    assert_eq!(place_of(one), lost);
    // A plain write without pointers lets it begin anew.
    place.store.persist_workflow(&blank).await.unwrap();
    assert_eq!(place.store.load("i").await.unwrap().instance.execution_pointers, []);
    blank.status = WorkflowStatus::Complete;
    place.store.persist_workflow(&blank).await.unwrap();
    place.spoil("UPDATE workflows SET begun = 1").await;
    place.store.load("i").await.expect("what has ended stands nowhere");
}

#[tokio::test]
async fn pointers_that_were_stored_by_a_start_or_for_a_child_are_missed_too() {
    let mut place = Place::new().await;
    let owner = place.store.register().await.unwrap();
    let started = place.store.start(Some(&owner), &instance("i")).await.unwrap();
    let created = vec![instance("child")];
    committed(&place.store, started.fence.unwrap(), StepCommit { created, ..commit("i") }).await;
    place.spoil("DELETE FROM execution_pointers").await;
    for id in ["i", "child"] {
        assert_eq!(place_of(place.store.load(id).await).2, id);
    }
}

#[tokio::test]
async fn a_wait_is_void_if_a_caller_closed_it_and_lost_if_no_caller_did() {
    let mut place = Place::new().await;
    for id in ["i", "j"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
    }
    for id in ["closed", "terminated", "gone", "theirs", "older", "ajar"] {
        place.store.create_event_subscription(&wait(id, "i", "paid")).await.unwrap();
    }
    place.store.terminate_subscription("terminated").await.unwrap();
    for spoils in [
        "UPDATE event_subscriptions SET is_open = 0 WHERE id = 'closed'",
        "DELETE FROM event_subscriptions WHERE id = 'gone'",
        "UPDATE event_subscriptions SET workflow_id = 'j' WHERE id = 'theirs'",
        "UPDATE event_subscriptions SET is_open = 7 WHERE id = 'ajar'",
        // The row of a version 3, which did not record that.
        "UPDATE event_subscriptions SET is_open = 0, terminated = NULL WHERE id = 'older'",
    ] {
        place.spoil(spoils).await;
    }
    let check = async |ids: &[&str]| place.store.check_closed_waits("i", &texts(ids)).await;
    check(&["terminated", "older"]).await.unwrap();
    for (id, column) in
        [("closed", "is_open"), ("ajar", "is_open"), ("gone", "id"), ("theirs", "workflow_id")]
    {
        let told = place_of(check(&["terminated", id]).await);
        assert_eq!(told, ("event_subscriptions", column, id.to_owned()));
    }
}

#[tokio::test]
async fn a_wait_whose_answer_is_no_stored_event_is_reported_by_each_load_of_its_instance() {
    let mut place = Place::new().await;
    for id in ["i", "j"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
        place.store.create_event_subscription(&wait(&format!("{id}-w"), id, "wfe.user-task")).await.unwrap();
    }
    place.spoil("UPDATE event_subscriptions SET answer = 'nosuch' WHERE id = 'i-w'").await;
    place.spoil("UPDATE event_subscriptions SET answer = '' WHERE id = 'j-w'").await;
    let told = ("event_subscriptions", "answer", "i-w".to_owned());
    assert_eq!(place_of(place.store.load("i").await), told);
    for (id, one) in place.store.load_many(&texts(&["i", "j"])).await.unwrap() {
        // A wait that takes no answer has none.
        if id == "i" { assert_eq!(place_of(one), told) } else { drop(one.unwrap()) }
    }
    place.store.create_event(&Event { id: "nosuch".to_owned(), ..event("", 0) }).await.unwrap();
    place.store.load("i").await.unwrap();
}

#[tokio::test]
async fn a_wait_for_a_missing_child_or_another_instances_child_is_reported_unless_the_child_has_ended() {
    for (spoils, column) in [
        ("DELETE FROM workflows WHERE id = 'kid'", "id"),
        ("UPDATE workflows SET parent = NULL WHERE id = 'kid'", "parent"),
        ("UPDATE workflows SET parent = 'j' WHERE id = 'kid'", "parent"),
    ] {
        let mut place = Place::new().await;
        let owner = place.store.register().await.unwrap();
        let fence = place.store.start(Some(&owner), &instance("i")).await.unwrap().fence.unwrap();
        let asks = EventSubscription { event_key: "kid".to_owned(), ..wait("w", "i", "wfe.child-ended") };
        let begins = StepCommit { created: vec![instance("kid")], subscribed: vec![asks], ..commit("i") };
        committed(&place.store, fence, begins).await;
        place.store.load("i").await.unwrap();
        place.spoil(spoils).await;
        let told = ("workflows", column, "kid".to_owned());
        assert_eq!(place_of(place.store.load("i").await), told);
        let (_, one) = place.store.load_many(&texts(&["i"])).await.unwrap().pop().unwrap();
        assert_eq!(place_of(one), told);
        let ended = Event::new("wfe.child-ended", "kid", serde_json::json!(1));
        place.store.create_event(&Event { event_time: chrono::DateTime::UNIX_EPOCH, ..ended }).await.unwrap();
        place.store.load("i").await.expect("it has ended");
    }
}
