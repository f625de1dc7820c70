//! Claims that find corrupt rows.

use std::collections::BTreeMap;

use serde_json::json;
use wfe_core::{
    clock::Clock,
    models::WorkflowStatus,
    traits::{Control, Fence, StepCommit, StepStore, WorkflowRepository},
};

use crate::support::{Place, commit, committed, definitions, instance, place_of};

/// Rows that cannot be claimed: the column and its value.
const UNCLAIMABLE: &[(&str, &str)] = &[
    ("owner", "-1"),
    ("owner", "-9223372036854775808"),
    ("fence", "-5"),
    ("fence", "9223372036854775807"),
    ("claims", "-1"),
    ("claims", "4294967296"),
    ("revision", "0"),
    ("revision", "9223372036854775807"),
    ("control_number", "-1"),
    ("control", "'Dancing'"),
    ("completions", "9223372036854775807"),
    ("id", "CAST(x'62ff' AS TEXT)"),
];

#[tokio::test]
async fn an_instance_that_cannot_be_claimed_is_suspended_by_the_claim_and_delays_no_other() {
    for (column, value) in UNCLAIMABLE {
        let mut place = Place::new().await;
        for id in ["a", "b", "c"] {
            place.store.create_new_workflow(&instance(id)).await.unwrap();
        }
        place.spoil(&format!("UPDATE workflows SET {column} = {value} WHERE seq = 2")).await;
        let owner = place.store.register().await.unwrap();
        assert_eq!(place.claim(&owner).await, ["a", "c"], "{column} = {value}");
        let (status, cause) = place.row(2).await;
        let cause = cause.unwrap();
        assert_eq!((&*status, &cause["code"]), ("Suspended", &json!("corrupt")), "{column} = {value}");
        let row = if *column == "id" { "b\u{fffd}" } else { "b" };
        let said = cause["error"]["message"].as_str().unwrap();
        assert!(said.contains(&format!("workflows.{column}, row {row},")), "{said}");
        let failures = place.store.failures(row, None, 9).await.unwrap().rows;
        assert_eq!((failures.len(), &*failures[0].failure.code), (1, "corrupt"));
        assert!(place.claim(&owner).await.is_empty(), "once");
        if *column == "id" {
            continue;
        }
        // The columns that only the engine uses allow ending or resuming it.
        place.store.request("b", Control::Resume).await.unwrap();
        assert_eq!(place.claim(&owner).await, ["b"], "{column} = {value}");
        let loaded = place.store.load("b").await.unwrap();
        let applied = loaded.control.map(|request| request.number);
        let ends = StepCommit { status: Some(WorkflowStatus::Terminated), applied, ..commit("b") };
        committed(&place.store, loaded.fence, ends).await;
    }
}

#[tokio::test]
async fn an_instance_that_is_acquired_and_cannot_be_is_suspended_too() {
    for (column, value) in UNCLAIMABLE.iter().filter(|(column, _)| *column != "id") {
        let mut place = Place::new().await;
        place.store.create_new_workflow(&instance("a")).await.unwrap();
        place.spoil(&format!("UPDATE workflows SET {column} = {value}")).await;
        let owner = place.store.register().await.unwrap();
        assert_eq!(place.store.acquire(&owner, &definitions(), "a", place.clock.now()).await.unwrap(), None);
        assert_eq!(place.row(1).await.0, "Suspended", "{column} = {value}");
    }
}

#[tokio::test]
async fn an_ended_instance_with_an_invalid_owner_is_not_changed() {
    let mut place = Place::new().await;
    place.store.create_new_workflow(&instance("a")).await.unwrap();
    place.spoil("UPDATE workflows SET owner = -1, status = 'Complete'").await;
    place.store.create_new_workflow(&instance("b")).await.unwrap();
    let owner = place.store.register().await.unwrap();
    assert_eq!(place.claim(&owner).await, ["b"]);
    assert_eq!(place.row(1).await, ("Complete".to_owned(), None));
}

#[tokio::test]
async fn the_instances_of_a_dead_owner_are_released_whatever_one_row_contains() {
    for (column, value) in [
        ("fence", i64::MAX),
        ("revision", i64::MAX),
        ("fence", i64::MIN),
        ("claims", -7),
        ("claims", 1 << 40),
        ("deaths_alone", -7),
        ("deaths_beside", i64::MIN),
    ] {
        let mut place = Place::new().await;
        let dead = place.store.register().await.unwrap();
        for id in ["a", "b", "c"] {
            place.store.start(Some(&dead), &instance(id)).await.unwrap();
        }
        let suspect = "claims = 2, isolation = 'Alone', isolation_fence = fence, deaths_at = revision";
        place.spoil(&format!("UPDATE workflows SET {suspect} WHERE id = 'b'")).await;
        place.spoil(&format!("UPDATE workflows SET {column} = {value} WHERE id = 'b'")).await;
        drop(dead);
        let owner = place.store.register().await.unwrap();
        let claimed = place.claim(&owner).await;
        assert!(claimed.contains(&"a".to_owned()) && claimed.contains(&"c".to_owned()), "{claimed:?}");
    }
}

#[tokio::test]
async fn the_progress_of_owners_is_summed_up_whatever_one_row_contains() {
    let mut place = Place::new().await;
    let busy = place.store.register().await.unwrap();
    for id in ["a", "b", "c"] {
        place.store.start(Some(&busy), &instance(id)).await.unwrap();
    }
    place.store.create_new_workflow(&instance("free")).await.unwrap();
    place.spoil("UPDATE workflows SET seq = 9223372036854775800 + seq WHERE owner IS NOT NULL").await;
    let owner = place.store.register().await.unwrap();
    assert_eq!(place.claim(&owner).await, ["free"]);
}

#[tokio::test]
async fn a_pending_resume_that_does_not_decode_suspends_its_instance_once() {
    let mut place = Place::new().await;
    place.store.create_new_workflow(&instance("a")).await.unwrap();
    place.store.request("a", Control::Suspend).await.unwrap();
    place.store.request("a", Control::Resume).await.unwrap();
    place.spoil("UPDATE workflows SET control_detail = control_number || ' {'").await;
    let owner = place.store.register().await.unwrap();
    assert!(place.claim(&owner).await.is_empty());
    assert_eq!(place.row(1).await.0, "Suspended");
    assert!(place.claim(&owner).await.is_empty());
    assert_eq!(place.store.failures("a", None, 9).await.unwrap().rows.len(), 1, "once");
}

#[tokio::test]
async fn an_instance_that_does_not_load_is_claimed_and_spoils_no_other() {
    let mut place = Place::new().await;
    for id in ["a", "b", "c"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
    }
    place.spoil("UPDATE workflows SET data = '{' WHERE id = 'b'").await;
    let owner = place.store.register().await.unwrap();
    let claimed = place.store.claim_loaded(&owner, &definitions(), place.clock.now(), 9).await.unwrap();
    let loads: BTreeMap<_, _> = claimed
        .into_iter()
        .map(|(claimed, loaded)| (claimed.id, loaded.map(|loaded| loaded.fence)))
        .collect();
    assert_eq!(loads.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    for (id, loaded) in loads {
        match &*id {
            "b" => assert_eq!(place_of(loaded), ("workflows", "data", "b".to_owned())),
            _ => assert_eq!(loaded.unwrap(), Fence(1)),
        }
    }
}

#[tokio::test]
async fn an_instance_that_does_not_load_is_acquired() {
    let mut place = Place::new().await;
    place.store.create_new_workflow(&instance("a")).await.unwrap();
    place.spoil("UPDATE workflows SET data = '{'").await;
    let owner = place.store.register().await.unwrap();
    let acquired = place.store.acquire_loaded(&owner, &definitions(), "a", place.clock.now()).await.unwrap();
    let (claimed, loaded) = acquired.unwrap();
    assert_eq!(claimed.fence, Fence(1));
    assert_eq!(place_of(loaded), ("workflows", "data", "a".to_owned()));
}

#[tokio::test]
async fn an_instance_that_cannot_be_acquired_is_suspended_only_by_a_caller_that_runs_its_definition() {
    for (column, value) in
        [("fence", "-5"), ("version", "-1"), ("workflow_definition_id", "CAST(x'ff' AS TEXT)")]
    {
        let mut place = Place::new().await;
        place.store.create_new_workflow(&instance("a")).await.unwrap();
        place.spoil(&format!("UPDATE workflows SET {column} = {value}")).await;
        let owner = place.store.register().await.unwrap();
        for definitions in [&[("other".to_owned(), 1)][..], &[]] {
            let acquired = place.store.acquire(&owner, definitions, "a", place.clock.now()).await;
            assert_eq!(acquired.unwrap(), None, "{column}");
        }
        assert_eq!(place.row(1).await.0, "Runnable", "{column}");
    }
}

#[tokio::test]
async fn a_request_to_end_takes_effect_on_an_instance_that_cannot_be_acquired() {
    let mut place = Place::new().await;
    place.store.create_new_workflow(&instance("a")).await.unwrap();
    place.store.request("a", Control::Terminate).await.unwrap();
    place.spoil("UPDATE workflows SET fence = -5").await;
    let owner = place.store.register().await.unwrap();
    let acquired = place.store.acquire(&owner, &definitions(), "a", place.clock.now()).await.unwrap();
    assert_eq!(acquired.unwrap().id, "a");
    assert_eq!(place.row(1).await.0, "Suspended", "as the claim of it leaves it");
    assert_eq!(place.store.load("a").await.unwrap().control.unwrap().control, Control::Terminate);
}
