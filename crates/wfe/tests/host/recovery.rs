use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use wfe::{
    definition::{Definition, WorkflowBuilder},
    status::State,
};

use crate::support::{Count, Store, Tally, completed, nothing, on_every_store, until};

/// Ten items, two at once; the body of item 5 hangs while it is told to. Notes the key of each run.
fn hanging(hang: Option<Arc<Notify>>, keys: &Arc<Mutex<Vec<String>>>) -> Definition<Tally> {
    let keys = keys.clone();
    WorkflowBuilder::<Tally>::new("hanging", 1)
        .step("first", nothing())
        .for_each(
            "all",
            |tally| tally.numbers.clone(),
            |body| {
                body.then("add", async move |ctx, _, n| {
                    keys.lock().unwrap().push(ctx.idempotency_key());
                    if let Some(hang) = hang.filter(|_| n == 5) {
                        hang.notify_one();
                        std::future::pending::<()>().await;
                    }
                    Ok(n)
                })
                .output(|n, tally, _| tally.sum += n)
            },
        )
        .concurrent(2)
        .build()
        .unwrap()
}

on_every_store! {
    async fn a_host_that_dies_is_followed_by_one_that_runs_only_what_was_cut_short(store: Store) {
        let (hangs, keys) = (Arc::new(Notify::new()), Arc::default());
        let host = store.host(&[&hanging(Some(hangs.clone()), &keys)]).await;
        let id = host.start_workflow("hanging", &Tally::of(0..10)).await.unwrap();
        hangs.notified().await;
        // The other items go on beside the one that hangs.
        until(async || {
            let steps = host.status(&id).await.unwrap().current_steps;
            steps == ["add"]
        }).await;
        drop(host);
        let host = store.host(&[&hanging(None, &keys)]).await;
        assert_eq!(completed(&host, &id).await.sum, 45);
        let mut keys = keys.lock().unwrap().clone();
        keys.sort();
        let mut expected: Vec<_> = (0..10).map(|n| format!("{id}/all/{n}/add")).collect();
        expected.insert(5, format!("{id}/all/5/add"));
        assert_eq!(keys, expected, "only item 5 ran twice, both times under the same key");
    }

    async fn a_started_host_resumes_everything_that_was_left(store: Store) {
        let (count, gate) = (Count::default(), Arc::new(Notify::new()));
        let definition = |open: bool| {
            let (count, gate) = (count.clone(), gate.clone());
            WorkflowBuilder::<Tally>::new("w", 1)
                .step("a", nothing())
                .then("b", async move |_, _| {
                    count.up();
                    if !open {
                        gate.notified().await;
                    }
                    Ok(())
                })
                .build()
                .unwrap()
        };
        let host = store.host(&[&definition(false)]).await;
        let mut ids = Vec::new();
        for _ in 0..30 {
            ids.push(host.start_workflow("w", &Tally::default()).await.unwrap());
        }
        until(async || count.get() == 30).await;
        drop(host);
        let host = store.host(&[&definition(true)]).await;
        for id in &ids {
            completed(&host, id).await;
        }
        assert_eq!(count.get(), 60);
    }

    async fn the_end_of_an_instance_is_known_after_a_restart(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1).step("a", nothing()).build().unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::of([1])).await.unwrap();
        completed(&host, &id).await;
        host.stop().await.unwrap();
        assert_eq!(completed(&host, &id).await, Tally::of([1]));
        let host = store.host(&[&definition]).await;
        assert_eq!(completed(&host, &id).await, Tally::of([1]));
    }

    async fn an_instance_whose_step_is_gone_is_parked_with_the_reason_until_it_is_back(store: Store) {
        let build = |id: &str| {
            WorkflowBuilder::<Tally>::new("w", 1).step(id, nothing()).build().unwrap()
        };
        let host = store.builder().await.build();
        host.register(build("old")).unwrap();
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        drop(host);
        let host = store.host(&[&build("new")]).await;
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
        let cause = host.status(&id).await.unwrap().cause.unwrap();
        assert_eq!(cause.code, "definition");
        assert!(cause.error.message.contains("step \"old\" is gone"));
        host.stop().await.unwrap();
        let host = store.host(&[&build("old")]).await;
        host.resume(&id).await.unwrap();
        completed(&host, &id).await;
    }
}

on_every_store! {
    async fn an_instance_whose_host_is_dropped_again_and_again_is_never_suspended(store: Store) {
        let begun = Count::default();
        let tell = begun.clone();
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .then("long", move |_, _| {
                tell.up();
                std::future::pending::<Result<(), _>>()
            })
            .build()
            .unwrap();
        let host = store.builder().await.build();
        host.register(definition.clone()).unwrap();
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        drop(host);
        for times in 1..=13 {
            let host = store.host(&[&definition]).await;
            until(async || begun.get() == times).await;
            drop(host);
        }
        let host = store.host(&[&definition]).await;
        until(async || begun.get() == 14).await;
        assert_eq!(host.status(&id).await.unwrap().state, State::Running);
    }
}
