//! What becomes due soon is claimed before its time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use wfe::{
    Result, WorkflowHost,
    clock::Clock,
    definition::{AnyDefinition, Definition, Event, WorkflowBuilder},
    models::WorkflowStatus,
    status::State,
    traits::{Loaded, PersistenceProvider},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{Layer, Layered, VirtualClock};

use crate::support::{Count, Tally, Timed, completed, in_time, started, until};

const HOUR: Duration = Duration::from_hours(1);
/// Half of it is no pause of the heartbeats, so that those who sleep until a due time can be counted.
const AHEAD: Duration = Duration::from_secs(14);

/// Sleeps for an hour.
fn sleepy(id: &str) -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new(id, 1)
        .delay("hour", |_| HOUR)
        .change("up", |tally| tally.sum += 1)
        .build()
        .unwrap()
}

async fn host(place: &Timed, definitions: &[&AnyDefinition]) -> WorkflowHost {
    started(place.builder().await.claim_ahead(AHEAD).build(), definitions).await
}

async fn is_held(place: &Timed, id: &str) -> bool {
    let provider = place.provider().await;
    provider.clone().step_store().unwrap().load(id).await.unwrap().owner.is_some()
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

    async fn requests_take_effect_meanwhile(place: Timed) {
        let wait = WorkflowBuilder::<Tally>::new("wait", 1)
            .wait_for("wait", Event::<u32>::new("number"), |_| "k")
            .output(|n, tally| tally.sum = n)
            .fail_after(|_| HOUR)
            .build()
            .unwrap();
        let host = host(&place, &[&sleepy("w"), &wait]).await;
        let (id, due) = claimed_ahead(&place, &host, "w").await;
        host.suspend(&id).await.unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
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
        let builder = builder.concurrent_instances_of("limited", 1);
        let host = started(builder.build(), &[&sleepy("limited"), &sleepy("free")]).await;
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

const LEASE: Duration = Duration::from_secs(6);

/// A store whose loads take long, by the clock.
struct Slow {
    inner: Arc<dyn PersistenceProvider>,
    clock: Arc<VirtualClock>,
    loads: Count,
    /// How often the clock moves during the load of this number, and how far each time.
    moves: fn(usize) -> (usize, Duration),
}

#[async_trait]
impl Layer for Slow {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        let loaded = self.inner.clone().step_store().unwrap().load(id).await;
        let (times, step) = (self.moves)(self.loads.up());
        for _ in 0..times {
            // Once the host has done what it does from time to time.
            let soon = self.clock.now() + LEASE / 6;
            self.clock.wait_for(|deadlines| deadlines.iter().any(|at| *at <= soon)).await;
            self.clock.advance(step);
        }
        loaded
    }
}

/// How often an instance was loaded whose time has come, until it had ended.
async fn loads_until_it_ended(moves: fn(usize) -> (usize, Duration)) -> usize {
    let (clock, loads) = (Arc::new(VirtualClock::default()), Count::default());
    let provider = SqlitePersistenceProvider::builder(":memory:").clock(clock.clone()).lease(LEASE);
    let inner: Arc<dyn PersistenceProvider> = Arc::new(provider.open().await.unwrap());
    let slow = Slow { inner: inner.clone(), clock: clock.clone(), loads: loads.clone(), moves };
    let host = WorkflowHost::builder_shared(Arc::new(Layered(slow))).clock(clock.clone());
    let host = host.claim_ahead(Duration::ZERO).poll_interval(HOUR * 100_000).build();
    let host = started(host, &[&sleepy("w")]).await;
    let id = host.start_workflow("w", &Tally::default()).await.unwrap();
    until(async || inner.clone().step_store().unwrap().load(&id).await.unwrap().owner.is_none()).await;
    let due = clock.now() + HOUR;
    clock.wait_for(|deadlines| deadlines.contains(&due)).await;
    clock.advance(HOUR);
    // Not through the host: it would load the instance itself.
    until(async || inner.get_workflow_instance(&id).await.unwrap().status == WorkflowStatus::Complete).await;
    loads.get()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_takes_half_a_lease_to_load_begins_when_it_is_loaded() {
    assert_eq!(loads_until_it_ended(|_| (4, LEASE / 6)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_was_loaded_before_the_host_stood_still_is_loaded_again() {
    assert_eq!(loads_until_it_ended(|load| (usize::from(load == 1), LEASE)).await, 2);
}
