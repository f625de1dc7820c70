//! Waits and events that were changed so that no query would ever find them.

use wfe_core::{
    Result,
    clock::Clock,
    models::EventSubscription,
    traits::{EventRepository, StepStore, SubscriptionRepository, WorkflowRepository},
};

use crate::support::{Place, event, instance, place_of, texts, wait};

const GIVEN_OUT: &str = "(SELECT seq FROM sqlite_sequence WHERE name = 'events')";

/// The instance `a` is read alone and with others; the row stops only this instance.
async fn is_reported_for_a_alone(place: &Place, column: &'static str, row: &str) {
    let told = ("event_subscriptions", column, row.to_owned());
    assert_eq!(place_of(place.store.load("a").await), told);
    assert_eq!(place_of(place.store.inspect("a").await), told);
    for (id, one) in place.store.load_many(&texts(&["a", "b"])).await.unwrap() {
        if id == "a" {
            assert_eq!(place_of(one), told);
        } else {
            one.unwrap();
        }
    }
}

#[tokio::test]
async fn an_open_wait_of_an_unknown_kind_is_reported_and_cannot_be_claimed() {
    for kind in ["position", "5", ""] {
        let mut place = Place::new().await;
        for id in ["a", "b"] {
            place.store.create_new_workflow(&instance(id)).await.unwrap();
            let wait = wait(&format!("w{id}"), id, "wfe.x");
            place.store.create_event_subscription(&wait).await.unwrap();
        }
        place.spoil(&format!("UPDATE event_subscriptions SET kind = '{kind}' WHERE id = 'wa'")).await;
        let (store, now) = (&place.store, place.clock.now());
        let names = |waits: Vec<EventSubscription>| waits.into_iter().map(|wait| wait.id).collect::<Vec<_>>();
        assert_eq!(names(store.get_subscriptions("wfe.x", "k", now).await.unwrap()), ["wb"], "{kind:?}");
        assert_eq!(store.get_first_open_subscription("wfe.x", "k", now).await.unwrap().unwrap().id, "wb");
        assert_eq!(names(store.open_waits("wfe.x", None, 9).await.unwrap().rows), ["wb"]);
        let told = ("event_subscriptions", "kind", "wa".to_owned());
        assert_eq!(place_of(store.get_subscription("wa").await), told);
        is_reported_for_a_alone(&place, "kind", "wa").await;
        let expiry = now + chrono::TimeDelta::hours(1);
        assert_eq!(store.claim_wait("wfe.x", "t", "w", expiry).await.unwrap().unwrap().id, "wb");
        assert_eq!(store.claim_wait("wfe.x", "t", "w", expiry).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_wait_with_a_start_position_after_all_positions_is_reported() {
    for (is_mended, born) in [(false, "1 + "), (false, "1000000 + "), (false, "-1 - "), (true, "")] {
        let mut place = Place::new().await;
        for id in ["a", "b"] {
            place.store.create_event(&event(&format!("e{id}"), 0)).await.unwrap();
            place.store.create_new_workflow(&instance(id)).await.unwrap();
            place.store.create_event_subscription(&wait(&format!("w{id}"), id, "sent")).await.unwrap();
        }
        let born = format!("UPDATE event_subscriptions SET born = {born}{GIVEN_OUT} WHERE id = 'wa'");
        place.spoil(&born).await;
        if is_mended {
            place.store.load("a").await.unwrap();
            // No single row is reported for a number that all rows share.
            place.spoil("DELETE FROM sqlite_sequence").await;
            place.store.load("a").await.unwrap();
        } else {
            is_reported_for_a_alone(&place, "born", "wa").await;
        }
    }
}

#[tokio::test]
async fn an_event_at_a_position_that_was_not_assigned_is_reported_and_not_changed() {
    for (spoils, column) in [
        ("position = 0", "position"),
        ("position = -1", "position"),
        ("position = 9223372036854775807", "position"),
        ("position = position + 100", "position"),
        ("timely = 2", "timely"),
        ("timely = -1", "timely"),
    ] {
        let mut place = Place::new().await;
        for id in ["e1", "e2"] {
            place.store.create_event(&event(id, 0)).await.unwrap();
        }
        place.spoil(&format!("UPDATE events SET {spoils} WHERE id = 'e1'")).await;
        let (store, now) = (&place.store, place.clock.now());
        assert_eq!(place_of(store.get_event("e1").await), ("events", column, "e1".to_owned()), "{spoils}");
        assert_eq!(store.get_events("paid", "k", now).await.unwrap(), ["e2"]);
        assert_eq!(store.get_runnable_events(now).await.unwrap(), ["e2"]);
        // No instance waits for either. If it were finished, it would not be found again after an operator has repaired it.
        let swept = store.finish_events(None, 9).await.unwrap();
        assert_eq!(swept.finished, 1, "{spoils}");
        place.spoil("UPDATE events SET position = seq, timely = 1 WHERE id = 'e1'").await;
        assert_eq!(place.store.get_runnable_events(now).await.unwrap(), ["e1"]);
        assert_eq!(place.store.finish_events(None, 9).await.unwrap().finished, 1);
    }
}

/// If it were consumed, the instance would miss all later events.
#[tokio::test]
async fn an_event_beyond_the_assigned_positions_is_corrupt_for_the_instances_that_would_receive_it() {
    let mut place = Place::new().await;
    for (id, name) in [("a", "paid"), ("b", "sent")] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
        place.store.create_event_subscription(&wait(&format!("w{id}"), id, name)).await.unwrap();
    }
    place.store.create_event(&event("e", 0)).await.unwrap();
    place.spoil("UPDATE events SET position = 1000000").await;
    let is_told = |found: Result<_>| assert_eq!(place_of(found), ("events", "position", "e".to_owned()));
    is_told(place.store.load("a").await.map(drop));
    is_told(place.store.pending("a", None).await.map(drop));
    is_told(place.store.pending("a", Some(&texts(&["wa"]))).await.map(drop));
    for (id, one) in place.store.load_many(&texts(&["a", "b"])).await.unwrap() {
        if id == "a" { is_told(one.map(drop)) } else { drop(one.unwrap()) }
    }
}
