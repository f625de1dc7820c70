//! Events that become due take their positions from the engine's writes; reads wait for nobody.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::Notify;
use wfe::{
    Result, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Definition, Event, Sequence, WorkflowBuilder},
    host::HostBuilder,
    traits::PersistenceProvider,
};
use wfe_testkit::{Layer, Layered};

use crate::support::{Count, Tally, Timed, completed, in_time, started, until};

const HOUR: Duration = Duration::from_hours(1);
const NUMBER: Event<u32> = Event::new("number");

/// Waits for a number, for two hours at most, in one branch; the body of the other one runs until it is let go.
fn busy(go: &Arc<Notify>) -> Definition<Tally> {
    let go = go.clone();
    WorkflowBuilder::<Tally>::new("busy", 1)
        .parallel("both", |both| {
            both.branch(|b| {
                b.then("works", async move |_, _| {
                    go.notified().await;
                    Ok(())
                })
            })
            .branch(waiting)
        })
        .build()
        .unwrap()
}

/// The same, without another branch: nobody works on it while it waits.
fn asleep() -> Definition<Tally> {
    waiting(WorkflowBuilder::new("asleep", 1)).build().unwrap()
}

fn waiting(steps: Sequence<Tally>) -> Sequence<Tally> {
    steps
        .wait_for("wait", NUMBER, |_| "k")
        .output(|n, tally| tally.sum = n)
        .on_timeout(|_| 2 * HOUR, |late| late.change("late", |tally| tally.numbers.push(9)))
        .closed()
}

/// Published by a program that the host hears nothing of, dated an hour ahead.
async fn unheard(place: &Timed, n: u32) {
    let client = place.builder().await.build();
    client.publish(NUMBER, "k", n).effective(place.clock.now() + TimeDelta::hours(1)).await.unwrap();
}

async fn steps(host: &WorkflowHost, id: &str) -> Vec<String> {
    host.status(id).await.unwrap().current_steps
}

/// The ways in which a host that works on one instance has no place for another one.
const FULL: [fn(HostBuilder) -> HostBuilder; 2] =
    [|host| host.concurrent_instances(1), |host| host.concurrent_instances_of("busy", 1)];

in_time! {
    async fn an_event_dated_ahead_reaches_a_busy_instance_though_nothing_can_be_claimed(place: Timed) {
        for limited in FULL {
            place.clock.advance(Duration::from_secs(1)); // after the event of the round before
            let go = Arc::new(Notify::new());
            let host = started(limited(place.builder().await).build(), &[&busy(&go)]).await;
            let id = host.start_workflow("busy", &Tally::default()).await.unwrap();
            until(async || steps(&host, &id).await == ["works", "wait"]).await;
            let date = place.clock.now() + TimeDelta::hours(1);
            host.publish(NUMBER, "k", 5_u32).effective(date).await.unwrap();
            place.clock.wait_for(|deadlines| deadlines.contains(&date)).await;
            place.clock.set(date);
            until(async || steps(&host, &id).await == ["works"]).await;
            go.notify_one();
            assert_eq!(completed(&host, &id).await, Tally::of([]).with(5));
            host.stop().await.unwrap();
        }
    }

    async fn the_poll_delivers_to_a_busy_instance_what_became_due_though_nothing_can_be_claimed(place: Timed) {
        for limited in FULL {
            place.clock.advance(Duration::from_secs(1)); // after the event of the round before
            let go = Arc::new(Notify::new());
            let builder = limited(place.builder().await).poll_interval(HOUR);
            let host = started(builder.build(), &[&busy(&go)]).await;
            let id = host.start_workflow("busy", &Tally::default()).await.unwrap();
            until(async || steps(&host, &id).await == ["works", "wait"]).await;
            unheard(&place, 5).await;
            // The poll is slept for: it comes with the date.
            place.clock.wait_for_sleepers(1).await;
            place.clock.advance(HOUR);
            until(async || steps(&host, &id).await == ["works"]).await;
            go.notify_one();
            assert_eq!(completed(&host, &id).await, Tally::of([]).with(5));
            host.stop().await.unwrap();
        }
    }

    async fn an_event_that_came_in_time_counts_though_nobody_has_told_of_it(place: Timed) {
        let go = Arc::new(Notify::new());
        let host = place.host(&[&busy(&go), &asleep()]).await;
        for definition in ["busy", "asleep"] {
            place.clock.advance(Duration::from_secs(1)); // after the event of the round before
            let id = host.start_workflow(definition, &Tally::default()).await.unwrap();
            until(async || steps(&host, &id).await.contains(&"wait".to_owned())).await;
            let limit = place.clock.now() + TimeDelta::hours(2);
            place.clock.wait_for(|deadlines| deadlines.contains(&limit)).await;
            unheard(&place, 5).await;
            place.clock.set(limit);
            until(async || !steps(&host, &id).await.contains(&"wait".to_owned())).await;
            go.notify_one();
            assert_eq!(completed(&host, &id).await, Tally::of([]).with(5), "{definition}");
        }
    }

    async fn a_host_that_starts_delivers_what_became_due_meanwhile(place: Timed) {
        let host = place.host(&[&asleep()]).await;
        let id = host.start_workflow("asleep", &Tally::default()).await.unwrap();
        until(async || steps(&host, &id).await == ["wait"]).await;
        host.stop().await.unwrap();
        unheard(&place, 5).await;
        let nobody_waits = place.builder().await.build();
        let soon = place.clock.now() + TimeDelta::minutes(30);
        let nobody = Event::<u32>::new("nobody");
        let unwanted = nobody_waits.publish(nobody, "k", 1_u32).effective(soon).await.unwrap();
        place.clock.advance(HOUR);
        let host = place.host(&[&asleep()]).await;
        assert_eq!(completed(&host, &id).await, Tally::of([]).with(5));
        until(async || place.provider().await.get_event(&unwanted.id).await.unwrap().is_processed).await;
    }
}

impl Tally {
    fn with(self, sum: u32) -> Self {
        Self { sum, ..self }
    }
}

/// Counts how often the store was busy when positions were to be given.
struct Refused {
    below: Arc<dyn PersistenceProvider>,
    times: Count,
}

#[async_trait]
impl Layer for Refused {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    async fn position_due_events(&self) -> Result<bool> {
        let answer = self.below.clone().step_store().unwrap().position_due_events().await;
        if matches!(answer, Err(WfeError::Busy { .. })) {
            self.times.up();
        }
        answer
    }
}

/// Another program, in the midst of a commit.
async fn committing(path: &Path) -> SqliteConnection {
    let mut other = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_another_program_stands_in_a_commit_reads_are_answered_and_what_becomes_due_comes_after_it() {
    let (place, times, go) = (Timed::file(), Count::default(), Arc::new(Notify::new()));
    let below = place.patient(Duration::from_millis(1)).await;
    let store = Arc::new(Layered(Refused { below, times: times.clone() }));
    let builder = WorkflowHost::builder_shared(store).clock(place.clock.clone());
    let host = started(builder.poll_interval(100_000 * HOUR).build(), &[&busy(&go), &asleep()]).await;
    let ended = host.start_workflow("busy", &Tally::default()).await.unwrap();
    host.publish_event("number", "k", &1).await.unwrap();
    go.notify_one();
    completed(&host, &ended).await;
    place.clock.advance(Duration::from_secs(1));
    let mut ids = Vec::new();
    for definition in ["busy", "asleep"] {
        let id = host.start_workflow(definition, &Tally::default()).await.unwrap();
        until(async || steps(&host, &id).await.contains(&"wait".to_owned())).await;
        ids.push(id);
    }
    let limit = (place.clock.now() + TimeDelta::hours(2)).timestamp_millis();
    until(async || host.status(&ids[1]).await.unwrap().due == DateTime::from_timestamp_millis(limit)).await;
    let date = place.clock.now() + TimeDelta::hours(1);
    host.publish(NUMBER, "k", 5_u32).effective(date).await.unwrap();
    place.clock.wait_for(|deadlines| deadlines.contains(&date)).await;

    let mut other = committing(&place.path().unwrap()).await;
    place.clock.set(date);
    until(async || times.get() >= 2).await;
    assert_eq!(steps(&host, &ids[0]).await, ["works", "wait"]);
    assert_eq!(steps(&host, &ids[1]).await, ["wait"]);
    for id in &ids {
        assert_eq!(host.data::<Tally>(id).await.unwrap(), Tally::default());
        assert!(host.failures(id).next().await.unwrap().is_none());
    }
    assert_eq!(completed(&host, &ended).await.sum, 1);
    assert_eq!(host.activities().open("print", None, 9).await.unwrap().rows, []);
    assert!(host.activities().claim_by_name("print", "worker", HOUR).await.unwrap().is_none());
    assert_eq!(host.user_tasks().open(None, None, 9).await.unwrap().rows, []);
    assert_eq!(host.schedules().list(None, 9).await.unwrap().rows, []);
    other.execute("COMMIT").await.unwrap();

    assert_eq!(completed(&host, &ids[1]).await.sum, 5);
    until(async || steps(&host, &ids[0]).await == ["works"]).await;
    go.notify_one();
    assert_eq!(completed(&host, &ids[0]).await.sum, 5);
    host.stop().await.unwrap();
}
