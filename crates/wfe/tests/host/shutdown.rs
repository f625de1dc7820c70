use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::Notify;
use wfe::{
    WfeError,
    definition::{Activity, Definition, Event, WorkflowBuilder},
    steps::StepError,
};

use crate::support::{Count, Store, Tally, Timed, completed, keep_thread, on_every_store, started, until};

/// A step that runs until it is let go, whatever its token says, and one after it.
fn held(go: &Arc<Notify>, runs: &Count, cancelled: &Count) -> Definition<Tally> {
    let (go, runs, cancelled) = (go.clone(), runs.clone(), cancelled.clone());
    let after = runs.clone();
    WorkflowBuilder::<Tally>::new("held", 1)
        .then("held", async move |ctx, _| {
            runs.up();
            tokio::select! {
                () = go.notified() => {}
                () = ctx.cancellation().cancelled() => { cancelled.up(); }
            }
            Ok(())
        })
        .call("after", move |_, _| {
            after.up();
            Ok(())
        })
        .build()
        .unwrap()
}

on_every_store! {
    async fn stop_waits_for_running_steps_stores_them_and_leaves_the_rest_for_the_next_start(store: Store) {
        let (go, runs, cancelled) = (Arc::new(Notify::new()), Count::default(), Count::default());
        let definition = held(&go, &runs, &cancelled);
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || runs.get() == 1).await;
        let (stopping, waiting) = (host.clone(), host.clone());
        let stopped = tokio::spawn(async move { stopping.stop().await });
        let of = id.clone();
        let waiter = tokio::spawn(async move { waiting.outcome::<Tally>(&of).await });
        until(async || matches!(host.start().await, Err(WfeError::Closed(_)))).await;
        go.notify_one();
        stopped.await.unwrap().unwrap();
        assert!(matches!(waiter.await.unwrap(), Err(WfeError::Closed(_))));
        assert_eq!(host.status(&id).await.unwrap().current_steps, ["after"]);
        assert_eq!((runs.get(), cancelled.get()), (1, 0));
        let host = store.host(&[&definition]).await;
        completed(&host, &id).await;
        assert_eq!(runs.get(), 2);
    }

    async fn a_step_that_outlasts_the_grace_time_is_told_and_left_and_runs_again_later(store: Store) {
        let (go, runs, cancelled) = (Arc::new(Notify::new()), Count::default(), Count::default());
        let definition = held(&go, &runs, &cancelled);
        let host = store.builder().await.grace(Duration::from_millis(10)).build();
        let host = started(host, &[&definition]).await;
        let id = host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || runs.get() == 1).await;
        host.stop().await.unwrap();
        until(async || cancelled.get() == 1).await;
        let host = store.host(&[&definition]).await;
        until(async || runs.get() == 2).await;
        go.notify_one();
        completed(&host, &id).await;
    }

    async fn a_host_that_is_dropped_tells_its_running_steps(store: Store) {
        let (go, runs, cancelled) = (Arc::new(Notify::new()), Count::default(), Count::default());
        let host = store.host(&[&held(&go, &runs, &cancelled)]).await;
        host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || runs.get() == 1).await;
        drop(host);
        until(async || cancelled.get() == 1).await;
    }
}

/// A step that keeps its thread until it is let go, and answers which run it was.
fn keeping(open: &Arc<AtomicBool>, runs: &Count, is_blocking: bool) -> Definition<Tally> {
    let (open, runs) = (open.clone(), runs.clone());
    let keep = move || -> Result<u32, StepError> {
        let run = runs.up();
        keep_thread(|| open.load(SeqCst));
        Ok(u32::try_from(run)?)
    };
    let builder = WorkflowBuilder::<Tally>::new("keep", 1);
    let builder = if is_blocking {
        builder.blocking("keep", move |_, _| keep())
    } else {
        builder.then("keep", async move |_, _| keep())
    };
    builder.output(|run, tally| tally.numbers.push(run)).build().unwrap()
}

on_every_store! {
    async fn a_step_that_keeps_its_thread_beyond_the_grace_time_is_left_and_its_result_is_void(store: Store) {
        for is_blocking in [true, false] {
            let (open, runs) = (Arc::new(AtomicBool::new(false)), Count::default());
            let definition = keeping(&open, &runs, is_blocking);
            let host = store.builder().await.grace(Duration::from_millis(10)).build();
            let host = started(host, &[&definition]).await;
            let id = host.start_workflow("keep", &Tally::default()).await.unwrap();
            until(async || runs.get() == 1).await;
            host.stop().await.unwrap();
            open.store(true, SeqCst);
            assert_eq!(host.status(&id).await.unwrap().current_steps, ["keep"], "blocking: {is_blocking}");
            let host = store.host(&[&definition]).await;
            assert_eq!(completed(&host, &id).await.numbers, [2], "blocking: {is_blocking}");
            host.stop().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grace_time_is_over_whatever_the_hosts_clock_says() {
    let (go, runs, cancelled) = (Arc::new(Notify::new()), Count::default(), Count::default());
    let place = Timed::memory().await;
    let builder = place.builder().await.grace(Duration::from_millis(10));
    let host = started(builder.build(), &[&held(&go, &runs, &cancelled)]).await;
    host.start_workflow("held", &Tally::default()).await.unwrap();
    until(async || runs.get() == 1).await;
    let stopped = tokio::time::timeout(Duration::from_secs(20), host.stop());
    stopped.await.expect("nobody has to move the clock").unwrap();
    until(async || cancelled.get() == 1).await;
}

/// As a static host has it that each test of a program uses from a runtime of its own.
#[test]
fn a_host_whose_runtime_is_gone_has_ended_and_says_so_and_another_one_goes_on() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (go, runs, cancelled) = (Arc::new(Notify::new()), Count::default(), Count::default());
    let (store, definition) = (Store::file(), held(&go, &runs, &cancelled));
    let (host, id) = first.block_on(async {
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || runs.get() == 1).await;
        (host, id)
    });
    drop(first);
    second.block_on(async {
        let limit = Duration::from_secs(20);
        let idle = tokio::time::timeout(limit, host.idle()).await.expect("it is told");
        assert!(matches!(idle, Err(WfeError::Closed(_))), "{idle:?}");
        let end = tokio::time::timeout(limit, host.outcome::<Tally>(&id)).await.expect("it is told");
        assert!(matches!(end, Err(WfeError::Closed(_))), "{end:?}");
        let begun = host.start_workflow("held", &Tally::default()).await;
        assert!(matches!(begun, Err(WfeError::Closed(_))), "{begun:?}");
        assert!(matches!(host.start().await, Err(WfeError::Closed(_))));
        let worker = host.activities().worker(Activity::new("w"), "who").run(async |_: u8, _| Ok(1));
        tokio::time::timeout(limit, worker).await.expect("it ends").unwrap();
        assert_eq!(
            host.status(&id).await.unwrap().current_steps,
            ["held"],
            "what is stored can be asked for"
        );
        let host_of_second = store.host(&[&definition]).await;
        until(async || runs.get() == 2).await;
        go.notify_one();
        completed(&host_of_second, &id).await;
        assert_eq!(host.outcome::<Tally>(&id).await.unwrap(), wfe::Outcome::Completed(Tally::default()));
        assert!(matches!(host.stop().await, Err(WfeError::Closed(_))));
    });
}

/// A caller whose wait the end of the engine has broken off looks whether the host has ended: it has by then.
#[test]
fn callers_that_wait_for_an_end_learn_that_the_host_has_ended_by_itself_whenever_it_does() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let second = runtime();
    for _ in 0..20 {
        let (first, store) = (runtime(), Store::file());
        let (host, id) = first.block_on(async {
            let waits = WorkflowBuilder::<Tally>::new("waits", 1)
                .wait_for("wait", Event::<()>::new("never"), |_| "k")
                .output(|(), _| {})
                .build()
                .unwrap();
            let host = store.host(&[&waits]).await;
            let id = host.start_workflow("waits", &Tally::default()).await.unwrap();
            host.idle().await.unwrap(); // nothing works on it: no end of work ends the wait
            (host, id)
        });
        let ends = std::thread::spawn(move || drop(first));
        second.block_on(async {
            let waits = futures_util::future::join_all((0..8).map(|_| host.outcome::<Tally>(&id)));
            let ended =
                tokio::time::timeout(Duration::from_secs(20), waits).await.expect("none goes on waiting");
            assert!(ended.iter().all(|end| matches!(end, Err(WfeError::Closed(_)))), "{ended:?}");
        });
        ends.join().unwrap();
    }
}
