//! Corrupt rows that make writes fail.

use serde_json::json;
use sqlx::Executor;
use wfe_core::{
    WfeError,
    clock::Clock,
    models::PointerStatus,
    traits::{
        Committed, Consumed, Control, EventRepository, StepCommit, StepStore, SubscriptionRepository,
        WorkflowRepository,
    },
};

use crate::support::{
    Place, commit, committed, definitions, event, instance, place_of, pointer, texts, wait,
};

/// A commit that ends the pointer `p`.
fn ends(id: &str) -> StepCommit {
    let mut done = pointer("p");
    (done.active, done.status) = (false, PointerStatus::Complete);
    StepCommit { finished: vec![done], ..commit(id) }
}

#[tokio::test]
async fn a_commit_that_conflicts_with_a_stored_row_names_it_and_affects_no_other_commit_of_the_batch() {
    for (spoils, column) in [
        // A read finds nothing wrong yet.
        ("UPDATE execution_pointers SET item_values = '[1]' WHERE workflow = 1", "item_values"),
        (
            "INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, \
               event_published, retry_count, children, scope, extension_attributes, container) \
             VALUES (1, 'history', 1, 0, 'p', 0, 0, 'Complete', 0, 0, '[]', '[]', '{}', '')",
            "number",
        ),
    ] {
        let mut place = Place::new().await;
        let owner = place.store.register().await.unwrap();
        let mut fences = Vec::new();
        for id in ["a", "b", "c"] {
            fences.push(place.store.start(Some(&owner), &instance(id)).await.unwrap().fence.unwrap());
        }
        place.spoil(spoils).await;
        let commits = ["a", "b", "c"].map(ends);
        let (a, b, c) = tokio::join!(
            place.store.commit_step(fences[0], &commits[0]),
            place.store.commit_step(fences[1], &commits[1]),
            place.store.commit_step(fences[2], &commits[2]),
        );
        assert_eq!((b.unwrap(), c.unwrap()), (Committed::Done, Committed::Done));
        assert_eq!(place_of(a), ("execution_pointers", column, "p of a".to_owned()));
        // A commit that does not concern the row is stored.
        let keeps = StepCommit { data: Some(json!(2)), ..commit("a") };
        committed(&place.store, fences[0], keeps).await;
    }
}

#[tokio::test]
async fn consuming_an_event_after_a_missing_position_names_the_position() {
    let mut place = Place::new().await;
    let owner = place.store.register().await.unwrap();
    let fence = place.store.start(Some(&owner), &instance("a")).await.unwrap().fence.unwrap();
    for (id, at) in [("e1", 0), ("e2", 0)] {
        place.store.create_event(&event(id, at)).await.unwrap();
    }
    let takes = |wait: &str, event: &str| StepCommit {
        consumed: vec![Consumed { subscription_id: wait.to_owned(), event_id: event.to_owned() }],
        ..commit("a")
    };
    place.store.create_event_subscription(&wait("w1", "a", "paid")).await.unwrap();
    committed(&place.store, fence, takes("w1", "e1")).await;
    place.store.create_event_subscription(&wait("w2", "a", "paid")).await.unwrap();
    place.spoil("UPDATE event_subscriptions SET consumed = NULL WHERE kind = 'position'").await;
    let (table, column, row) = place_of(place.store.commit_step(fence, &takes("w2", "e2")).await);
    assert_eq!((table, column), ("event_subscriptions", "consumed"));
    row.parse::<i64>().expect("a position has no id: its row number");
}

#[tokio::test]
async fn a_request_to_an_instance_whose_requests_are_out_of_bounds_stops_only_that_instance() {
    let mut place = Place::new().await;
    let owner = place.store.register().await.unwrap();
    let fence = place.store.start(Some(&owner), &instance("parent")).await.unwrap().fence.unwrap();
    place.store.create_new_workflow(&instance("a")).await.unwrap();
    for number in ["4611686018427387904", "9223372036854775807"] {
        place.spoil(&format!("UPDATE workflows SET control_number = {number} WHERE id = 'a'")).await;
        let asks = StepCommit { requested: vec![("a".to_owned(), Control::Suspend)], ..commit("parent") };
        committed(&place.store, fence, asks).await;
        place.store.request("a", Control::Terminate).await.unwrap();
        let other = place.store.register().await.unwrap();
        // The instance is suspended, and claimed then: the request to end it is still pending.
        assert_eq!(place.claim(&other).await, ["a"]);
        let (status, cause) = place.row(2).await;
        let said = cause.unwrap()["error"]["message"].as_str().unwrap().to_owned();
        assert!(status == "Suspended" && said.contains("workflows.control_number, row a,"), "{said}");
        let loaded = place.store.load("a").await.unwrap();
        assert_eq!(loaded.control.map(|request| request.control), Some(Control::Terminate));
        place
            .spoil("UPDATE workflows SET owner = NULL, control = NULL, status = 'Runnable' WHERE id = 'a'")
            .await;
    }
}

#[tokio::test]
async fn no_instance_is_reported_for_a_row_that_all_share() {
    let mut place = Place::new().await;
    let owner = place.store.register().await.unwrap();
    let fence = place.store.start(Some(&owner), &instance("a")).await.unwrap().fence.unwrap();
    place.store.create_event(&event("e1", 0)).await.unwrap();
    // The position that the next event of its stream gets.
    place
        .spoil("UPDATE events SET position = 1 + (SELECT seq FROM sqlite_sequence WHERE name = 'events')")
        .await;
    let publishes = StepCommit { published: vec![event("e2", 0)], ..commit("a") };
    let failed = place.store.commit_step(fence, &publishes).await;
    assert!(matches!(failed, Err(WfeError::Storage { .. })), "{failed:?}");
}

/// Makes the database refuse this change, as a rule of the schema would.
async fn refuse(place: &mut Place, change: &str) {
    let trigger = format!("CREATE TRIGGER refuses BEFORE {change} BEGIN SELECT RAISE(ABORT, 'refused'); END");
    place.hand.execute(sqlx::AssertSqlSafe(trigger)).await.unwrap();
}

#[tokio::test]
async fn no_row_is_reported_as_corrupt_if_a_write_to_many_instances_fails() {
    let mut place = Place::new().await;
    let dead = place.store.register().await.unwrap();
    for id in ["a", "b"] {
        place.store.start(Some(&dead), &instance(id)).await.unwrap();
    }
    drop(dead);
    refuse(&mut place, "UPDATE OF owner ON workflows WHEN old.id = 'b'").await;
    let owner = place.store.register().await.unwrap();
    let claimed = place.store.claim(&owner, &definitions(), place.clock.now(), 9).await;
    assert!(matches!(claimed, Err(WfeError::Storage { .. })), "{claimed:?}");
    let acquired = place.store.acquire(&owner, &definitions(), "a", place.clock.now()).await;
    assert!(matches!(acquired, Err(WfeError::Storage { .. })), "{acquired:?}");
}

#[tokio::test]
async fn a_parent_is_not_reported_for_rows_of_its_child() {
    for change in [
        "INSERT ON execution_pointers WHEN new.workflow = (SELECT seq FROM workflows WHERE id = 'child')",
        "UPDATE OF owner ON workflows WHEN old.id = 'child'",
        "UPDATE OF control ON workflows WHEN old.id = 'child'",
    ] {
        let mut place = Place::new().await;
        let owner = place.store.register().await.unwrap();
        let fence = place.store.start(Some(&owner), &instance("parent")).await.unwrap().fence.unwrap();
        refuse(&mut place, change).await;
        let makes = StepCommit {
            created: vec![instance("child")],
            requested: vec![("child".to_owned(), Control::Cancel)],
            ..commit("parent")
        };
        let failed = place.store.commit_step(fence, &makes).await;
        assert!(matches!(failed, Err(WfeError::Storage { .. })), "{change}: {failed:?}");
        // A request to the child itself reports the child.
        if change.contains("control") {
            place.store.create_new_workflow(&instance("child")).await.unwrap();
            let told = place_of(place.store.request("child", Control::Cancel).await);
            assert_eq!(told, ("workflows", "*", "child".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_live_pointer_that_could_never_become_history_is_found_when_it_is_read() {
    for (spoils, column) in [("number = 3", "number"), ("item_values = '[]'", "item_values")] {
        let mut place = Place::new().await;
        for id in ["a", "b"] {
            place.store.create_new_workflow(&instance(id)).await.unwrap();
        }
        place.spoil(&format!("UPDATE execution_pointers SET {spoils} WHERE workflow = 1")).await;
        let told = ("execution_pointers", column, "p of a".to_owned());
        assert_eq!(place_of(place.store.load("a").await), told);
        for (id, one) in place.store.load_many(&texts(&["a", "b"])).await.unwrap() {
            if id == "a" { assert_eq!(place_of(one), told) } else { drop(one.unwrap()) }
        }
    }
}
