use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;
use wfe::{
    WorkflowHost,
    definition::{Definition, Event, OnFailure, Retry, WorkflowBuilder},
    host::HostBuilder,
    status::{State, Waits},
    steps::StepError,
    traits::StepCommit,
};

use crate::support::{
    Count, Fault, Gate, Store, Tally, after_loads, choosing, completed, crossing, faulty, nothing,
    on_every_native_store, refusing, started, until,
};

/// Adds up its items, some of them at the second attempt; then adds a thousand for each result.
fn adding(runs: &Count) -> Definition<Tally> {
    let runs = runs.clone();
    WorkflowBuilder::<Tally>::new("add", 1)
        .for_each(
            "all",
            |tally| tally.numbers.clone(),
            |body| {
                body.then("add", async move |ctx, _, n| {
                    runs.up();
                    if n == 7 && ctx.attempt() == 1 { Err(StepError::retryable("once")) } else { Ok(n) }
                })
                .retry(Retry::exponential().attempts(2).initial(Duration::from_millis(1)))
                .output(|n, tally, _| tally.sum += n)
            },
        )
        .concurrent(4)
        .then("count", async |ctx, _| {
            let (mut count, mut results) = (0, ctx.results::<u32>("all"));
            while results.next().await?.is_some() {
                count += 1;
            }
            Ok(count)
        })
        .output(|count, tally| tally.sum += 1000 * count)
        .build()
        .unwrap()
}

async fn runs_every_body_once_through(faults: Vec<Fault>) {
    let (store, runs) = (Store::file(), Count::default());
    let provider = faulty(store.provider().await, faults);
    let host = WorkflowHost::builder_shared(provider).poll_interval(Duration::from_millis(20)).build();
    let host = started(host, &[&adding(&runs)]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(host.start_workflow("add", &Tally::of(0..20)).await.unwrap());
    }
    for id in &ids {
        assert_eq!(completed(&host, id).await.sum, 20_190);
    }
    assert_eq!(runs.get(), 3 * 21, "each body ran once, and item 7 once more after its failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_whose_commit_may_or_may_not_be_stored_is_settled_without_running_the_step_again() {
    runs_every_body_once_through(vec![Fault::StoredUnknown, Fault::None]).await;
    runs_every_body_once_through(vec![Fault::UnstoredUnknown, Fault::StoredUnknown, Fault::None]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_kept_while_the_store_is_busy_full_or_broken() {
    runs_every_body_once_through(vec![Fault::Busy, Fault::None, Fault::Full, Fault::Broken, Fault::None])
        .await;
}

on_every_native_store! {
    async fn a_commit_that_the_store_will_never_take_suspends_the_instance(store: Store) {
        let runs = Count::default();
        let provider = faulty(store.provider().await, vec![Fault::None, Fault::Invalid]);
        let host = started(WorkflowHost::builder_shared(provider).build(), &[&adding(&runs)]).await;
        let id = host.start_workflow("add", &Tally::of(0..3)).await.unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
        assert_eq!(host.status(&id).await.unwrap().cause.unwrap().code, StepError::UNSTORABLE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_commits_fail_now_and_then_for_its_waits_goes_on_and_one_that_never_stores_stands_still()
 {
    let store = Store::file();
    let definition = WorkflowBuilder::<Tally>::new("w", 1)
        .while_("rounds", |tally| tally.sum < 12, |round| round.change("step", |tally| tally.sum += 1))
        .build()
        .unwrap();
    let host = async |faults| {
        let provider = faulty(store.provider().await, faults);
        started(WorkflowHost::builder_shared(provider).build(), &[&definition]).await
    };
    let sometimes = host(vec![Fault::None, Fault::Stale]).await;
    let id = sometimes.start_workflow("w", &Tally::default()).await.unwrap();
    assert_eq!(completed(&sometimes, &id).await.sum, 12);
    sometimes.stop().await.unwrap();
    let mut faults = vec![Fault::Stale; 5];
    faults.insert(0, Fault::None); // the first one comes last
    let always = host(faults).await;
    let id = always.start_workflow("w", &Tally::default()).await.unwrap();
    until(async || always.status(&id).await.unwrap().state == State::Suspended).await;
}

/// A slow step beside one whose outcome this store refuses.
fn beside(go: &Arc<Semaphore>, slow: &Count, bad: &Count) -> Definition<Tally> {
    let (go, slow, bad) = (go.clone(), slow.clone(), bad.clone());
    WorkflowBuilder::<Tally>::new("beside", 1)
        .parallel("both", |both| {
            both.branch(|b| {
                b.then("slow", async move |_, _| {
                    slow.up();
                    go.acquire().await?.forget();
                    Ok(())
                })
                .output(|(), tally| tally.sum += 1)
            })
            .branch(|b| {
                b.call("bad", move |_, _| {
                    bad.up();
                    Ok("bad")
                })
            })
        })
        .build()
        .unwrap()
}

on_every_native_store! {
    async fn a_body_at_work_goes_on_when_the_store_refuses_what_another_one_left(store: Store) {
        let go = Arc::new(Semaphore::new(0));
        let (slow, bad, narrow) = (Count::default(), Count::default(), Arc::new(AtomicBool::new(true)));
        let is_narrow = narrow.clone();
        let provider = refusing(store.provider().await, move |commit| {
            let mut pointers = commit.upserted.iter().chain(&commit.finished);
            is_narrow.load(Ordering::SeqCst) && pointers.any(|p| p.outcome == Some("bad".into()))
        });
        let host = started(WorkflowHost::builder_shared(provider).build(), &[&beside(&go, &slow, &bad)]).await;
        let id = host.start_workflow("beside", &Tally::default()).await.unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
        let cause = host.status(&id).await.unwrap().cause.unwrap();
        assert_eq!((cause.step.as_str(), cause.code.as_str()), ("", StepError::UNSTORABLE));
        go.add_permits(1);
        until(async || host.data::<Tally>(&id).await.unwrap().sum == 1).await;
        assert_eq!(host.status(&id).await.unwrap().state, State::Suspended);
        // Still refused: it stands still again, and what is stored stays so.
        host.resume(&id).await.unwrap();
        until(async || bad.get() == 2).await;
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
        narrow.store(false, Ordering::SeqCst);
        host.resume(&id).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 1);
        assert_eq!((slow.get(), bad.get()), (1, 3), "only what the store refused ran again");
    }

    async fn a_wait_that_the_store_refuses_is_the_failure_of_its_step_and_what_finished_before_is_stored(store: Store) {
        let runs = Count::default();
        let provider =
            refusing(store.provider().await, |commit| commit.subscribed.iter().any(|wait| wait.event_key == "3"));
        let counted = runs.clone();
        let definition = WorkflowBuilder::<Tally>::new("waits", 1)
            .for_each("all", |tally| tally.numbers.clone(), |one| {
                one.call("add", move |_, _, n| {
                    counted.up();
                    Ok(*n)
                })
                .output(|n, tally, _| tally.sum += n)
                .wait_for("wait", Event::<u32>::new("e"), |_, n| n.to_string())
                .output(|n, tally, _| tally.sum += 1000 * n)
                .on_failure(OnFailure::Continue)
            })
            .concurrent(8)
            .build()
            .unwrap();
        let host = started(WorkflowHost::builder_shared(provider).build(), &[&definition]).await;
        let id = host.start_workflow("waits", &Tally::of(0..8)).await.unwrap();
        for n in 0..8 {
            host.publish_event("e", &n.to_string(), &1).await.unwrap();
        }
        assert_eq!(completed(&host, &id).await.sum, 7028);
        assert_eq!(runs.get(), 8);
        let mut failures = host.failures(&id);
        let failure = failures.next().await.unwrap().unwrap();
        assert_eq!((failure.step.as_str(), failure.error.execution_pointer_id.as_str()), ("wait", "all/3/wait"));
        assert!(failures.next().await.unwrap().is_none());
    }
}

/// A body that ends when it is let go, beside a wait for the event `e`.
fn held(go: &Arc<Semaphore>, runs: &Count) -> Definition<Tally> {
    let (go, runs) = (go.clone(), runs.clone());
    WorkflowBuilder::<Tally>::new("held", 1)
        .parallel("both", |both| {
            both.branch(|b| {
                b.then("slow", async move |ctx, _| {
                    runs.up();
                    tokio::select! {
                        permit = go.acquire() => permit?.forget(),
                        () = ctx.cancellation().cancelled() => return Err(StepError::fatal("cancelled")),
                    }
                    Ok(())
                })
                .output(|(), tally| tally.sum += 1)
            })
            .branch(|b| b.wait_for("wait", Event::<u32>::new("e"), |_| "k").output(|n, tally| tally.sum += n))
        })
        .build()
        .unwrap()
}

/// The wait of the first commit that takes an event was closed behind the engine's back.
fn stale_once(stale: &Count) -> impl Fn(&StepCommit) -> Fault + Send + Sync + 'static {
    let stale = stale.clone();
    move |commit| {
        if !commit.consumed.is_empty() && stale.up() == 1 { Fault::Stale } else { Fault::None }
    }
}

/// A step during which a disk begins to fail: from then on, no commit is stored, and none is told of.
#[derive(Clone, Default)]
struct FailingDisk {
    fails: Arc<AtomicBool>,
    runs: Count,
    /// When commits came that failed.
    came: Arc<Mutex<Vec<Instant>>>,
}

impl FailingDisk {
    fn definition(&self) -> Definition<Tally> {
        let this = self.clone();
        WorkflowBuilder::<Tally>::new("w", 1)
            .call("step", move |_, _| {
                if this.runs.up() == 1 {
                    this.fails.store(true, Ordering::SeqCst);
                }
                Ok(())
            })
            .output(|(), tally| tally.sum += 1)
            .build()
            .unwrap()
    }

    async fn builder(&self, store: &Store) -> HostBuilder {
        let this = self.clone();
        let provider = choosing(store.provider().await, move |_| {
            if !this.fails.load(Ordering::SeqCst) {
                return Fault::None;
            }
            this.came.lock().unwrap().push(Instant::now());
            Fault::UnstoredUnknown
        });
        WorkflowHost::builder_shared(provider)
    }

    fn mend(&self) {
        self.fails.store(false, Ordering::SeqCst);
    }

    async fn fail(&self, times: usize) {
        until(async || self.came.lock().unwrap().len() >= times).await;
    }
}

on_every_native_store! {
    async fn while_the_disk_fails_in_commits_the_result_is_kept_and_tried_again_after_growing_pauses(store: Store) {
        let disk = FailingDisk::default();
        let host = started(disk.builder(&store).await.build(), &[&disk.definition()]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        disk.fail(6).await;
        disk.mend();
        assert_eq!(completed(&host, &id).await.sum, 1);
        assert_eq!(disk.runs.get(), 1);
        let came = disk.came.lock().unwrap();
        let pauses = Duration::from_millis(5 + 10 + 20 + 40 + 80);
        assert!(came[5] - came[0] >= pauses, "six commits within {:?}", came[5] - came[0]);
    }

    async fn a_host_stops_also_while_the_disk_fails_in_commits(store: Store) {
        let disk = FailingDisk::default();
        let host = disk.builder(&store).await.grace(Duration::from_millis(1)).build();
        let host = started(host, &[&disk.definition()]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        disk.fail(1).await;
        tokio::time::timeout(Duration::from_secs(20), host.stop()).await.expect("it stops").unwrap();
        disk.mend();
        let host = store.host(&[&disk.definition()]).await;
        assert_eq!(completed(&host, &id).await.sum, 1);
    }

    async fn a_body_at_work_goes_on_when_a_wait_beside_it_was_closed_behind_the_engine_s_back(store: Store) {
        let go = Arc::new(Semaphore::new(0));
        let (runs, stale) = (Count::default(), Count::default());
        let provider = choosing(store.provider().await, stale_once(&stale));
        let host = started(WorkflowHost::builder_shared(provider).build(), &[&held(&go, &runs)]).await;
        let id = host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || runs.get() == 1).await;
        host.publish_event("e", "k", &10).await.unwrap();
        until(async || host.data::<Tally>(&id).await.unwrap().sum == 10).await;
        go.add_permits(1);
        assert_eq!(completed(&host, &id).await.sum, 11);
        assert_eq!((runs.get(), stale.get()), (1, 2));
        assert!(host.failures(&id).next().await.unwrap().is_none());
    }

    async fn a_finished_step_does_not_run_again_when_a_wait_beside_it_was_closed_behind_the_engine_s_back(store: Store) {
        let (go, gate) = (Arc::new(Semaphore::new(0)), Gate::default());
        let (runs, stale) = (Count::default(), Count::default());
        let provider = after_loads(choosing(store.provider().await, stale_once(&stale)), &gate);
        let other = WorkflowBuilder::<Tally>::new("other", 1).step("a", nothing()).build().unwrap();
        let host = started(WorkflowHost::builder_shared(provider).build(), &[&held(&go, &runs), &other]).await;
        let id = host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || runs.get() == 1).await;
        // It looks at the store, before the event is there: the event and the body's end wait for it together.
        gate.shut();
        host.suspend(&id).await.unwrap();
        until(async || gate.came.get() == 1).await;
        host.publish_event("e", "k", &10).await.unwrap();
        host.resume(&id).await.unwrap();
        let told = host.start_workflow("other", &Tally::default()).await.unwrap();
        completed(&host, &told).await;
        go.add_permits(1);
        until(async || {
            let status = host.status(&id).await.unwrap();
            let slow = status.positions.iter().find(|at| at.step == "slow").unwrap();
            !matches!(slow.waits, Waits::Running { since: Some(_) })
        })
        .await;
        gate.open();
        assert_eq!(completed(&host, &id).await.sum, 11);
        assert_eq!((runs.get(), stale.get()), (1, 2));
    }

    async fn items_that_were_asked_for_before_the_instance_was_read_again_are_passed_over(store: Store) {
        let (asked, stale) = (Count::default(), Count::default());
        let (is_asked, seen) = (asked.clone(), asked.clone());
        let provider = choosing(crossing(store.provider().await, &asked), move |_| {
            if is_asked.get() > 0 && stale.up() == 1 { Fault::Stale } else { Fault::None }
        });
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .for_each("all", |tally| tally.numbers.clone(), |one| {
                one.then("add", async move |_, _, n| {
                    // Of the first window, only the next one is left: more are asked for.
                    while n >= 64 && seen.get() == 0 {
                        tokio::task::yield_now().await;
                    }
                    Ok(n)
                })
                .output(|n, tally, _| tally.sum += n)
            })
            .concurrent(2)
            .build()
            .unwrap();
        let host = started(WorkflowHost::builder_shared(provider).build(), &[&definition]).await;
        let id = host.start_workflow("w", &Tally::of(0..100)).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 4950);
        assert!(asked.get() >= 2);
    }
}
