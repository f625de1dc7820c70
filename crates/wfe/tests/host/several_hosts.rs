use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use wfe::{
    Result, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Definition, Retry, WorkflowBuilder, WorkflowName},
    models::WorkflowInstance,
    status::State,
    steps::StepError,
    traits::{
        Claimed, Committed, Control, Fence, Owner, PersistenceProvider, Started, StepCommit, StepStore,
    },
};
use wfe_testkit::{Layer, Layered, VirtualClock};

use crate::support::{Count, Store, Tally, completed, ended, started, until};

const HOUR: Duration = Duration::from_hours(1);
const COUNT: WorkflowName<Tally> = WorkflowName::new("count");

fn counting(runs: &Count) -> Definition<Tally> {
    let runs = runs.clone();
    COUNT
        .define(1)
        .call("count", move |_, _| Ok(u32::try_from(runs.up())?))
        .output(|_, tally| tally.sum += 1)
        .build()
        .unwrap()
}

async fn each_instance_runs_once(store: Store) {
    const EACH: usize = 30;
    let runs = Count::default();
    let definition = counting(&runs);
    let hosts = [store.host(&[&definition]).await, store.host(&[&definition]).await];
    // One that only stores: whoever is first takes what it stored.
    let client = store.builder().await.build();
    client.register(definition.clone()).unwrap();
    let mut ids = Vec::new();
    for _ in 0..EACH {
        for host in [&hosts[0], &hosts[1], &client] {
            ids.push(host.start_workflow("count", &Tally::default()).await.unwrap());
        }
    }
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(completed(&hosts[at % 2], id).await.sum, 1);
    }
    assert_eq!(runs.get(), 3 * EACH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_on_one_provider_run_each_instance_once() {
    each_instance_runs_once(Store::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_on_one_file_run_each_instance_once() {
    each_instance_runs_once(Store::file()).await;
}

/// Fails once, pauses for an hour, then waits to be let go.
fn pausing(runs: &Count, go: &Arc<Notify>) -> Definition<Tally> {
    let (runs, go) = (runs.clone(), go.clone());
    WorkflowBuilder::<Tally>::new("pause", 1)
        .then("pause", async move |ctx, _| {
            runs.up();
            if ctx.attempt() == 1 {
                return Err(StepError::retryable("later"));
            }
            go.notified().await;
            Ok(())
        })
        .output(|(), tally| tally.sum += 1)
        .retry(Retry::every(HOUR).attempts(2))
        .build()
        .unwrap()
}

async fn a_jump_neither_loses_nor_doubles(store: Store) {
    const POLL: Duration = Duration::from_secs(1);
    let (clock, runs, go) = (Arc::new(VirtualClock::default()), Count::default(), Arc::new(Notify::new()));
    let definition = pausing(&runs, &go);
    let builder = store.builder().await.clock(clock.clone()).poll_interval(POLL);
    let host = started(builder.build(), &[&definition]).await;
    let polls = async |clock: &VirtualClock| {
        let (now, second) = (clock.now(), TimeDelta::from_std(POLL).unwrap());
        clock.wait_for(|deadlines| deadlines.first().is_some_and(|first| *first <= now + second)).await;
    };
    let asleep = async |id: &str| {
        until(async || host.status(id).await.unwrap().due > Some(DateTime::UNIX_EPOCH)).await;
    };
    let noon = clock.now();

    // Back: what sleeps until a time sleeps until that time, and what is new begins at once.
    let one = host.start_workflow("pause", &Tally::default()).await.unwrap();
    asleep(&one).await;
    clock.set(noon - TimeDelta::hours(10));
    polls(&clock).await;
    let other = host.start_workflow("pause", &Tally::default()).await.unwrap();
    asleep(&other).await;
    assert_eq!(runs.get(), 2);
    for _ in 0..3 {
        polls(&clock).await;
        clock.advance(POLL);
    }
    assert_eq!(runs.get(), 2, "neither hour is over");

    // Forward, past both: each goes on, once. While they run it goes back again, and they end all the same.
    clock.set(noon + TimeDelta::hours(2));
    clock.advance(POLL);
    until(async || runs.get() == 4).await;
    clock.set(noon - TimeDelta::days(1));
    go.notify_waiters();
    for id in [&one, &other] {
        until(async || {
            go.notify_waiters();
            host.status(id).await.unwrap().state == State::Completed
        })
        .await;
        assert_eq!(completed(&host, id).await.sum, 1);
    }
    polls(&clock).await;
    assert_eq!(runs.get(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_of_the_wall_clock_neither_loses_nor_doubles_anything_in_memory() {
    a_jump_neither_loses_nor_doubles(Store::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_of_the_wall_clock_neither_loses_nor_doubles_anything_on_a_file() {
    a_jump_neither_loses_nor_doubles(Store::file()).await;
}

/// A store that does the first of some calls, but does not know it.
struct Unsure {
    inner: Arc<dyn PersistenceProvider>,
    starts: AtomicBool,
    claims: AtomicBool,
}

impl Unsure {
    fn unless<T>(is_sure: &AtomicBool, answer: T) -> Result<T> {
        if is_sure.swap(true, Ordering::SeqCst) {
            return Ok(answer);
        }
        Err(WfeError::CommitUnknown { message: "injected".to_owned(), source: None })
    }

    fn steps(&self) -> Arc<dyn StepStore> {
        self.inner.clone().step_store().unwrap()
    }
}

#[async_trait]
impl Layer for Unsure {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        Self::unless(&self.starts, self.steps().start(owner, instance).await?)
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        let claimed = self.steps().claim(owner, definitions, as_at, limit).await?;
        if claimed.is_empty() { Ok(claimed) } else { Self::unless(&self.claims, claimed) }
    }
}

/// The host owns the instance then, but does not know that it does.
async fn it_runs_once(store: Store, unsure_of_start: bool) {
    let runs = Count::default();
    let definition = counting(&runs);
    let unsure = Unsure {
        inner: store.provider().await,
        starts: (!unsure_of_start).into(),
        claims: unsure_of_start.into(),
    };
    let builder = WorkflowHost::builder_shared(Arc::new(Layered(unsure)));
    let host = started(builder.poll_interval(Duration::from_millis(20)).build(), &[&definition]).await;
    let other = store.builder().await.build();
    other.register(definition).unwrap();
    let starting = if unsure_of_start { &host } else { &other };
    let start = || starting.workflow(COUNT).start(&Tally::default()).reference("once");
    assert_eq!(matches!(start().await, Err(WfeError::CommitUnknown { .. })), unsure_of_start);
    let started = start().await.unwrap();
    assert_eq!(completed(&host, started.id()).await.sum, 1);
    assert_eq!(runs.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_a_start_of_unknown_outcome_left_to_a_host_runs_all_the_same() {
    it_runs_once(Store::file(), true).await;
    it_runs_once(Store::memory().await, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_a_claim_of_unknown_outcome_left_to_a_host_runs_all_the_same() {
    it_runs_once(Store::file(), false).await;
    it_runs_once(Store::memory().await, false).await;
}

/// A store in which a request arrives just before the commit that gives the instance back, of which it then does not know
/// whether it is stored: it is not.
struct Interrupted {
    inner: Arc<dyn PersistenceProvider>,
    is_over: AtomicBool,
}

#[async_trait]
impl Layer for Interrupted {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let steps = self.inner.clone().step_store().unwrap();
        if step.applied.is_some() && step.release && !self.is_over.swap(true, Ordering::SeqCst) {
            steps.request(&step.instance_id, Control::Terminate).await?;
            return Err(WfeError::CommitUnknown { message: "injected".to_owned(), source: None });
        }
        steps.commit_step(fence, step).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_meets_a_giving_back_of_unknown_outcome_takes_effect() {
    let store = Store::file();
    let clock = Arc::new(VirtualClock::default());
    let (runs, go) = (Count::default(), Arc::new(Notify::new()));
    let first = started(store.builder().await.clock(clock.clone()).build(), &[&pausing(&runs, &go)]).await;
    let id = first.start_workflow("pause", &Tally::default()).await.unwrap();
    until(async || first.status(&id).await.unwrap().due > Some(DateTime::UNIX_EPOCH)).await;
    first.stop().await.unwrap();
    // The request withdraws another one before a host has seen it: its commit does nothing but to clear it, and to give
    // the instance back.
    let asks = store.builder().await.build();
    asks.suspend(&id).await.unwrap();
    asks.resume(&id).await.unwrap();
    let interrupted = Interrupted { inner: store.provider().await, is_over: false.into() };
    let builder = WorkflowHost::builder_shared(Arc::new(Layered(interrupted))).clock(clock);
    let host = started(builder.build(), &[&pausing(&runs, &go)]).await;
    assert_eq!(ended(&host, &id).await, wfe::Outcome::Terminated);
}

/// The host stops, and waits for its step; another process does not want that any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_hears_what_others_ask_of_its_running_steps() {
    let (store, runs) = (Store::file(), Count::default());
    let begun = runs.clone();
    let definition = WorkflowBuilder::<Tally>::new("w", 1)
        .then("a", async move |ctx, _| {
            begun.up();
            ctx.cancellation().cancelled().await;
            Ok(())
        })
        .build()
        .unwrap();
    // Without polls, and with a grace time that no test waits for.
    let builder = store.builder().await.poll_interval(HOUR).grace(HOUR);
    let host = started(builder.build(), &[&definition]).await;
    let id = host.start_workflow("w", &Tally::default()).await.unwrap();
    until(async || runs.get() == 1).await;
    let stopping = host.clone();
    let stopped = tokio::spawn(async move { stopping.stop().await });
    until(async || matches!(host.start().await, Err(WfeError::Closed(_)))).await;
    let other = store.builder().await.build();
    other.terminate(&id).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), stopped).await.expect("it heard").unwrap().unwrap();
    assert_eq!(other.status(&id).await.unwrap().state, State::Terminated);
}
