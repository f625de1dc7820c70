//! The verbs on stores: what the executor wants of them, they give. How each verb behaves is tested with the executor.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use wfe::{
    Outcome,
    clock::Clock,
    definition::{Definition, Event, Retry, WorkflowBuilder, WorkflowName, task},
    models,
    status::State,
    steps::{Next, StepError},
};
use wfe_testkit::VirtualClock;

use crate::support::{
    Store, Tally, completed, ended, nothing, on_every_native_store, on_every_store, started, until,
};

fn undoing() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("undoing", 1)
        .while_(
            "grow",
            |tally| tally.numbers.len() < 3,
            |round| round.change("push", |tally| tally.numbers.push(1)),
        )
        .saga("saga", |saga| {
            saga.for_each(
                "all",
                |tally| tally.numbers.clone(),
                |one| {
                    one.saga("inner", |inner| {
                        inner
                            .then("add", async |_, _, n| Ok(n))
                            .output(|n, tally, _| tally.sum += n)
                            .compensate_with(|undo| {
                                undo.then("subtract", async |ctx, _, n| {
                                    let answered = ctx.compensated().and_then(|step| step.outcome.clone());
                                    if answered == Some(json!(n)) {
                                        Ok(n)
                                    } else {
                                        Err(StepError::fatal("another step"))
                                    }
                                })
                                .output(|n, tally, _| tally.sum -= n)
                            })
                    })
                },
            )
            .concurrent(2)
            .then("fail-once", async |_, tally| {
                if tally.numbers.len() == 3 { Err(StepError::retryable("not yet")) } else { Ok(()) }
            })
            .compensate_with(|undo| undo.step("never", nothing()))
        })
        .fallback(|instead| instead.change("note", |tally| tally.numbers.push(7)))
        .if_(
            "again",
            |tally| tally.numbers.len() < 5,
            |then| then.change("more", |tally| tally.numbers.push(2)).go_to("back", "saga"),
        )
        .build()
        .unwrap()
}

on_every_store! {
    async fn loops_sagas_and_go_tos_run(store: Store) {
        let host = store.host(&[&undoing()]).await;
        let id = host.start_workflow("undoing", &Tally::default()).await.unwrap();
        // The first saga is undone, the second one runs over all five numbers.
        assert_eq!(completed(&host, &id).await, Tally { numbers: vec![1, 1, 1, 7, 2], sum: 13 - 1 });
        host.stop().await.unwrap();
    }

    async fn a_cancelled_instance_undoes_its_open_saga(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .saga("saga", |saga| {
                saga.change("one", |tally| tally.sum += 1)
                    .compensate_with(|undo| undo.change("un-one", |tally| tally.sum += 10))
                    .step("two", nothing())
                    .compensate_with(|undo| undo.change("un-two", |tally| tally.sum *= 3))
                    .then("waits", async |ctx, _| {
                        ctx.cancellation().cancelled().await;
                        Ok(())
                    })
            })
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        until(async || host.status(&id).await.unwrap().current_steps == ["waits"]).await;
        host.cancel(&id).await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Cancelled);
        assert_eq!(host.status(&id).await.unwrap().state, State::Cancelled);
        let stored = store.provider().await.get_workflow_instance(&id).await.unwrap();
        assert_eq!(stored.data, json!({"numbers": [], "sum": 13}));
        host.stop().await.unwrap();
    }
}

/// Waits, and children that wait and fail, on a store that can keep them.
async fn waits_and_children(store: Store) {
    let part = WorkflowBuilder::<Tally>::new("part", 1)
        .wait_for("go", Event::<u32>::new("go"), |tally| tally.sum.to_string())
        .output(|n, tally| tally.sum += n)
        .call(
            "flaky",
            |_, tally| if tally.sum == 100 { Err(StepError::retryable("unlucky")) } else { Ok(()) },
        )
        .build()
        .unwrap();
    let parent = WorkflowBuilder::<Tally>::new("parent", 1)
        .for_each(
            "all",
            |tally| tally.numbers.clone(),
            |one| {
                one.sub_workflow("sub", WorkflowName::new("part"), |_, n| Tally { numbers: vec![], sum: *n })
                    .output(|part, tally, _| tally.sum += part.sum)
                    .retry(Retry::every(Duration::ZERO).attempts(2))
            },
        )
        .concurrent(3)
        .then("hears", async |ctx, _| match ctx.event::<u32>()? {
            None => Ok(Next::wait_for_event(Event::<()>::new("last"), "k")),
            Some(n) => Next::outcome(&n),
        })
        .build()
        .unwrap();
    let host = store.host(&[&parent, &part]).await;
    let provider = store.provider().await;
    let publish = async |name: &str, key: &str, data: u32| {
        provider.create_event(&models::Event::new(name, key, json!(data))).await.unwrap();
    };
    let id = host.start_workflow("parent", &Tally::of([1, 2, 3])).await.unwrap();
    let waits = async |visit: &str, attempt: u32| {
        let child = format!("{id}//all/{visit}/sub//{attempt}");
        until(async || host.status(&child).await.is_ok_and(|status| status.current_steps == ["go"])).await;
    };
    for visit in ["0", "1", "2"] {
        waits(visit, 1).await;
    }
    publish("go", "1", 10).await;
    publish("go", "2", 98).await; // the first child for 2 fails
    publish("go", "3", 30).await;
    waits("1", 2).await;
    publish("go", "2", 20).await;
    publish("last", "k", 7).await;
    assert_eq!(completed(&host, &id).await, Tally { numbers: vec![1, 2, 3], sum: 66 });
    let stored = provider.get_workflow_instance(&id).await.unwrap();
    assert_eq!(stored.execution_pointers[1].outcome, Some(json!(7)));
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_ends_of_children_reach_those_who_wait_in_memory() {
    waits_and_children(Store::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_ends_of_children_reach_those_who_wait_on_a_file() {
    waits_and_children(Store::file()).await;
}

on_every_native_store! {
    /// An attempt has its time from its begin: the second of two steps, which waits for the only slot, loses none of it.
    async fn an_attempt_that_takes_too_long_is_cut_and_tried_again(store: Store) {
        let hour = Duration::from_hours(1);
        let clock = Arc::new(VirtualClock::default());
        let slow = || {
            task::<Tally>()
                .then(async |ctx, _| {
                    if ctx.attempt() == 1 {
                        ctx.cancellation().cancelled().await;
                    }
                    Ok(())
                })
                .output(|(), tally| tally.sum += 1)
                .timeout(hour)
                .retry(Retry::every(Duration::ZERO).attempts(2))
        };
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .parallel("both", |all| all.branch(|b| b.step("a", slow())).branch(|b| b.step("b", slow())))
            .build()
            .unwrap();
        let builder = store.builder().await.clock(clock.clone()).poll_interval(1000 * hour).concurrent_steps(1);
        let host = started(builder.build(), &[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        for _ in 0..2 {
            let next = clock.now() + hour;
            clock.wait_for(|deadlines| deadlines.contains(&next)).await;
            clock.advance(hour);
        }
        assert_eq!(completed(&host, &id).await.sum, 2);
        host.stop().await.unwrap();
    }
}
