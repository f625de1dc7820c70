//! Rows that are gone, or cannot be.

use serde_json::json;
use wfe_core::{
    clock::Clock,
    models::WorkflowStatus,
    traits::{StepCommit, StepStore, SubscriptionRepository, WorkflowRepository},
};

use crate::support::{Place, commit, committed, definitions, instance, place_of, pointer, texts, wait};

#[tokio::test]
async fn an_instance_without_pointers_has_not_begun_unless_it_had_some() {
    let mut place = Place::new().await;
    let mut blank = instance("i");
    blank.execution_pointers.clear();
    place.store.create_new_workflow(&blank).await.unwrap();
    // Written again, claimed and given back: it has not begun by that.
    blank.data = json!(2);
    place.store.persist_workflow(&blank).await.unwrap();
    let owner = place.store.enlist().await.unwrap();
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
    // Who says by a plain write that it has none, lets it begin anew.
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
    let owner = place.store.enlist().await.unwrap();
    let started = place.store.start(Some(&owner), &instance("i")).await.unwrap();
    let created = vec![instance("child")];
    committed(&place.store, started.fence.unwrap(), StepCommit { created, ..commit("i") }).await;
    place.spoil("DELETE FROM execution_pointers").await;
    for id in ["i", "child"] {
        assert_eq!(place_of(place.store.load(id).await).2, id);
    }
}

#[tokio::test]
async fn a_wait_is_void_if_a_caller_closed_it_and_lost_if_nobody_did() {
    let mut place = Place::new().await;
    for id in ["i", "j"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
    }
    for id in ["closed", "terminated", "gone", "theirs", "older"] {
        place.store.create_event_subscription(&wait(id, "i", "paid")).await.unwrap();
    }
    place.store.terminate_subscription("terminated").await.unwrap();
    for spoils in [
        "UPDATE event_subscriptions SET is_open = 0 WHERE id = 'closed'",
        "DELETE FROM event_subscriptions WHERE id = 'gone'",
        "UPDATE event_subscriptions SET workflow_id = 'j' WHERE id = 'theirs'",
        // As version 3 has left it, which did not tell.
        "UPDATE event_subscriptions SET is_open = 0, terminated = NULL WHERE id = 'older'",
    ] {
        place.spoil(spoils).await;
    }
    let check = async |ids: &[&str]| place.store.check_closed_waits("i", &texts(ids)).await;
    check(&["terminated", "older"]).await.unwrap();
    for (id, column) in [("closed", "is_open"), ("gone", "id"), ("theirs", "workflow_id")] {
        let told = place_of(check(&["terminated", id]).await);
        assert_eq!(told, ("event_subscriptions", column, id.to_owned()));
    }
}
