use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{Barrier, Mutex};
use wfe::definition::{
    OnFailure, WorkflowBuilder, blocking, blocking_item, each, each_from, each_in, inline, inline_item,
};
use wfe::steps::{Ctx, StepError};

use crate::support::{Count, Store, Tally, completed, nothing, on_every_store};

on_every_store! {
    async fn items_of_a_parallel_for_each_really_run_at_once(store: Store) {
        let all_here = Arc::new(Barrier::new(4));
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .for_each("all", each(|tally: &Tally| tally.numbers.clone()).parallel(4), |body| {
                body.then("meet", inline_item(move |_, _, _: u32| {
                    let all_here = all_here.clone();
                    async move { all_here.wait().await; Ok(()) }
                }))
            })
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::of(0..12)).await.unwrap();
        completed(&host, &id).await;
    }

    async fn no_update_of_the_data_is_lost(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .for_each("all", each(|tally: &Tally| tally.numbers.clone()).parallel(16), |body| {
                body.then("add", inline_item(|_, _, n: u32| async move { Ok(n) })
                    .output(|n: &u32, tally: &mut Tally| tally.sum += n))
            })
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
            .for_each("none", each(|_: &Tally| Vec::<u32>::new()), |body| body.then("never", nothing()))
            .for_each("all", each(|tally: &Tally| tally.numbers.clone()), |body| {
                body.then("note", inline_item(move |_, _, n: u32| {
                    let note = note.clone();
                    async move { note.lock().await.push(n); Ok(()) }
                }))
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
            .for_each(
                "all",
                each_from(blocking(|_: &Ctx, tally: &Tally| Ok(tally.numbers.clone()))).parallel(32),
                |body| {
                    body.then("square", blocking_item(|_: &Ctx, _: &Tally, n: u32| {
                        if n == 5 { Err(StepError::fatal("five").with_code("five")) } else { Ok(n * n) }
                    }).on_failure(OnFailure::Continue))
                    .then("last", inline_item(|_, _, n: u32| async move { Ok(n + 1) }))
                },
            )
            .then("add", blocking(|ctx: &Ctx, _: &Tally| {
                let (mut sum, mut results) = (0, ctx.results::<u32>("all"));
                while let Some(one) = results.next_blocking()? {
                    assert_eq!(one.index, u64::from(one.item));
                    assert_eq!(one.result, Ok(Some((one.item + 1).into())));
                    sum += one.item;
                }
                Ok(sum)
            }).output(|sum, tally: &mut Tally| tally.sum = *sum))
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        // More than one page of history (two rows for each item), and more than one window of items.
        let id = host.start_workflow("w", &Tally::of(0..150)).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 11175);
    }

    async fn results_tell_failed_items_from_others(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .for_each("all", each(|tally: &Tally| tally.numbers.clone()).parallel(4), |body| {
                body.then("odd", inline_item(|_, _, n: u32| async move {
                    if n.is_multiple_of(2) { Err(StepError::fatal("even").with_code("even")) } else { Ok(n) }
                }).on_failure(OnFailure::Continue))
            })
            .then("count", inline(|ctx: Ctx, _: Arc<Tally>| async move {
                let (mut by_code, mut results) = (BTreeMap::new(), ctx.results::<u32>("all"));
                while let Some(one) = results.next().await? {
                    let code = one.result.map_or_else(|failure| failure.code, |_| "fine".to_owned());
                    *by_code.entry(code).or_insert(0_u32) += 1;
                }
                assert!(ctx.results::<u32>("none").next().await.is_err());
                Ok(by_code)
            }).output(|by_code: &BTreeMap<String, u32>, tally: &mut Tally| {
                tally.sum = by_code["even"] * 100 + by_code["fine"];
            }))
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
            .for_each("outer", each(|tally: &Tally| tally.numbers.clone()).parallel(3), |outer| {
                outer
                    .then("before", nothing())
                    .for_each("inner", each_in(|_: &Tally, n: &u32| (0..*n).collect()).parallel(2), |inner| {
                        inner.then("leaf", inline_item(move |_, _, n: u32| {
                            count.up();
                            async move { Ok(n) }
                        }).output(|n: &u32, tally: &mut Tally| tally.sum += n))
                    })
                    .then("add-up", inline(|ctx: Ctx, _: Arc<Tally>| async move {
                        let (mut sum, mut results) = (0, ctx.results::<u32>("inner"));
                        while let Some(one) = results.next().await? {
                            sum += one.item;
                        }
                        Ok(sum)
                    }).output(|sum: &u32, tally: &mut Tally| tally.sum += 1000 * sum))
            })
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::of([4, 0, 3, 2])).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 10_010);
        assert_eq!(leaves.get(), 9);
    }
}
