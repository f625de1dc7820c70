//! What becomes due soon is claimed before its time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use wfe::{
    WorkflowHost,
    clock::Clock,
    definition::{Definition, WorkflowBuilder, event},
    models::WorkflowStatus,
};

use crate::support::{Tally, Timed, completed, in_time, nothing, started, until};

const HOUR: Duration = Duration::from_hours(1);
/// Half of it is no pause of the heartbeats, so that those who sleep until a due time can be counted.
const AHEAD: Duration = Duration::from_secs(14);

/// Sleeps for an hour.
fn sleepy(id: &str) -> Definition {
    WorkflowBuilder::<Tally>::new(id, 1)
        .delay("hour", |_, ()| HOUR)
        .then("up", nothing().output(|(), tally: &mut Tally| tally.sum += 1))
        .build()
        .unwrap()
}

async fn host(place: &Timed, definitions: &[&Definition]) -> WorkflowHost {
    started(place.builder().await.claim_ahead(AHEAD).build(), definitions).await
}

async fn is_held(place: &Timed, id: &str) -> bool {
    let provider = place.provider().await;
    provider.step_store().unwrap().load(id).await.unwrap().owner.is_some()
}

/// Starts one, and moves the clock to when it is claimed. Gives its id, and when it is due.
async fn claimed_ahead(place: &Timed, host: &WorkflowHost, definition: &str) -> (String, DateTime<Utc>) {
    let id = host.start_workflow(definition, &Tally::default()).await.unwrap();
    until(async || !is_held(place, &id).await).await;
    let due = place.clock.now() + HOUR;
    let soon = due - AHEAD / 2;
    place.clock.wait_for(|deadlines| deadlines.contains(&soon)).await;
    place.clock.advance(HOUR.saturating_sub(AHEAD / 2));
    // Its actor sleeps until its time, the dispatcher too.
    place.clock.wait_for(|deadlines| deadlines.iter().filter(|at| **at == due).count() == 2).await;
    assert!(is_held(place, &id).await);
    (id, due)
}

in_time! {
    async fn it_is_at_hand_before_its_time_and_goes_on_when_that_comes(place: Timed) {
        let host = host(&place, &[&sleepy("w")]).await;
        let (id, _) = claimed_ahead(&place, &host, "w").await;
        place.clock.advance((AHEAD / 2).saturating_sub(Duration::from_millis(1)));
        assert_eq!(host.status(&id).await.unwrap().current_steps, ["hour"]);
        place.clock.advance(Duration::from_millis(1));
        assert_eq!(completed(&host, &id).await.sum, 1);
    }

    async fn it_does_what_is_asked_of_it_meanwhile(place: Timed) {
        let wait = event("number", |_: &Tally, ()| "k")
            .output(|n: &u32, tally: &mut Tally| tally.sum = *n)
            .fail_after(|_, ()| HOUR);
        let wait = WorkflowBuilder::<Tally>::new("wait", 1).wait_for("wait", wait).build().unwrap();
        let host = host(&place, &[&sleepy("w"), &wait]).await;
        let (id, due) = claimed_ahead(&place, &host, "w").await;
        host.suspend(&id).await.unwrap();
        until(async || host.status(&id).await.unwrap().status == WorkflowStatus::Suspended).await;
        place.clock.set(due + TimeDelta::minutes(1));
        host.resume(&id).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 1);
        let (id, _) = claimed_ahead(&place, &host, "wait").await;
        host.publish_event("number", "k", &7).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 7);
    }

    async fn a_host_that_stops_gives_it_back_with_its_time(place: Timed) {
        let first = host(&place, &[&sleepy("w")]).await;
        let (id, due) = claimed_ahead(&place, &first, "w").await;
        first.stop().await.unwrap();
        assert!(!is_held(&place, &id).await);
        let stored = place.provider().await.get_workflow_instance(&id).await.unwrap();
        assert_eq!(stored.next_execution, Some(due.timestamp_millis()));
        let second = place.host(&[&sleepy("w")]).await;
        place.clock.advance(AHEAD / 2);
        assert_eq!(completed(&second, &id).await.sum, 1);
    }

    async fn it_takes_no_place_of_a_limited_definition_and_at_most_half_of_all(place: Timed) {
        let builder = place.builder().await.claim_ahead(AHEAD).concurrent_instances(4);
        let definitions = [&sleepy("limited"), &sleepy("free")];
        let host = started(builder.concurrent_instances_of("limited", 1).build(), &definitions).await;
        let mut ids = Vec::new();
        for definition in ["limited", "free", "free", "free"] {
            ids.push(host.start_workflow(definition, &Tally::default()).await.unwrap());
        }
        let due = place.clock.now() + HOUR;
        place.clock.wait_for(|deadlines| deadlines.contains(&(due - AHEAD / 2))).await;
        for id in &ids {
            until(async || !is_held(&place, id).await).await;
        }
        place.clock.advance(HOUR.saturating_sub(AHEAD / 2));
        // Two actors, and the dispatcher, which has claimed what it may by then.
        place.clock.wait_for(|deadlines| deadlines.iter().filter(|at| **at == due).count() == 3).await;
        let mut held = Vec::new();
        for id in &ids {
            held.push(is_held(&place, id).await);
        }
        assert_eq!((held[0], held.iter().filter(|is_held| **is_held).count()), (false, 2));
        place.clock.advance(AHEAD / 2);
        for id in &ids {
            assert_eq!(completed(&host, id).await.sum, 1);
        }
    }
}
