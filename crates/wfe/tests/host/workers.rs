//! How workers claim beside their work, and how they end.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{Notify, Semaphore};
use wfe::{
    Outcome, Result, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Activity, Definition, Retry, WorkflowBuilder},
    external_tasks::ActivityCtx,
    host::HostBuilder,
    models::{Event, EventSubscription},
    steps::StepError,
    traits::{PersistenceProvider, StepStore},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{Layer, Layered, VirtualClock};

use crate::{
    external_tasks::{DOUBLE, Gone, LEASE, claim, doubling, start},
    support::{Count, Store, Tally, Timed, completed, ended, in_time, keep_thread, started, until},
};

/// Holds some calls of workers until they are let go.
#[derive(Clone)]
struct Held {
    /// The number of the claim that is held before it reaches the store, and of the one that is held after that.
    claim: usize,
    claimed: usize,
    /// Whether answers are held before they reach the store.
    answers: bool,
    /// Claims, answers and heartbeats that have come.
    claims: Count,
    answered: Count,
    beats: Count,
    go: Arc<Semaphore>,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            claim: 0,
            claimed: 0,
            answers: false,
            claims: Count::default(),
            answered: Count::default(),
            beats: Count::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Held {
    async fn pass(&self) {
        self.go.acquire().await.unwrap().forget();
    }

    async fn host(&self, place: &Timed) -> WorkflowHost {
        let holding = Layered(Holding { inner: place.provider().await, held: self.clone() });
        started(timed(holding, place.clock.clone()).build(), &[&doubling()]).await
    }
}

fn timed(provider: impl PersistenceProvider + 'static, clock: Arc<VirtualClock>) -> HostBuilder {
    WorkflowHost::builder(provider).clock(clock).poll_interval(Duration::from_hours(100_000))
}

struct Holding {
    inner: Arc<dyn PersistenceProvider>,
    held: Held,
}

impl Holding {
    fn steps(&self) -> Arc<dyn StepStore> {
        self.inner.clone().step_store().unwrap()
    }
}

#[async_trait]
impl Layer for Holding {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn claim_wait(
        &self,
        name: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        let number = self.held.claims.up();
        if number == self.held.claim {
            self.held.pass().await;
        }
        let claimed = self.steps().claim_wait(name, token, worker, expiry).await;
        if number == self.held.claimed {
            self.held.pass().await;
        }
        claimed
    }

    async fn answer_wait(&self, wait: &str, token: Option<&str>, event: &Event) -> Result<bool> {
        self.held.answered.up();
        if self.held.answers {
            self.held.pass().await;
        }
        self.steps().answer_wait(wait, token, event).await
    }

    async fn set_subscription_token(
        &self,
        wait: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool> {
        self.held.beats.up();
        self.inner.set_subscription_token(wait, token, worker, expiry).await
    }
}

/// Fails with this error for as many answers as are left.
struct Failing {
    inner: Arc<dyn PersistenceProvider>,
    error: fn() -> WfeError,
    left: Arc<AtomicUsize>,
}

#[async_trait]
impl Layer for Failing {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn answer_wait(&self, wait: &str, token: Option<&str>, event: &Event) -> Result<bool> {
        if self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err((self.error)());
        }
        self.inner.clone().step_store().unwrap().answer_wait(wait, token, event).await
    }
}

/// An answer of which that to 1 panics when it is stored.
struct Answer(u32);

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        assert!(self.0 != 1, "it cannot be written");
        serializer.serialize_u32(2 * self.0)
    }
}

/// A body that waits until it is let go.
#[derive(Clone)]
struct Work {
    begun: Arc<Mutex<Vec<u32>>>,
    /// How many bodies went on, and how many were dropped or have ended.
    done: Count,
    gone: Count,
    /// How many heard that an end is wanted.
    heard: Count,
    go: Arc<Semaphore>,
}

impl Work {
    fn new() -> Self {
        Self {
            begun: Arc::default(),
            done: Count::default(),
            gone: Count::default(),
            heard: Count::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }

    fn begun(&self) -> Vec<u32> {
        self.begun.lock().unwrap().clone()
    }

    /// Lets that many bodies go on.
    fn go(&self, bodies: usize) {
        self.go.add_permits(bodies);
    }

    async fn body(self, n: u32, ctx: ActivityCtx) -> std::result::Result<u32, StepError> {
        let _gone = Gone(self.gone.clone());
        self.begun.lock().unwrap().push(n);
        let heard = self.heard.clone();
        let told = async {
            ctx.stopping().cancelled().await;
            heard.up();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = told => unreachable!(),
            go = self.go.acquire() => go.unwrap().forget(),
        }
        self.done.up();
        Ok(2 * n)
    }
}

/// As [`doubling`], but what fails is not tried again.
fn once() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("double", 1)
        .activity("ask", DOUBLE, |tally| tally.sum)
        .output(|n, tally| tally.sum = n)
        .retry(Retry::never())
        .build()
        .unwrap()
}

/// Starts an instance for each number, and waits until their activities are there.
async fn all(host: &WorkflowHost, numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let mut ids = Vec::new();
    for n in numbers {
        ids.push(start(host, "double", n).await);
        until(async || open(host).await.len() == ids.len()).await;
    }
    ids
}

async fn open(host: &WorkflowHost) -> Vec<wfe::external_tasks::OpenActivity> {
    host.activities().open("double", None, 10).await.unwrap().rows
}

async fn is_free(host: &WorkflowHost) -> bool {
    host.activities().claim_by_name("double", "another", LEASE).await.unwrap().is_some()
}

/// Until the program is told to end; in a test that never ends, it fails.
async fn in_good_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), future).await.expect("it ended in time")
}

in_time! {
    async fn a_claim_that_waits_for_the_store_holds_up_neither_work_nor_heartbeats_nor_answers(place: Timed) {
        let held = Held { claim: 2, ..Held::default() };
        let host = held.host(&place).await;
        let ids = all(&host, [1, 2]).await;
        let work = Work::new();
        let body = work.clone();
        let worker = host.activities().worker(DOUBLE, "w").lease(LEASE).concurrent(2);
        let run = tokio::spawn(worker.run(move |n, ctx| body.clone().body(n, ctx)));
        until(async || held.claims.get() == 2).await;
        until(async || work.begun() == [1]).await;
        place.clock.advance(LEASE / 3);
        until(async || held.beats.get() == 1).await;
        work.go(1);
        assert_eq!(completed(&host, &ids[0]).await.sum, 2);
        held.go.add_permits(1);
        work.go(1);
        assert_eq!(completed(&host, &ids[1]).await.sum, 4);
        assert_eq!(work.begun(), [1, 2]);
        host.stop().await.unwrap();
        run.await.unwrap().unwrap();
    }

    async fn a_claim_whose_lease_has_run_out_when_it_comes_is_given_back_and_not_begun(place: Timed) {
        let held = Held { claimed: 1, ..Held::default() };
        let host = held.host(&place).await;
        let ids = all(&host, [1]).await;
        let work = Work::new();
        let body = work.clone();
        let worker = host.activities().worker(DOUBLE, "w").lease(LEASE);
        let run = tokio::spawn(worker.run(move |n, ctx| body.clone().body(n, ctx)));
        until(async || open(&host).await[0].held.is_some()).await;
        place.clock.advance(LEASE);
        let others = claim(&host, "other").await;
        let before = held.claims.get();
        held.go.add_permits(1);
        until(async || held.claims.get() > before).await; // it looks again
        assert_eq!(work.begun(), [0; 0]);
        others.succeed(&9).await.unwrap();
        assert_eq!(completed(&host, &ids[0]).await.sum, 9);
        assert_eq!(work.begun(), [0; 0]);
        run.abort();
    }

    async fn an_answer_for_which_the_store_was_busy_beyond_the_lease_is_stored_if_nobody_else_has_the_claim(place: Timed) {
        let held = Held { answers: true, ..Held::default() };
        let host = held.host(&place).await;
        let ids = all(&host, [1]).await;
        let (work, body) = (Work::new(), Work::new());
        work.go(2);
        let works = Work { begun: work.begun.clone(), go: work.go.clone(), ..body };
        let worker = host.activities().worker(DOUBLE, "w").lease(LEASE);
        let run = tokio::spawn(worker.run(move |n, ctx| works.clone().body(n, ctx)));
        until(async || held.answered.get() == 1).await;
        place.clock.advance(2 * LEASE);
        held.go.add_permits(2);
        assert_eq!(completed(&host, &ids[0]).await.sum, 2);
        assert_eq!(work.begun(), [1], "its work is not done again");
        run.abort();
    }

    async fn stop_lets_a_worker_finish_what_it_works_on_and_stores_the_answer(place: Timed) {
        for is_started in [true, false] {
            let engine = place.host(&[&doubling()]).await;
            let host = if is_started { engine.clone() } else { place.builder().await.build() };
            let ids = all(&engine, [1, 2]).await;
            let work = Work::new();
            let body = work.clone();
            let worker = host.activities().worker(DOUBLE, "w").lease(LEASE);
            let run = tokio::spawn(worker.run(move |n, ctx| body.clone().body(n, ctx)));
            until(async || work.begun() == [1]).await;
            let stopping = host.clone();
            let stop = tokio::spawn(async move { stopping.stop().await });
            until(async || work.heard.get() == 1).await;
            work.go(2);
            in_good_time(stop).await.unwrap().unwrap();
            assert_eq!(work.done.get(), 1);
            in_good_time(run).await.unwrap().unwrap();
            assert_eq!(work.begun(), [1], "nothing is claimed any more");
            if !is_started {
                engine.stop().await.unwrap();
            }
            let engine = place.host(&[&doubling()]).await;
            assert_eq!(completed(&engine, &ids[0]).await.sum, 2, "started: {is_started}");
            claim(&engine, "next").await.succeed(&7).await.unwrap();
            assert_eq!(completed(&engine, &ids[1]).await.sum, 7);
            engine.stop().await.unwrap();
        }
    }

    async fn what_a_worker_has_not_finished_when_the_grace_time_is_over_goes_to_the_next_at_once(place: Timed) {
        let builder = place.builder().await.grace(Duration::from_millis(10));
        let host = started(builder.build(), &[&doubling()]).await;
        let other = place.host(&[&doubling()]).await;
        let ids = all(&host, [1, 2]).await;
        let work = Work::new();
        let body = work.clone();
        let worker = host.activities().worker(DOUBLE, "w").lease(LEASE).concurrent(2);
        let run = tokio::spawn(worker.run(move |n, ctx| body.clone().body(n, ctx)));
        until(async || work.begun().len() == 2).await;
        in_good_time(host.stop()).await.unwrap();
        assert_eq!((work.heard.get(), work.gone.get(), work.done.get()), (2, 2, 0));
        // Without that any time has passed by the clock of the lease.
        for id in &ids {
            let claim = other.activities().claim_by_name("double", "other", LEASE).await.unwrap();
            claim.expect("it was given back").succeed(&8).await.unwrap();
            assert_eq!(completed(&other, id).await.sum, 8);
        }
        in_good_time(run).await.unwrap().unwrap();
    }

    async fn a_worker_ends_by_a_signal_of_its_own_and_its_host_and_the_others_go_on(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let ids = all(&host, [1, 2]).await;
        let (work, signal) = (Work::new(), Arc::new(Notify::new()));
        let (body, told) = (work.clone(), signal.clone());
        let worker = host.activities().worker(DOUBLE, "w").lease(LEASE);
        let stop = async move { told.notified().await };
        let run = tokio::spawn(worker.run_until(stop, move |n, ctx| body.clone().body(n, ctx)));
        until(async || work.begun() == [1]).await;
        signal.notify_one();
        until(async || work.heard.get() == 1).await;
        work.go(2);
        in_good_time(run).await.unwrap().unwrap();
        assert_eq!(completed(&host, &ids[0]).await.sum, 2);
        assert_eq!(work.begun(), [1]);
        let next = host.activities().worker(DOUBLE, "next");
        let run = tokio::spawn(next.run(async |n, _| Ok(3 * n)));
        assert_eq!(completed(&host, &ids[1]).await.sum, 6);
        host.stop().await.unwrap();
        in_good_time(run).await.unwrap().unwrap();
    }

    async fn a_worker_that_has_a_grace_time_of_its_own_end_gives_back_what_takes_longer(place: Timed) {
        let builder = place.builder().await.grace(Duration::from_millis(10));
        let host = started(builder.build(), &[&doubling()]).await;
        all(&host, [1]).await;
        let (work, signal) = (Work::new(), Arc::new(Notify::new()));
        let (body, told) = (work.clone(), signal.clone());
        let worker = host.activities().worker(DOUBLE, "w").lease(LEASE);
        let stop = async move { told.notified().await };
        let run = tokio::spawn(worker.run_until(stop, move |n, ctx| body.clone().body(n, ctx)));
        until(async || work.begun() == [1]).await;
        signal.notify_one();
        in_good_time(run).await.unwrap().unwrap();
        assert_eq!((work.gone.get(), work.done.get()), (1, 0));
        assert!(is_free(&host).await, "when it has ended, nothing is held");
    }

    async fn a_worker_that_is_dropped_gives_back_at_once_what_it_has_claimed_and_what_it_claims(place: Timed) {
        let held = Held { claimed: 2, ..Held::default() };
        let host = held.host(&place).await;
        all(&host, [1, 2]).await;
        let work = Work::new();
        let body = work.clone();
        let worker = host.activities().worker(DOUBLE, "w").lease(LEASE).concurrent(2);
        let run = tokio::spawn(worker.run(move |n, ctx| body.clone().body(n, ctx)));
        until(async || work.begun() == [1]).await;
        until(async || open(&host).await.iter().all(|open| open.held.is_some())).await;
        run.abort();
        until(async || work.gone.get() == 1).await;
        held.go.add_permits(1);
        until(async || open(&host).await.iter().all(|open| open.held.is_none())).await;
        assert!(is_free(&host).await && is_free(&host).await);
    }

    async fn a_claim_that_comes_when_the_host_stops_is_given_back(place: Timed) {
        let held = Held { claimed: 1, ..Held::default() };
        let (host, other) = (held.host(&place).await, place.host(&[]).await);
        all(&host, [1]).await;
        let work = Work::new();
        let body = work.clone();
        let worker = host.activities().worker(DOUBLE, "w").lease(LEASE);
        let run = tokio::spawn(worker.run(move |n, ctx| body.clone().body(n, ctx)));
        until(async || open(&host).await[0].held.is_some()).await;
        let stopping = host.clone();
        let stop = tokio::spawn(async move { stopping.stop().await });
        until(async || matches!(host.start().await, Err(WfeError::Closed(_)))).await;
        held.go.add_permits(1);
        in_good_time(stop).await.unwrap().unwrap();
        assert_eq!(work.begun(), [0; 0]);
        assert!(is_free(&other).await);
        in_good_time(run).await.unwrap().unwrap();
    }

    async fn a_body_that_hears_of_the_end_may_give_its_activity_back_which_counts_no_attempt(place: Timed) {
        let once = once();
        let (host, other) = (place.host(&[&once]).await, place.host(&[&once]).await);
        let ids = all(&other, [1]).await;
        let begun = Count::default();
        let begins = begun.clone();
        let worker = host.activities().worker(DOUBLE, "w");
        let run = tokio::spawn(worker.run(move |_, ctx| {
            begins.up();
            async move {
                ctx.stopping().cancelled().await;
                Err(ctx.give_back())
            }
        }));
        until(async || begun.get() == 1).await;
        in_good_time(host.stop()).await.unwrap();
        in_good_time(run).await.unwrap().unwrap();
        let claimed = other.activities().claim_by_name("double", "other", LEASE).await.unwrap();
        claimed.expect("it was given back").succeed(&8).await.unwrap();
        assert_eq!(completed(&other, &ids[0]).await.sum, 8);
    }

    async fn an_answer_for_which_the_store_fails_is_stored_again_and_one_that_it_refuses_is_free_after_the_lease(place: Timed) {
        let lasting: [fn() -> WfeError; 2] = [
            || WfeError::Storage { message: "no such disk".to_owned(), source: None },
            || WfeError::Invalid("not this one".to_owned()),
        ];
        for (error, is_refused) in lasting.into_iter().zip([false, true]) {
            let failing = Failing { inner: place.provider().await, error, left: Arc::new(AtomicUsize::new(1)) };
            let left = failing.left.clone();
            let host = started(timed(Layered(failing), place.clock.clone()).build(), &[&doubling()]).await;
            let ids = all(&host, [1]).await;
            let begun = Count::default();
            let begins = begun.clone();
            let worker = host.activities().worker(DOUBLE, "w").lease(LEASE);
            let run = tokio::spawn(worker.run(move |n, _| {
                begins.up();
                async move { Ok(2 * n) }
            }));
            until(async || left.load(SeqCst) == 0).await;
            if is_refused {
                // Another activity is done meanwhile: it has its turn although the older one was refused.
                let next = start(&host, "double", 5).await;
                assert_eq!(completed(&host, &next).await.sum, 10);
                assert_eq!(begun.get(), 2, "the refused one is not done again");
                assert!(open(&host).await[0].held.is_some());
                place.clock.advance(LEASE);
            }
            assert_eq!(completed(&host, &ids[0]).await.sum, 2);
            assert_eq!(begun.get(), if is_refused { 3 } else { 1 });
            host.stop().await.unwrap();
            in_good_time(run).await.unwrap().unwrap();
        }
    }

    async fn an_answer_whose_serialize_panics_is_the_step_s_failure_and_the_worker_goes_on(place: Timed) {
        let host = place.host(&[&once()]).await;
        let worker = host.activities().worker(Activity::<u32, Answer>::new("double"), "w");
        let run = tokio::spawn(worker.run(async |n, _| Ok(Answer(n))));
        let id = start(&host, "double", 1).await;
        let Outcome::Failed(failure) = in_good_time(ended(&host, &id)).await else { panic!() };
        assert_eq!(failure.code, StepError::PANIC);
        let id = start(&host, "double", 2).await;
        assert_eq!(in_good_time(completed(&host, &id)).await.sum, 4);
        host.stop().await.unwrap();
        in_good_time(run).await.unwrap().unwrap();
    }

    async fn a_result_that_is_no_json_is_the_step_s_failure(place: Timed) {
        let host = place.host(&[&doubling()]).await;
        let id = start(&host, "double", 1).await;
        let worker = host.activities().worker(Activity::<u32, f64>::new("double"), "w");
        let run = tokio::spawn(worker.run(async |_, _| Ok(f64::NAN)));
        let Outcome::Failed(failure) = in_good_time(ended(&host, &id)).await else { panic!() };
        assert_eq!(failure.code, StepError::UNSTORABLE);
        host.stop().await.unwrap();
        run.await.unwrap().unwrap();
    }
}

/// Another program holds the file's lock while a worker claims.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_another_process_holds_the_file_a_worker_works_and_begins_nothing_on_a_claim_that_ran_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let clock = Arc::new(VirtualClock::default());
    let provider = SqlitePersistenceProvider::file(&path)
        .clock(clock.clone())
        .busy_timeout(Duration::from_mins(10)) // no machine is so slow
        .open()
        .await
        .unwrap();
    let held = Held { claim: 2, ..Held::default() };
    let holding = Layered(Holding { inner: Arc::new(provider), held: held.clone() });
    let host = started(timed(holding, clock.clone()).build(), &[&doubling()]).await;
    let ids = all(&host, [1, 2, 3]).await;
    let work = Work::new();
    let (body, checks, time) = (work.clone(), host.clone(), clock.clone());
    let worker = host.activities().worker(DOUBLE, "w").lease(LEASE).concurrent(3);
    let run = tokio::spawn(worker.run(move |n, ctx| {
        let (body, host, clock) = (body.clone(), checks.clone(), time.clone());
        async move {
            let open = open(&host).await;
            let mine = open.iter().find(|open| open.id == ctx.activity().id).unwrap();
            assert!(
                mine.held.as_ref().unwrap().until.unwrap() > clock.now(),
                "{n} begins on a claim that ran out"
            );
            body.body(n, ctx).await
        }
    }));
    until(async || held.claims.get() == 2).await;
    let mut other: SqliteConnection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    held.go.add_permits(1); // the second claim waits for the lock
    until(async || work.begun() == [1]).await;
    clock.advance(LEASE / 3);
    until(async || held.beats.get() == 1).await;
    work.go(1);
    until(async || work.done.get() == 1 && held.answered.get() == 1).await;
    clock.advance(LEASE * 2 / 3);
    other.execute("ROLLBACK").await.unwrap();
    work.go(2);
    for (id, n) in ids.iter().zip(1..) {
        assert_eq!(completed(&host, id).await.sum, 2 * n);
    }
    assert_eq!(work.begun(), [1, 2, 3]);
    host.stop().await.unwrap();
    run.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_keeps_its_thread_does_not_keep_the_host_from_stopping_and_keeps_its_claim() {
    let store = Store::file();
    let host = started(store.builder().await.grace(Duration::from_millis(10)).build(), &[&doubling()]).await;
    all(&host, [1]).await;
    let (free, begun) = (Arc::new(AtomicBool::new(false)), Count::default());
    let (is_free_again, begins) = (free.clone(), begun.clone());
    let run = tokio::spawn(host.activities().worker(DOUBLE, "w").run(move |n, _| {
        begins.up();
        keep_thread(|| is_free_again.load(SeqCst));
        async move { Ok(2 * n) }
    }));
    until(async || begun.get() == 1).await;
    in_good_time(host.stop()).await.unwrap();
    assert!(!is_free(&host).await, "its body may still do something");
    free.store(true, SeqCst);
    in_good_time(run).await.unwrap().unwrap();
}
