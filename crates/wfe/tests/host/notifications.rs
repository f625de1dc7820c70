//! The order between what is stored and what the engine is notified of. Nothing is polled here, and no news comes from
//! the store: a notification that is lost, or comes too early, leaves an instance where it is for ever.

use std::time::Duration;

use chrono::TimeDelta;
use wfe::{
    WorkflowHost,
    clock::Clock,
    definition::{AnyDefinition, Definition, Event, WorkflowBuilder, WorkflowName},
    status::State,
    traits::PersistenceProvider,
};

use crate::support::{
    Gate, Tally, Timed, before_ends, before_events, before_requests, completed, holding_claims, in_time,
    nothing, started, until,
};

const NUMBER: Event<u32> = Event::new("number");

/// Waits for the number of this key.
fn waiting(id: &str) -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new(id, 1)
        .wait_for("wait", NUMBER, |tally| tally.sum.to_string())
        .output(|n, tally| tally.numbers.push(n))
        .build()
        .unwrap()
}

/// A host to which nothing comes but by notifications.
async fn host(
    place: &Timed,
    provider: std::sync::Arc<dyn PersistenceProvider>,
    definitions: &[&AnyDefinition],
) -> WorkflowHost {
    let builder = WorkflowHost::builder_shared(provider)
        .clock(place.clock.clone())
        .poll_interval(Duration::from_hours(100_000));
    started(builder.build(), definitions).await
}

/// Starts an instance that waits for the number of this key, until it does.
async fn waits_for(host: &WorkflowHost, key: u32) -> String {
    let id = host.start_workflow("w", &Tally { sum: key, ..Tally::default() }).await.unwrap();
    host.idle().await.unwrap();
    id
}

async fn publish(host: &WorkflowHost, key: u32) {
    host.publish_event("number", &key.to_string(), &key).await.unwrap();
}

in_time! {
    async fn an_event_is_notified_after_it_is_stored(place: Timed) {
        let gate = Gate::default();
        let host = host(&place, before_events(place.provider().await, &gate), &[&waiting("w")]).await;
        let id = waits_for(&host, 1).await;
        gate.shut();
        let publishes = host.clone();
        let call = tokio::spawn(async move { publish(&publishes, 1).await });
        until(async || gate.came.get() == 1).await;
        // A notification that came too early is used up by now.
        host.idle().await.unwrap();
        gate.open();
        call.await.unwrap();
        assert_eq!(completed(&host, &id).await.numbers, [1]);
    }

    async fn a_request_is_notified_after_it_is_stored(place: Timed) {
        let gate = Gate::default();
        let host = host(&place, before_requests(place.provider().await, &gate), &[&waiting("w")]).await;
        let id = waits_for(&host, 1).await;
        gate.shut();
        let (asks, own) = (host.clone(), id.clone());
        let asked = tokio::spawn(async move { asks.suspend(&own).await.unwrap() });
        until(async || gate.came.get() == 1).await;
        host.idle().await.unwrap();
        gate.open();
        asked.await.unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
    }

    async fn the_end_of_a_child_is_notified_after_it_is_stored(place: Timed) {
        let gate = Gate::default();
        let kid = WorkflowBuilder::<Tally>::new("kid", 1).step("only", nothing()).build().unwrap();
        let parent = WorkflowBuilder::<Tally>::new("parent", 1)
            .sub_workflow("sub", WorkflowName::new("kid"), |_| Tally::default())
            .build()
            .unwrap();
        let provider = before_ends(place.provider().await, &gate);
        let host = host(&place, provider, &[&kid, &parent, &waiting("w")]).await;
        let other = waits_for(&host, 1).await;
        gate.shut();
        let id = host.start_workflow("parent", &Tally::default()).await.unwrap();
        until(async || gate.came.get() == 1).await;
        // Whatever this host was notified of by now has been looked after: so was an event that came later.
        publish(&host, 1).await;
        completed(&host, &other).await;
        gate.open();
        completed(&host, &id).await;
    }

    async fn an_event_that_is_notified_while_the_engine_looks_is_looked_for_once_more(place: Timed) {
        let gate = Gate::default();
        let host = host(&place, holding_claims(place.provider().await, &gate), &[&waiting("w")]).await;
        let (first, second) = (waits_for(&host, 1).await, waits_for(&host, 2).await);
        gate.shut();
        publish(&host, 1).await;
        until(async || gate.came.get() == 1).await;
        publish(&host, 2).await; // the look that is under way does not see it
        gate.open();
        completed(&host, &first).await;
        completed(&host, &second).await;
    }

    async fn however_many_events_are_notified_while_the_engine_looks_one_more_look_takes_them(place: Timed) {
        let gate = Gate::default();
        let host = host(&place, holding_claims(place.provider().await, &gate), &[&waiting("w")]).await;
        let mut ids = Vec::new();
        for key in 0..30 {
            ids.push(waits_for(&host, key).await);
        }
        gate.shut();
        publish(&host, 0).await;
        until(async || gate.came.get() == 1).await;
        for key in 1..30 {
            publish(&host, key).await;
        }
        let before = gate.claims.get();
        gate.open();
        for id in &ids {
            completed(&host, id).await;
        }
        let claims = gate.claims.get() - before;
        assert!(claims <= 2, "{claims} claims");
    }

    async fn of_events_that_are_dated_ahead_and_notified_together_each_comes_at_its_date(place: Timed) {
        let gate = Gate::default();
        let host = host(&place, holding_claims(place.provider().await, &gate), &[&waiting("w")]).await;
        let mut ids = Vec::new();
        for key in 0..4 {
            ids.push(waits_for(&host, key).await);
        }
        let due = |key: u32| place.clock.now() + TimeDelta::hours(i64::from(key));
        gate.shut();
        publish(&host, 0).await;
        until(async || gate.came.get() == 1).await;
        for key in [3, 1, 2] {
            host.publish(NUMBER, key.to_string(), key).effective(due(key)).await.unwrap();
        }
        gate.open();
        for id in &ids {
            completed(&host, id).await;
            place.clock.advance(Duration::from_hours(1));
        }
    }
}
