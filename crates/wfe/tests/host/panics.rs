//! Types of the user's whose own code panics: that is a failure of the step that they come from, and of nothing else.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use wfe::{
    WorkflowHost,
    definition::{Activity, Definition, OnFailure, Retry, WorkflowBuilder},
    middleware::{Rest, StepDone, StepMiddleware},
    steps::{Ctx, StepError},
};

use crate::support::{Count, Store, Tally, completed, on_every_store, started, until};

const WORK: Activity<(), u32> = Activity::new("work");

/// An error that cannot be told.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Unspeakable {}

impl Drop for Unspeakable {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "not without a word");
    }
}

/// Fails the first attempt of the step `guarded`, whose body ends well.
struct Guard;

#[async_trait]
impl StepMiddleware for Guard {
    async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> Result<StepDone, StepError> {
        let done = rest.run().await;
        if ctx.step_id() == "guarded" && ctx.attempt() == 1 {
            return Err(StepError::retryable(Unspeakable).with_code("mine"));
        }
        done
    }
}

fn once_more() -> Retry {
    Retry::every(Duration::ZERO).attempts(2)
}

/// Fails in each way, and goes on.
fn failing() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("failing", 1)
        .then("async", async |ctx, _| {
            if ctx.attempt() == 1 { Err(StepError::retryable(Unspeakable).with_code("mine")) } else { Ok(()) }
        })
        .retry(once_more())
        .blocking("blocking", |ctx, _| {
            if ctx.attempt() == 1 { Err(StepError::retryable(Unspeakable).with_code("mine")) } else { Ok(()) }
        })
        .retry(once_more())
        .then("guarded", async |_, _| Ok(()))
        .retry(once_more())
        .then("asked", async |_, _| Err::<(), _>(StepError::retryable(Unspeakable).with_code("mine")))
        .retry(once_more().only_if(|error| error.to_string().is_empty()))
        .on_failure(OnFailure::Continue)
        .activity("worked", WORK, |_| ())
        .output(|sum, tally| tally.sum = sum)
        .retry(once_more())
        .build()
        .unwrap()
}

on_every_store! {
    async fn an_error_that_panics_when_it_is_displayed_or_dropped_fails_its_step_and_nothing_else(store: Store) {
        if let Store::Plain(_) = store {
            return; // workers need events
        }
        let builder = store.builder().await.step_middleware(Guard);
        let host: WorkflowHost = started(builder.build(), &[&failing()]).await;
        let id = host.start_workflow("failing", &Tally::default()).await.unwrap();
        let attempts = Count::default();
        let worker = host.activities().worker(WORK, "w").run(|(), _| {
            let attempt = attempts.up();
            async move { if attempt == 1 { Err(StepError::retryable(Unspeakable).with_code("mine")) } else { Ok(7) } }
        });
        let ended = async {
            assert_eq!(completed(&host, &id).await.sum, 7);
        };
        tokio::select! {
            () = ended => {}
            over = worker => panic!("the worker ended: {over:?}"),
        }
        let (mut failures, mut told) = (host.failures(&id), Vec::new());
        while let Some(failure) = failures.next().await.unwrap() {
            assert_eq!(failure.code, StepError::PANIC);
            assert_eq!(failure.causes, ["the error's `Display` or `source` panicked: no words"]);
            told.push(failure.step);
        }
        assert_eq!(told, ["async", "blocking", "guarded", "asked", "worked"]);
        // The host is in good health.
        let next = host.start_workflow("failing", &Tally::default()).await.unwrap();
        until(async || !host.activities().open("work", None, 9).await.unwrap().rows.is_empty()).await;
        host.terminate(&next).await.unwrap();
        host.stop().await.unwrap();
    }
}
