//! Clocks that show a time which no store can hold.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeZone, Utc};
use wfe::{
    Result, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Definition, WorkflowBuilder},
    host::HostBuilder,
    schedules::{NewSchedule, Timetable},
    status::State,
    traits::{Claimed, Committed, Fence, Owner, PersistenceProvider, StepCommit, StepStore},
};
use wfe_testkit::{Layer, Layered, VirtualClock};

use crate::support::{Count, Tally, Timed, completed, in_time, nothing, started, until};

/// Counts the claims and commits that a host tries.
struct Counted {
    inner: Arc<dyn PersistenceProvider>,
    calls: Arc<AtomicUsize>,
}

impl Counted {
    fn steps(&self) -> Arc<dyn StepStore> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.inner.clone().step_store().unwrap()
    }
}

#[async_trait]
impl Layer for Counted {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        self.steps().commit_step(fence, step).await
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        self.steps().claim(owner, definitions, as_at, limit).await
    }
}

/// A host on this place that polls each second, and how often it has tried to claim or to commit.
async fn counted(place: &Timed) -> (HostBuilder, Arc<AtomicUsize>) {
    let calls = Arc::default();
    let provider = Arc::new(Layered(Counted { inner: place.provider().await, calls: Arc::clone(&calls) }));
    let builder = WorkflowHost::builder_shared(provider).clock(place.clock.clone());
    (builder.poll_interval(Duration::from_secs(1)), calls)
}

/// A clock that counts how often it was read while it showed a time that cannot be stored.
struct Watched {
    clock: Arc<VirtualClock>,
    read_beyond: Arc<AtomicUsize>,
}

impl Clock for Watched {
    fn now(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        if now >= beyond() {
            self.read_beyond.fetch_add(1, Ordering::SeqCst);
        }
        now
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.clock.sleep(pause)
    }

    fn sleep_until(&self, deadline: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.clock.sleep_until(deadline)
    }
}

fn beyond() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2300, 1, 1, 0, 0, 0).unwrap()
}

fn sleepy() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("sleepy", 1)
        .step("first", nothing())
        .delay("sleep", |_| Duration::from_hours(1))
        .step("last", nothing())
        .build()
        .unwrap()
}

/// One step, which counts its runs; while it does, somebody sets the clock.
fn set_while_it_runs(runs: &Count, clock: &Arc<VirtualClock>) -> Definition<Tally> {
    let (runs, clock) = (runs.clone(), clock.clone());
    WorkflowBuilder::<Tally>::new("set", 1)
        .call("run", move |_, _| {
            runs.up();
            clock.set(beyond());
            Ok(())
        })
        .step("last", nothing())
        .build()
        .unwrap()
}

in_time! {
    async fn beyond_the_last_storable_time_nothing_is_claimed_and_the_first_poll_afterwards_goes_on(place: Timed) {
        let host = place.host(&[&sleepy()]).await;
        let id = host.start_workflow("sleepy", &Tally::default()).await.unwrap();
        assert!(host.idle().await.unwrap().next.is_some());
        host.stop().await.unwrap();
        let real = place.clock.now();
        place.clock.set(beyond());
        let (builder, calls) = counted(&place).await;
        let host = started(builder.build(), &[&sleepy()]).await;
        let refused = host.start_workflow("sleepy", &Tally::default()).await;
        assert!(matches!(refused, Err(WfeError::Unstorable { .. })), "{refused:?}");
        let hourly = Timetable::interval(Duration::from_hours(1));
        let refused = host.schedules().create(NewSchedule::new("s", "sleepy", hourly), &Tally::default()).await;
        assert!(
            matches!(&refused, Err(WfeError::Unstorable { what, .. }) if what.contains("clock")),
            "{refused:?}"
        );
        for _ in 0..3 {
            place.clock.advance(Duration::from_secs(1));
            host.idle().await.unwrap();
        }
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        assert_eq!(host.status(&id).await.unwrap().state, State::Running);
        place.clock.set(real + Duration::from_hours(1));
        place.clock.advance(Duration::from_secs(1));
        completed(&host, &id).await;
        host.stop().await.unwrap();
    }

    async fn what_runs_when_the_clock_leaves_the_storable_range_is_stored_once_it_is_back(place: Timed) {
        let (runs, read_beyond) = (Count::default(), Arc::default());
        let clock = Arc::new(Watched { clock: place.clock.clone(), read_beyond: Arc::clone(&read_beyond) });
        let host = place.builder().await.clock(clock).build();
        let (host, real) = (started(host, &[&set_while_it_runs(&runs, &place.clock)]).await, place.clock.now());
        let id = host.start_workflow("set", &Tally::default()).await.unwrap();
        // By then it has looked at the clock several times in vain.
        until(async || read_beyond.load(Ordering::SeqCst) >= 8).await;
        assert_eq!(host.status(&id).await.unwrap().state, State::Running);
        place.clock.set(real);
        completed(&host, &id).await;
        assert_eq!(runs.get(), 1, "the step that had finished is not run again");
        assert!(host.failures(&id).all().await.unwrap().is_empty());
        host.stop().await.unwrap();
    }

    async fn a_clock_that_is_set_back_before_1970_under_a_host_stops_nothing_for_good(place: Timed) {
        let host = place.host(&[&sleepy()]).await;
        let id = host.start_workflow("sleepy", &Tally::default()).await.unwrap();
        assert!(host.idle().await.unwrap().next.is_some());
        let real = place.clock.now();
        place.clock.set(DateTime::UNIX_EPOCH - Duration::from_mins(90));
        let past = host.start_workflow("sleepy", &Tally::default()).await.unwrap();
        host.idle().await.unwrap();
        host.publish_event("e", "k", &1).await.unwrap();
        // Times go on as ever, across 1970 too.
        place.clock.advance(Duration::from_hours(2));
        completed(&host, &past).await;
        // Before all that can be stored.
        place.clock.set(Utc.with_ymd_and_hms(1500, 1, 1, 0, 0, 0).unwrap());
        let refused = host.start_workflow("sleepy", &Tally::default()).await;
        assert!(matches!(refused, Err(WfeError::Unstorable { .. })), "{refused:?}");
        let refused = host.publish_event("e", "k", &1).await;
        assert!(matches!(refused, Err(WfeError::Unstorable { .. })), "{refused:?}");
        place.clock.advance(Duration::from_mins(1));
        host.idle().await.unwrap();
        assert_eq!(host.status(&id).await.unwrap().state, State::Running);
        place.clock.set(real + Duration::from_hours(1));
        place.clock.advance(Duration::from_mins(1));
        completed(&host, &id).await;
        host.stop().await.unwrap();
    }
}
