//! What a caller learns who waits for the end of an instance that does not come.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tracing::Level;
use wfe::{
    WfeError, WorkflowHost,
    definition::{Definition, OnFailure, WorkflowBuilder},
    steps::StepError,
};
use wfe_testkit::{TestHost, VirtualClock};

use crate::support::{
    Count, Gate, Missed, Store, Tally, after_loads, completed, ended, nothing, on_every_native_store,
    started, until,
};

fn quick() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("quick", 1).step("a", nothing()).build().unwrap()
}

on_every_native_store! {
    async fn a_wait_without_a_host_that_runs_is_logged_once_and_goes_on(store: Store) {
        Missed::listen();
        let host = store.builder().await.poll_interval(Duration::from_millis(1)).build();
        host.register(quick()).unwrap();
        let id = host.start_workflow("quick", &Tally::default()).await.unwrap();
        let (waits, of) = (host.clone(), id.clone());
        let waiting = tokio::spawn(async move { completed(&waits, &of).await });
        until(async || !Missed::levels(&id).is_empty()).await;
        host.start().await.unwrap();
        waiting.await.unwrap();
        assert_eq!(Missed::levels(&id), [Level::WARN]);
    }

    async fn a_wait_beside_a_host_that_runs_is_not_logged(store: Store) {
        Missed::listen();
        let (go, begun, gate) = (Arc::new(Notify::new()), Count::default(), Gate::default());
        let (wait, counts) = (go.clone(), begun.clone());
        let held = WorkflowBuilder::<Tally>::new("held", 1)
            .then("a", async move |_, _| {
                counts.up();
                wait.notified().await;
                Ok(())
            })
            .build()
            .unwrap();
        let runs = store.host(&[&held]).await;
        let id = runs.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || begun.get() == 1).await;
        let waits = WorkflowHost::builder_shared(after_loads(store.provider().await, &gate))
            .poll_interval(Duration::from_millis(1))
            .build();
        let of = id.clone();
        let waiting = tokio::spawn(async move { ended(&waits, &of).await });
        // It has polled: since the second time, it would be logged.
        until(async || gate.loads.get() > 5).await;
        assert!(Missed::levels(&id).is_empty());
        go.notify_one();
        waiting.await.unwrap();
    }

    async fn a_wait_for_an_instance_that_a_failure_has_suspended_is_logged_once(store: Store) {
        Missed::listen();
        let fails = WorkflowBuilder::<Tally>::new("fails", 1)
            .call("a", |ctx, _| if ctx.attempt() == 1 { Err(StepError::fatal("no paper")) } else { Ok(()) })
            .on_failure(OnFailure::Suspend)
            .build()
            .unwrap();
        let host = started(store.builder().await.build(), &[&fails]).await;
        let id = host.start_workflow("fails", &Tally::default()).await.unwrap();
        let (waits, of) = (host.clone(), id.clone());
        let waiting = tokio::spawn(async move { ended(&waits, &of).await });
        until(async || Missed::messages(&id, "a caller waits") > 0).await;
        host.terminate(&id).await.unwrap();
        waiting.await.unwrap();
        assert_eq!(Missed::messages(&id, "a caller waits"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_test_a_wait_without_a_host_that_runs_is_an_error() {
    let (store, clock) = (Store::file(), Arc::new(VirtualClock::default()));
    let host = WorkflowHost::builder_shared(store.provider().await).clock(clock.clone()).in_test().build();
    host.register(quick()).unwrap();
    let id = host.start_workflow("quick", &Tally::default()).await.unwrap();
    let told = host.outcome::<Tally>(&id).await;
    assert!(matches!(&told, Err(WfeError::Invalid(text)) if text.contains("start the host")), "{told:?}");
    // A test host that was stopped says so.
    let test = TestHost::builder_shared(store.provider().await, clock).define(quick()).start().await.unwrap();
    test.host().stop().await.unwrap();
    let told = test.host().outcome::<Tally>(&id).await;
    assert!(matches!(told, Err(WfeError::Closed(_)) | Ok(_)), "{told:?}");
}
