use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::sync::Notify;
use wfe::{
    Result, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Definition, Event, WorkflowBuilder},
    error::Kind,
    models::{self},
    status::State,
    traits::{PersistenceProvider, Published},
};
use wfe_testkit::{Layer, Layered, VirtualClock};

use crate::support::{Store, Tally, Timed, completed, in_time, nothing, until};

const NUMBER: Event<u32> = Event::new("number");
const OTHER: Event<u32> = Event::new("other");

/// Waits `rounds` times for an event of one stream, and gathers what they carry.
fn gathering(rounds: usize) -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("gather", 1)
        .while_(
            "rounds",
            move |tally| tally.numbers.len() < rounds,
            |round| round.wait_for("wait", NUMBER, |_| "k").output(|n, tally| tally.numbers.push(n)),
        )
        .build()
        .unwrap()
}

async fn number(host: &WorkflowHost, n: u32) -> String {
    host.publish_event("number", "k", &n).await.unwrap()
}

async fn waits(host: &WorkflowHost, id: &str) {
    until(async || {
        let status = host.status(id).await.unwrap();
        status.current_steps == ["wait"] && status.due.is_none()
    })
    .await;
}

async fn is_processed(place: &Timed, id: &str) -> bool {
    place.provider().await.get_event(id).await.unwrap().is_processed
}

fn in_hours(place: &Timed, hours: i64) -> DateTime<Utc> {
    place.clock.now() + TimeDelta::hours(hours)
}

in_time! {
    async fn an_event_reaches_those_who_wait_at_once_and_in_order(place: Timed) {
        let host = place.host(&[&gathering(3)]).await;
        let one = host.start_workflow("gather", &Tally::default()).await.unwrap();
        let two = host.start_workflow("gather", &Tally::default()).await.unwrap();
        waits(&host, &one).await;
        waits(&host, &two).await;
        let mut events = Vec::new();
        for n in [1, 2, 3] {
            events.push(number(&host, n).await);
        }
        for id in [&one, &two] {
            assert_eq!(completed(&host, id).await.numbers, [1, 2, 3]);
        }
        for id in &events {
            until(async || is_processed(&place, id).await).await;
        }
    }

    async fn an_event_in_time_beats_a_limit_that_passed_while_the_instance_was_suspended(place: Timed) {
        let definition = WorkflowBuilder::<Tally>::new("gather", 1)
            .wait_for("wait", NUMBER, |_| "k")
            .output(|n, tally| tally.numbers.push(n))
            .on_timeout(|_| Duration::from_hours(2), |late| late.change("late", |tally| tally.sum = 9))
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let (mut ids, mut sums) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
            until(async || host.status(&id).await.unwrap().current_steps == ["wait"]).await;
            host.suspend(&id).await.unwrap();
            until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
            // The first one's event comes in time, the second one's does not.
            place.clock.advance(Duration::from_hours(if ids.is_empty() { 1 } else { 3 }));
            number(&host, 7).await;
            place.clock.advance(Duration::from_hours(2));
            host.resume(&id).await.unwrap();
            let tally = completed(&host, &id).await;
            sums.push((tally.numbers.len(), tally.sum));
            ids.push(id);
        }
        assert_eq!(sums, [(1, 0), (0, 9)]);
    }

    async fn an_event_from_before_the_wait_but_not_from_before_the_instance_reaches_it(place: Timed) {
        let gate = Arc::new(Notify::new());
        let open = gate.clone();
        let definition = WorkflowBuilder::<Tally>::new("late", 1)
            .then("gate", async move |_, _| {
                gate.notified().await;
                Ok(())
            })
            .wait_for("wait", NUMBER, |_| "k")
            .output(|n, tally| tally.sum = n)
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let too_early = number(&host, 1).await;
        until(async || is_processed(&place, &too_early).await).await;
        let id = host.start_workflow("late", &Tally::default()).await.unwrap();
        let early = number(&host, 2).await;
        until(async || is_processed(&place, &early).await).await;
        open.notify_one();
        assert_eq!(completed(&host, &id).await.sum, 2);
        until(async || is_processed(&place, &early).await).await;
    }

    async fn an_event_reaches_an_instance_that_began_before_the_clock_was_set_back(place: Timed) {
        let gate = Arc::new(Notify::new());
        let open = gate.clone();
        let definition = WorkflowBuilder::<Tally>::new("late", 1)
            .wait_for("wait", NUMBER, |_| "k")
            .output(|n, tally| tally.numbers.push(n))
            .then("gate", async move |_, _| {
                gate.notified().await;
                Ok(())
            })
            .wait_for("other", OTHER, |_| "k")
            .output(|n, tally| tally.sum = n)
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = host.start_workflow("late", &Tally::default()).await.unwrap();
        waits(&host, &id).await;
        place.clock.set(place.clock.now() - TimeDelta::hours(1));
        // An explicit date counts as such, and is before the start.
        let old = host.publish(NUMBER, "k", 1_u32).effective(in_hours(&place, -1)).await.unwrap();
        until(async || is_processed(&place, &old.id).await).await;
        number(&host, 2).await;
        until(async || host.data::<Tally>(&id).await.unwrap().numbers == [2]).await;
        // Not yet waited for.
        let early = host.publish_event("other", "k", &3).await.unwrap();
        until(async || is_processed(&place, &early).await).await;
        open.notify_one();
        assert_eq!(completed(&host, &id).await, Tally { numbers: vec![2], sum: 3 });
        until(async || is_processed(&place, &early).await).await;
    }

    async fn time_that_passes_on_the_way_to_the_store_dates_no_event_back(place: Timed) {
        let host = place.host(&[&gathering(1)]).await;
        let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
        waits(&host, &id).await;
        place.clock.set(place.clock.now() - TimeDelta::hours(1));
        let slow = Slow { below: place.provider().await, clock: place.clock.clone() };
        let publisher =
            WorkflowHost::builder_shared(Arc::new(Layered(slow))).clock(place.clock.clone()).build();
        number(&publisher, 1).await;
        // Nobody tells the host of it.
        host.publish_event("nobody", "k", &()).await.unwrap();
        assert_eq!(completed(&host, &id).await.numbers, [1]);
    }

    async fn two_waits_open_at_once_share_an_event_and_the_next_one_takes_the_next(place: Timed) {
        let take = |n, tally: &mut Tally| tally.numbers.push(n);
        let definition = WorkflowBuilder::<Tally>::new("share", 1)
            .parallel("both", |branches| {
                branches
                    .branch(|b| b.wait_for("left", NUMBER, |_| "k").output(take))
                    .branch(|b| b.wait_for("right", NUMBER, |_| "k").output(take))
            })
            .wait_for("then", NUMBER, |_| "k")
            .output(take)
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = host.start_workflow("share", &Tally::default()).await.unwrap();
        until(async || host.status(&id).await.unwrap().current_steps == ["left", "right"]).await;
        number(&host, 7).await;
        until(async || host.status(&id).await.unwrap().current_steps == ["then"]).await;
        number(&host, 8).await;
        assert_eq!(completed(&host, &id).await.numbers, [7, 7, 8]);
    }

    async fn an_event_reaches_an_instance_that_is_busy_elsewhere_in_itself(place: Timed) {
        let gate = Arc::new(Notify::new());
        let open = gate.clone();
        let definition = WorkflowBuilder::<Tally>::new("busy", 1)
            .parallel("both", |branches| {
                branches
                    .branch(|b| {
                        b.then("works", async move |_, _| {
                            gate.notified().await;
                            Ok(())
                        })
                    })
                    .branch(|b| {
                        b.wait_for("wait", NUMBER, |_| "k")
                            .output(|n, tally| tally.sum = n)
                            .change("after", |tally| tally.numbers.push(1))
                    })
            })
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = host.start_workflow("busy", &Tally::default()).await.unwrap();
        until(async || host.status(&id).await.unwrap().current_steps == ["works", "wait"]).await;
        number(&host, 5).await;
        until(async || host.status(&id).await.unwrap().current_steps == ["works"]).await;
        open.notify_one();
        assert_eq!(completed(&host, &id).await, Tally { numbers: vec![1], sum: 5 });
    }

    async fn publishing_with_the_caller_s_id_is_idempotent(place: Timed) {
        let host = place.host(&[&gathering(2)]).await;
        let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
        for n in [1_u32, 2, 3] {
            let published = host.publish(NUMBER, "k", n).id("it's \0 mine").await.unwrap();
            assert_eq!((&*published.id, published.is_new), ("it's \0 mine", n == 1));
        }
        number(&host, 4).await;
        assert_eq!(completed(&host, &id).await.numbers, [1, 4]);
    }

    async fn an_id_that_was_published_is_refused_for_another_name_or_key(place: Timed) {
        let host = place.host(&[&gathering(1)]).await;
        let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
        waits(&host, &id).await;
        host.publish(OTHER, "k", 1_u32).id("mine").await.unwrap();
        for effective in [None, Some(in_hours(&place, 1))] {
            let publish = |event: Event<u32>, key: &str, n: u32| {
                let event = host.publish(event, key, n).id("mine");
                if let Some(time) = effective { event.effective(time) } else { event }
            };
            for (event, key) in [(NUMBER, "k"), (OTHER, "K"), (Event::new("k"), "other")] {
                let refused = publish(event, key, 2).await;
                let Err(WfeError::AlreadyExists { kind: Kind::Event, id }) = refused else { panic!("{refused:?}") };
                assert_eq!(id, "mine");
            }
            // Whatever it carries, and whenever it happens, the same event is a repetition.
            assert_eq!(publish(OTHER, "k", 3).await.unwrap().id, "mine");
        }
        let stored = place.provider().await.get_event("mine").await.unwrap();
        assert_eq!((&*stored.event_name, &*stored.event_key, stored.event_data), ("other", "k", json!(1)));
        number(&host, 4).await;
        assert_eq!(completed(&host, &id).await.numbers, [4]);
    }

    async fn an_event_that_was_removed_may_be_published_again_under_its_id(place: Timed) {
        let vanishing = Vanishing { below: place.provider().await, refuses: AtomicBool::new(true) };
        let host =
            WorkflowHost::builder_shared(Arc::new(Layered(vanishing))).clock(place.clock.clone()).build();
        assert_eq!(host.publish(NUMBER, "k", 1_u32).id("mine").await.unwrap().id, "mine");
        assert_eq!(place.provider().await.get_event("mine").await.unwrap().event_data, json!(1));
    }

    async fn an_event_dated_ahead_comes_at_its_date_and_not_before(place: Timed) {
        let host = place.host(&[&gathering(2)]).await;
        let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
        waits(&host, &id).await;
        let date = in_hours(&place, 2);
        let later = host.publish(NUMBER, "k", 1_u32).effective(date).await.unwrap();
        place.clock.wait_for(|deadlines| deadlines.contains(&date)).await;
        place.clock.set(date - TimeDelta::milliseconds(1));
        number(&host, 2).await;
        until(async || host.data::<Tally>(&id).await.unwrap().numbers == [2]).await;
        waits(&host, &id).await;
        place.clock.set(date);
        assert_eq!(completed(&host, &id).await.numbers, [2, 1]);
        until(async || is_processed(&place, &later.id).await).await;
    }

    async fn an_event_dated_ahead_outlives_the_host_that_knew_of_it(place: Timed) {
        let host = place.host(&[&gathering(1)]).await;
        let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
        waits(&host, &id).await;
        let date = in_hours(&place, 2);
        host.publish(NUMBER, "k", 1_u32).effective(date).await.unwrap();
        host.stop().await.unwrap();
        let host = place.host(&[&gathering(1)]).await;
        place.clock.wait_for(|deadlines| deadlines.contains(&date)).await;
        place.clock.set(date);
        assert_eq!(completed(&host, &id).await.numbers, [1]);
    }

    async fn what_is_published_while_no_host_runs_is_delivered_by_the_next_one(place: Timed) {
        let host = place.host(&[&gathering(3)]).await;
        let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
        number(&host, 1).await;
        until(async || host.data::<Tally>(&id).await.unwrap().numbers == [1]).await;
        host.stop().await.unwrap();
        let client = place.builder().await.build();
        number(&client, 2).await;
        let unheard = client.publish_event("nobody", "k", &json!(null)).await.unwrap();
        assert!(is_processed(&place, &unheard).await);
        number(&client, 3).await;
        let host = place.host(&[&gathering(3)]).await;
        assert_eq!(completed(&host, &id).await.numbers, [1, 2, 3]);
        until(async || {
            let now = place.clock.now();
            place.provider().await.get_runnable_events(now).await.unwrap().is_empty()
        }).await;
    }

    async fn an_event_whose_wait_times_out_does_not_stay_unprocessed(place: Timed) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .wait_for("wait", NUMBER, |_| "k")
            .on_timeout(|_| Duration::from_hours(1), |late| late.change("late", |tally| tally.sum = 9))
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        waits_until(&place, &host, &id).await;
        host.suspend(&id).await.unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
        let event = number(&host, 1).await;
        // Once a later one has been looked at, so has this one, which the wait still needed.
        let later = host.publish_event("nobody", "k", &()).await.unwrap();
        until(async || is_processed(&place, &later).await).await;
        assert!(!is_processed(&place, &event).await);
        host.terminate(&id).await.unwrap();
        until(async || is_processed(&place, &event).await).await;
    }

    async fn a_suspended_instance_takes_its_events_once_it_is_resumed(place: Timed) {
        let host = place.host(&[&gathering(2)]).await;
        let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
        waits(&host, &id).await;
        host.suspend(&id).await.unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
        let event = number(&host, 1).await;
        number(&host, 2).await;
        assert!(!is_processed(&place, &event).await);
        assert!(host.data::<Tally>(&id).await.unwrap().numbers.is_empty());
        host.resume(&id).await.unwrap();
        assert_eq!(completed(&host, &id).await.numbers, [1, 2]);
    }

    async fn a_wait_whose_definition_is_unknown_gets_its_event_once_that_is_registered(place: Timed) {
        let host = place.host(&[&gathering(1)]).await;
        let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
        waits(&host, &id).await;
        host.stop().await.unwrap();
        let other = WorkflowBuilder::<Tally>::new("other", 1).step("a", nothing()).build().unwrap();
        let host = place.host(&[&other]).await;
        number(&host, 1).await;
        let id_of_other = host.start_workflow("other", &Tally::default()).await.unwrap();
        completed(&host, &id_of_other).await;
        waits(&host, &id).await;
        host.register(gathering(1)).unwrap();
        assert_eq!(completed(&host, &id).await.numbers, [1]);
    }

    async fn names_and_keys_may_be_anything_but_the_engine_s_own(place: Timed) {
        let (name, key) = ("it's \"\0\" ☃'; DROP TABLE events; --", "k'\0\"");
        let definition = WorkflowBuilder::<Tally>::new("odd", 1)
            .wait_for("wait", Event::<u32>::new(name), move |_| key)
            .output(|n, tally| tally.sum = n)
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = host.start_workflow("odd", &Tally::default()).await.unwrap();
        host.publish_event(name, key, &7).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 7);
        for refused in ["wfe.", "wfe.child-ended"] {
            let refused = host.publish_event(refused, "k", &1).await;
            assert!(matches!(refused, Err(WfeError::Invalid(_))), "{refused:?}");
        }
        for id in ["", "wfe.", "wfe.child-ended:x", "wfe.answer:x//1//t"] {
            let refused = host.publish(Event::<u32>::new("n"), "k", 1_u32).id(id).await;
            assert!(matches!(refused, Err(WfeError::Invalid(_))), "{refused:?}");
            assert!(matches!(place.provider().await.get_event(id).await, Err(WfeError::EventNotFound(_))));
        }
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        let refused = host.publish_event("n", "k", &deep).await;
        assert!(matches!(refused, Err(WfeError::Unstorable { .. })), "{refused:?}");
    }

    async fn an_event_of_another_type_fails_the_step_and_no_other_instance(place: Timed) {
        let host = place.host(&[&gathering(1)]).await;
        let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
        host.publish_event("number", "k", "no number").await.unwrap();
        let wfe::Outcome::Failed(failure) = crate::support::ended(&host, &id).await else { panic!() };
        assert_eq!((&*failure.code, &*failure.step), ("unreadable", "wait"));
        place.clock.advance(Duration::from_secs(1));
        let other = host.start_workflow("gather", &Tally::default()).await.unwrap();
        number(&host, 3).await;
        assert_eq!(completed(&host, &other).await.numbers, [3]);
    }
}

/// A store that has an event of each id, until somebody looks for it.
struct Vanishing {
    below: Arc<dyn PersistenceProvider>,
    refuses: AtomicBool,
}

#[async_trait::async_trait]
impl Layer for Vanishing {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    async fn create_event_now(&self, event: &models::Event) -> Result<String> {
        if self.refuses.swap(false, SeqCst) {
            return Err(WfeError::AlreadyExists { kind: Kind::Event, id: event.id.clone() });
        }
        self.below.create_event_now(event).await
    }

    async fn publish(&self, _: &models::Event, _: bool, _: Option<&str>) -> Result<Published> {
        Err(WfeError::Unsupported("to tell what a published event met"))
    }
}

/// A store to which an event takes a second.
struct Slow {
    below: Arc<dyn PersistenceProvider>,
    clock: Arc<VirtualClock>,
}

#[async_trait::async_trait]
impl Layer for Slow {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    async fn create_event(&self, event: &models::Event) -> Result<String> {
        self.clock.advance(Duration::from_secs(1));
        self.below.create_event(event).await
    }

    async fn create_event_now(&self, event: &models::Event) -> Result<String> {
        self.clock.advance(Duration::from_secs(1));
        self.below.create_event_now(event).await
    }

    async fn publish(
        &self,
        event: &models::Event,
        is_dated: bool,
        receiver: Option<&str>,
    ) -> Result<Published> {
        self.clock.advance(Duration::from_secs(1));
        self.below.clone().step_store().unwrap().publish(event, is_dated, receiver).await
    }
}

/// The timer of the wait is set.
async fn waits_until(place: &Timed, host: &WorkflowHost, id: &str) {
    let until_then = (place.clock.now() + TimeDelta::hours(1)).timestamp_millis();
    until(async || host.status(id).await.unwrap().due == DateTime::from_timestamp_millis(until_then)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_plain_traits_alone_publishing_is_refused() {
    let host = Store::plain().host(&[]).await;
    let refused = host.publish_event("n", "k", &1).await;
    assert!(matches!(refused, Err(WfeError::Unsupported(_))), "{refused:?}");
}

/// Nobody tells it but the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_published_by_another_host_reaches_those_who_wait() {
    let store = Store::file();
    let host = store.host(&[&gathering(2)]).await;
    let id = host.start_workflow("gather", &Tally::default()).await.unwrap();
    waits(&host, &id).await;
    let client = store.builder().await.build();
    number(&client, 1).await;
    let other = store.host(&[]).await;
    number(&other, 2).await;
    assert_eq!(completed(&host, &id).await.numbers, [1, 2]);
}
