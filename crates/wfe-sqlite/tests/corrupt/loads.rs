//! What loads report, of one instance and of many.

use serde_json::json;
use wfe_core::{
    models::EventSubscription,
    traits::{EventRepository, StepStore, SubscriptionRepository, WorkflowRepository},
};

use crate::support::{Place, event, instance, place_of, texts, wait};

/// What makes the instance `b` unreadable, and the place that the error names.
const UNREADABLE: &[(&str, &str, &str, &str)] = &[
    ("UPDATE workflows SET data = '{' WHERE id = 'b'", "workflows", "data", "b"),
    ("UPDATE workflows SET version = 4294967296 WHERE id = 'b'", "workflows", "version", "b"),
    ("UPDATE workflows SET name = CAST(x'ff' AS TEXT) WHERE id = 'b'", "workflows", "name", "b"),
    ("UPDATE workflows SET fence = -1 WHERE id = 'b'", "workflows", "fence", "b"),
    ("UPDATE workflows SET owner = -1 WHERE id = 'b'", "workflows", "owner", "b"),
    ("UPDATE workflows SET cause = '{}' WHERE id = 'b'", "workflows", "cause", "b"),
    ("UPDATE workflows SET control = 'Dance' WHERE id = 'b'", "workflows", "control", "b"),
    (
        "UPDATE workflows SET control = 'Resume', control_number = 7, control_detail = '7 [' WHERE id = 'b'",
        "workflows",
        "control_detail",
        "b",
    ),
    ("UPDATE workflows SET attributes = '{\"a\": [1]}' WHERE id = 'b'", "workflows", "attributes", "b"),
    ("UPDATE workflows SET attributes = '[]' WHERE id = 'b'", "workflows", "attributes", "b"),
    (
        "UPDATE execution_pointers SET children = '[1]' WHERE workflow = 2",
        "execution_pointers",
        "children",
        "p of b",
    ),
    ("UPDATE execution_pointers SET scope = '' WHERE workflow = 2", "execution_pointers", "scope", "p of b"),
    (
        "UPDATE execution_pointers SET extension_attributes = '[]' WHERE workflow = 2",
        "execution_pointers",
        "extension_attributes",
        "p of b",
    ),
    (
        "UPDATE execution_pointers SET outcome = '\"' WHERE workflow = 2",
        "execution_pointers",
        "outcome",
        "p of b",
    ),
    (
        "UPDATE execution_pointers SET status = 'Dancing' WHERE workflow = 2",
        "execution_pointers",
        "status",
        "p of b",
    ),
    (
        "UPDATE execution_pointers SET retry_count = -1 WHERE workflow = 2",
        "execution_pointers",
        "retry_count",
        "p of b",
    ),
    ("DELETE FROM execution_pointers WHERE workflow = 2", "execution_pointers", "workflow", "b"),
    (
        "UPDATE event_subscriptions SET subscription_data = '{' WHERE workflow_id = 'b'",
        "event_subscriptions",
        "subscription_data",
        "wb",
    ),
    (
        "UPDATE event_subscriptions SET id = CAST(x'77ff' AS TEXT) WHERE workflow_id = 'b'",
        "event_subscriptions",
        "id",
        "w\u{fffd}",
    ),
];

#[tokio::test]
async fn an_instance_that_cannot_be_read_is_corrupt_for_its_callers_and_for_no_others() {
    for (spoils, table, column, row) in UNREADABLE {
        let mut place = Place::new().await;
        for id in ["a", "b", "c"] {
            place.store.create_new_workflow(&instance(id)).await.unwrap();
            let wait = EventSubscription {
                subscription_data: Some(json!(1)),
                ..wait(&format!("w{id}"), id, "paid")
            };
            place.store.create_event_subscription(&wait).await.unwrap();
        }
        place.store.create_event(&event("e", 0)).await.unwrap();
        place.spoil(spoils).await;
        let told = (*table, *column, (*row).to_owned());
        assert_eq!(place_of(place.store.load("b").await), told, "{spoils}");
        let mut many = place.store.load_many(&texts(&["a", "b", "c", "d"])).await.unwrap();
        many.sort_by(|(one, _), (other, _)| one.cmp(other));
        let [(a, Ok(one)), (b, broken), (c, Ok(other))] = <[_; 3]>::try_from(many).unwrap() else {
            panic!("{spoils}")
        };
        assert_eq!([&*a, &*b, &*c], ["a", "b", "c"]);
        assert_eq!((one.waits.len(), one.deliveries.len(), other.waits.len()), (1, 1, 1));
        assert_eq!(place_of(broken), told, "{spoils}");
    }
}

#[tokio::test]
async fn an_event_that_does_not_decode_is_corrupt_for_the_instances_that_receive_it_and_for_no_other() {
    let mut place = Place::new().await;
    for id in ["a", "b"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
    }
    place.store.create_event_subscription(&wait("wa", "a", "paid")).await.unwrap();
    place.store.create_event_subscription(&wait("wb", "b", "sent")).await.unwrap();
    place.store.create_event(&event("e", 0)).await.unwrap();
    place.spoil("UPDATE events SET event_data = '[' WHERE id = 'e'").await;
    let told = ("events", "event_data", "e".to_owned());
    assert_eq!(place_of(place.store.load("a").await), told);
    let many = place.store.load_many(&texts(&["a", "b"])).await.unwrap();
    for (id, one) in many {
        if id == "a" {
            assert_eq!(place_of(one), told);
        } else {
            one.unwrap();
        }
    }
}
