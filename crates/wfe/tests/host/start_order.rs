//! What a started instance meets in which order, and what its caller may rely on when it has the id. Nothing is polled
//! where time is virtual: what comes in the wrong order is lost there.

use std::time::Duration;

use wfe::{
    Outcome, WfeError, WorkflowHost,
    definition::{Definition, WorkflowBuilder},
    status::State,
};

use crate::support::{
    Count, Gate, Store, Tally, Timed, before_starts, completed, ended, holding_claims, in_time, nothing,
    on_every_native_store, started, until,
};

/// A body that goes on until its token fires.
fn lasting(begun: &Count, told: &Count) -> Definition<Tally> {
    let (begun, told) = (begun.clone(), told.clone());
    WorkflowBuilder::<Tally>::new("lasts", 1)
        .then("body", async move |ctx, _| {
            begun.up();
            ctx.cancellation().cancelled().await;
            told.up();
            Ok(())
        })
        .build()
        .unwrap()
}

fn short() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("short", 1).step("only", nothing()).build().unwrap()
}

in_time! {
    async fn a_request_made_right_after_a_start_reaches_the_instance_that_begins(place: Timed) {
        let host = place.host(&[&lasting(&Count::default(), &Count::default())]).await;
        for _ in 0..30 {
            let id = host.start_workflow("lasts", &Tally::default()).await.unwrap();
            host.terminate(&id).await.unwrap();
            assert_eq!(ended(&host, &id).await, Outcome::Terminated);
        }
    }

    async fn a_host_is_not_idle_between_a_start_and_what_follows_from_it(place: Timed) {
        let host = place.host(&[&short()]).await;
        for _ in 0..30 {
            let id = host.start_workflow("short", &Tally::default()).await.unwrap();
            host.idle().await.unwrap();
            assert_eq!(host.status(&id).await.unwrap().state, State::Completed);
        }
    }

    async fn an_instance_that_is_stored_while_its_host_is_started_is_taken_up(place: Timed) {
        let gate = Gate::default();
        let host = WorkflowHost::builder_shared(before_starts(place.provider().await, &gate))
            .clock(place.clock.clone())
            .poll_interval(Duration::from_hours(100_000))
            .build();
        host.register(short()).unwrap();
        gate.shut();
        let starts = host.clone();
        let starting = tokio::spawn(async move { starts.start_workflow("short", &Tally::default()).await });
        until(async || gate.came.get() == 1).await;
        host.start().await.unwrap();
        host.idle().await.unwrap(); // it has looked for what was stored before
        gate.open();
        completed(&host, &starting.await.unwrap().unwrap()).await;
    }

    async fn whoever_waits_for_an_instance_that_was_just_started_is_answered_without_reading_it(place: Timed) {
        let gate = Gate::default(); // it stays open, and counts
        let provider = before_starts(place.provider().await, &gate);
        let host = WorkflowHost::builder_shared(provider).clock(place.clock.clone()).build();
        let (begun, told) = (Count::default(), Count::default());
        let host = started(host, &[&lasting(&begun, &told)]).await;
        let id = host.start_workflow("lasts", &Tally::default()).await.unwrap();
        let mut end = Box::pin(host.outcome::<Tally>(&id));
        let wait = async { tokio::time::timeout(Duration::from_millis(50), &mut end).await };
        assert!(wait.await.is_err(), "it goes on");
        assert_eq!(gate.loads.get(), 0, "this host works on it: its end comes by itself");
        host.terminate(&id).await.unwrap();
        assert_eq!(end.await.unwrap(), Outcome::Terminated);
    }
}

on_every_native_store! {
    async fn the_grace_time_runs_while_the_engine_waits_for_the_store(store: Store) {
        let (gate, begun, told) = (Gate::default(), Count::default(), Count::default());
        let builder = WorkflowHost::builder_shared(holding_claims(store.provider().await, &gate))
            .poll_interval(Duration::from_millis(20))
            .grace(Duration::from_millis(50));
        let host = started(builder.build(), &[&lasting(&begun, &told)]).await;
        host.start_workflow("lasts", &Tally::default()).await.unwrap();
        until(async || begun.get() == 1).await;
        gate.shut();
        until(async || gate.came.get() == 1).await;
        let stops = host.clone();
        let stop = tokio::spawn(async move { stops.stop().await });
        until(async || told.get() == 1).await;
        assert!(!stop.is_finished());
        gate.open();
        stop.await.unwrap().unwrap();
    }

    async fn callers_that_wait_for_an_end_learn_that_the_host_was_stopped_however_the_two_meet(store: Store) {
        for _ in 0..20 {
            let begun = Count::default();
            let builder = store.builder().await.grace(Duration::from_millis(1));
            let host = started(builder.build(), &[&lasting(&begun, &Count::default())]).await;
            let id = host.start_workflow("lasts", &Tally::default()).await.unwrap();
            until(async || begun.get() > 0).await;
            let waiting: Vec<_> = (0..8)
                .map(|_| {
                    let (host, id) = (host.clone(), id.clone());
                    tokio::spawn(async move { host.outcome::<Tally>(&id).await })
                })
                .collect();
            host.stop().await.unwrap();
            for waits in waiting {
                let answer = tokio::time::timeout(Duration::from_secs(20), waits).await.expect("it is told");
                assert!(matches!(answer.unwrap(), Err(WfeError::Closed(_))));
            }
        }
    }
}
