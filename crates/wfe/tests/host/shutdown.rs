use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use wfe::{
    WfeError,
    definition::{Definition, WorkflowBuilder, inline},
    steps::Ctx,
};

use crate::support::{Count, Store, Tally, Timed, completed, on_every_store, started, until};

/// A step that runs until it is let go, whatever its token says, and one after it.
fn held(go: &Arc<Notify>, runs: &Count, cancelled: &Count) -> Definition {
    let (go, runs, cancelled) = (go.clone(), runs.clone(), cancelled.clone());
    let after = runs.clone();
    WorkflowBuilder::<Tally>::new("held", 1)
        .then(
            "held",
            inline(move |ctx: Ctx, _| {
                let (go, cancelled) = (go.clone(), cancelled.clone());
                runs.up();
                async move {
                    tokio::select! {
                        () = go.notified() => {}
                        () = ctx.cancellation().cancelled() => { cancelled.up(); }
                    }
                    Ok(())
                }
            }),
        )
        .then(
            "after",
            inline(move |_, _: Arc<Tally>| {
                after.up();
                async { Ok(()) }
            }),
        )
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
        let waiter = tokio::spawn(async move { waiting.wait_for::<Tally>(&of).await });
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
