use std::{sync::Arc, time::Duration};

use wfe::{
    WorkflowHost,
    definition::{Definition, Retry, WorkflowBuilder, each, inline, inline_item},
    models::WorkflowStatus,
    steps::{Ctx, StepError},
};

use crate::support::{Count, Fault, Store, Tally, completed, faulty, started, until};

/// Adds up its items, some of them at the second attempt; then adds a thousand for each result.
fn adding(runs: &Count) -> Definition {
    let runs = runs.clone();
    WorkflowBuilder::<Tally>::new("add", 1)
        .for_each("all", each(|tally: &Tally| tally.numbers.clone()).parallel(4), |body| {
            body.then(
                "add",
                inline_item(move |ctx: Ctx, _, n: u32| {
                    runs.up();
                    async move {
                        if n == 7 && ctx.attempt() == 1 { Err(StepError::retryable("once")) } else { Ok(n) }
                    }
                })
                .retry(Retry::up_to(1).first_pause(Duration::from_millis(1)))
                .output(|n: &u32, tally: &mut Tally| tally.sum += n),
            )
        })
        .then(
            "count",
            inline(|ctx: Ctx, _: Arc<Tally>| async move {
                let (mut count, mut results) = (0, ctx.results::<u32>("all"));
                while results.next().await?.is_some() {
                    count += 1;
                }
                Ok(count)
            })
            .output(|count: &u32, tally: &mut Tally| tally.sum += 1000 * count),
        )
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_store_will_never_take_suspends_the_instance() {
    let (store, runs) = (Store::file(), Count::default());
    let provider = faulty(store.provider().await, vec![Fault::None, Fault::Invalid]);
    let host = started(WorkflowHost::builder_shared(provider).build(), &[&adding(&runs)]).await;
    let id = host.start_workflow("add", &Tally::of(0..3)).await.unwrap();
    until(async || host.status(&id).await.unwrap().status == WorkflowStatus::Suspended).await;
    assert_eq!(host.status(&id).await.unwrap().cause.unwrap().code, StepError::UNSTORABLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_commits_fail_now_and_then_for_its_waits_goes_on_and_one_that_never_stores_stands_still()
 {
    let store = Store::file();
    let step = || inline(|_, _: Arc<Tally>| async { Ok(()) }).output(|(), tally: &mut Tally| tally.sum += 1);
    let definition = WorkflowBuilder::<Tally>::new("w", 1)
        .while_("rounds", |tally, ()| tally.sum < 12, |round| round.then("step", step()))
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
    until(async || always.status(&id).await.unwrap().status == WorkflowStatus::Suspended).await;
}
