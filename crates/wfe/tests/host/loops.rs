use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{Barrier, Mutex};
use wfe::{
    definition::{OnFailure, WorkflowBuilder},
    steps::StepError,
};

use crate::support::{Count, Store, Tally, completed, nothing, on_every_store};

on_every_store! {
    async fn items_of_a_parallel_for_each_really_run_at_once(store: Store) {
        let all_here = Arc::new(Barrier::new(4));
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .for_each("all", |tally| tally.numbers.clone(), |body| {
                body.then("meet", async move |_, _, _| {
                    all_here.wait().await;
                    Ok(())
                })
            })
            .concurrent(4)
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::of(0..12)).await.unwrap();
        completed(&host, &id).await;
    }

    async fn no_update_of_the_data_is_lost(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .for_each("all", |tally| tally.numbers.clone(), |body| {
                body.then("add", async |_, _, n| Ok(n)).output(|n, tally, _| tally.sum += n)
            })
            .concurrent(16)
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::of(0..100)).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 4950);
    }

    async fn a_sequential_for_each_keeps_the_order_and_an_empty_one_is_passed(store: Store) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = seen.clone();
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .for_each("none", |_| Vec::<u32>::new(), |body| body.step("never", nothing()))
            .for_each("all", |tally| tally.numbers.clone(), |body| {
                body.then("note", async move |_, _, n| {
                    note.lock().await.push(n);
                    Ok(())
                })
            })
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::of([3, 1, 2])).await.unwrap();
        completed(&host, &id).await;
        assert_eq!(*seen.lock().await, [3, 1, 2]);
    }

    async fn a_later_step_reads_the_results_page_by_page(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .blocking("all", |_, tally| Ok(tally.numbers.clone()))
            .each(|body| {
                body.blocking("square", |_, _, n| {
                    if *n == 5 { Err(StepError::fatal("five").with_code("five")) } else { Ok(n * n) }
                })
                .on_failure(OnFailure::Continue)
                .then("last", async |_, _, n| Ok(n + 1))
            })
            .concurrent(32)
            .blocking("add", |ctx, _| {
                let (mut sum, mut results) = (0, ctx.results::<u32>("all"));
                while let Some(one) = results.next_blocking()? {
                    assert_eq!(one.index, u64::from(one.item));
                    assert_eq!(one.result, Ok(Some((one.item + 1).into())));
                    sum += one.item;
                }
                Ok(sum)
            })
            .output(|sum, tally| tally.sum = sum)
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        // More than one page of history (two rows for each item), and more than one window of items.
        let id = host.start_workflow("w", &Tally::of(0..150)).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 11175);
    }

    async fn results_tell_failed_items_from_others(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .for_each("all", |tally| tally.numbers.clone(), |body| {
                body.then("odd", async |_, _, n| {
                    if n.is_multiple_of(2) { Err(StepError::fatal("even").with_code("even")) } else { Ok(n) }
                })
                .on_failure(OnFailure::Continue)
            })
            .concurrent(4)
            .then("count", async |ctx, _| {
                let (mut by_code, mut results) = (BTreeMap::new(), ctx.results::<u32>("all"));
                while let Some(one) = results.next().await? {
                    let code = one.result.map_or_else(|failure| failure.code, |_| "fine".to_owned());
                    *by_code.entry(code).or_insert(0_u32) += 1;
                }
                assert!(ctx.results::<u32>("none").next().await.is_err());
                Ok(by_code)
            })
            .output(|by_code, tally| tally.sum = by_code["even"] * 100 + by_code["fine"])
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::of(0..7)).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 403);
    }

    async fn for_eaches_stand_inside_one_another(store: Store) {
        let leaves = Count::default();
        let count = leaves.clone();
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .for_each("outer", |tally| tally.numbers.clone(), |outer| {
                outer
                    .step("before", nothing())
                    .for_each("inner", |_, n| (0..*n).collect(), |inner| {
                        inner
                            .then("leaf", async move |_, _, n| {
                                count.up();
                                Ok(n)
                            })
                            .output(|n, tally, _| tally.sum += n)
                    })
                    .concurrent(2)
                    .then("add-up", async |ctx, _, _| {
                        let (mut sum, mut results) = (0, ctx.results::<u32>("inner"));
                        while let Some(one) = results.next().await? {
                            sum += one.item;
                        }
                        Ok(sum)
                    })
                    .output(|sum, tally, _| tally.sum += 1000 * sum)
            })
            .concurrent(3)
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::of([4, 0, 3, 2])).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 10_010);
        assert_eq!(leaves.get(), 9);
    }
}
