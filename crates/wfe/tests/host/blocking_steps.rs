//! Steps that block their thread: what holds for others holds for them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use wfe::{
    Outcome,
    clock::Clock,
    definition::{HasBody, IntoStep, Retry, WorkflowBuilder, task},
    middleware::{Rest, StepDone, StepMiddleware},
    status::Waits,
    steps::{Ctx, StepError},
};

use crate::support::{
    Count, Store, Tally, Timed, completed, ended, in_time, keep_thread, nothing, on_every_store, started,
    until,
};

const HOUR: Duration = Duration::from_hours(1);

/// Does not wait for the step `slow` once it has begun.
struct Hasty(usize, Count);

#[async_trait]
impl StepMiddleware for Hasty {
    async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> Result<StepDone, StepError> {
        if ctx.step_id() != "slow" {
            return rest.run().await;
        }
        let has_begun = async {
            while self.1.get() == self.0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            done = rest.run() => done,
            () = has_begun => Err(StepError::fatal("it takes too long")),
        }
    }
}

/// Blocks until its token is fired at the first attempt, and answers the attempt at any other.
fn patient(begun: &Count, cancelled: &Count) -> impl IntoStep<Tally, Left: HasBody> {
    let (begun, cancelled) = (begun.clone(), cancelled.clone());
    task::<Tally>()
        .blocking(move |ctx, _| {
            begun.up();
            if ctx.attempt() == 1 {
                keep_thread(|| ctx.cancellation().is_cancelled());
                cancelled.up();
            }
            Ok(ctx.attempt())
        })
        .output(|attempt, tally| tally.numbers.push(attempt))
}

struct Notes(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl StepMiddleware for Notes {
    async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> Result<StepDone, StepError> {
        let done = rest.run().await;
        let end = done.as_ref().map_or_else(|error| error.code().to_owned(), |_| "done".to_owned());
        self.0.lock().unwrap().push(format!("{} {end}", ctx.attempt()));
        done
    }
}

on_every_store! {
    async fn a_blocking_step_sees_in_its_token_that_nobody_wants_its_result(store: Store) {
        let (begun, cancelled) = (Count::default(), Count::default());
        let step = patient(&begun, &cancelled);
        let definition = WorkflowBuilder::<Tally>::new("w", 1).step("blocks", step).build().unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        until(async || begun.get() == 1).await;
        host.cancel(&id).await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Cancelled);
        until(async || cancelled.get() == 1).await;
    }

    async fn a_blocking_step_that_panics_has_failed_with_and_without_middleware(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .blocking("blocks", |ctx, _| {
                assert!(ctx.attempt() > 1, "the first attempt");
                Ok(ctx.attempt())
            })
            .output(|n, tally| tally.sum = n)
            .retry(Retry::every(Duration::ZERO).attempts(2))
            .build()
            .unwrap();
        let notes = Arc::new(Mutex::new(Vec::new()));
        for has_middleware in [false, true] {
            let mut builder = store.builder().await;
            if has_middleware {
                builder = builder.step_middleware(Notes(notes.clone()));
            }
            let host = started(builder.build(), &[&definition]).await;
            let id = host.start_workflow("w", &Tally::default()).await.unwrap();
            assert_eq!(completed(&host, &id).await.sum, 2);
            host.stop().await.unwrap();
        }
        assert_eq!(*notes.lock().unwrap(), ["1 panic", "2 done"]);
    }

    async fn a_blocking_step_keeps_its_place_until_it_ends_also_if_nobody_waits_for_it(store: Store) {
        let (begun, open) = (Count::default(), Arc::new(AtomicBool::new(false)));
        let (body_begun, is_open) = (begun.clone(), open.clone());
        let slow = WorkflowBuilder::<Tally>::new("slow", 1)
            .blocking("slow", move |_, _| {
                body_begun.up();
                keep_thread(|| is_open.load(SeqCst));
                Ok(())
            })
            .build()
            .unwrap();
        let other = WorkflowBuilder::<Tally>::new("other", 1).step("a", nothing()).build().unwrap();
        for is_left_by_middleware in [false, true] {
            let count = begun.get();
            open.store(false, SeqCst);
            let mut builder = store.builder().await.concurrent_steps(1);
            if is_left_by_middleware {
                builder = builder.step_middleware(Hasty(count, begun.clone()));
            }
            let host = started(builder.build(), &[&slow, &other]).await;
            let id = host.start_workflow("slow", &Tally::default()).await.unwrap();
            until(async || begun.get() > count).await;
            if !is_left_by_middleware {
                host.terminate(&id).await.unwrap();
            }
            ended(&host, &id).await;
            let id = host.start_workflow("other", &Tally::default()).await.unwrap();
            until(async || {
                let status = host.status(&id).await.unwrap();
                status.positions.iter().any(|position| position.waits == Waits::Slot)
            })
            .await;
            open.store(true, SeqCst);
            completed(&host, &id).await;
            host.stop().await.unwrap();
        }
    }
}

in_time! {
    async fn an_attempt_of_a_blocking_step_that_takes_too_long_is_told_and_the_next_one_counts(place: Timed) {
        let (begun, cancelled) = (Count::default(), Count::default());
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .step("blocks", patient(&begun, &cancelled))
            .timeout(HOUR)
            .retry(Retry::every(Duration::ZERO).attempts(2))
            .build()
            .unwrap();
        let host = place.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        let limit = place.clock.now() + HOUR;
        place.clock.wait_for(|deadlines| deadlines.contains(&limit)).await;
        until(async || begun.get() == 1).await;
        place.clock.set(limit);
        assert_eq!(completed(&host, &id).await.numbers, [2]);
        until(async || cancelled.get() == 1).await;
    }
}
