//! Middleware, and the spans that tell of steps.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::{Notify, broadcast::error::RecvError};
use wfe::{
    Outcome, Result, WfeError,
    definition::{Definition, Retry, WorkflowBuilder, WorkflowName},
    middleware::{Rest, StepDone, StepMiddleware, WorkflowEnd, WorkflowMiddleware, WorkflowStart},
    steps::{Ctx, StepError},
    traits::Ending,
};

use crate::support::{Count, Store, Tally, completed, ended, on_every_store, started, until};

type Log = Arc<Mutex<Vec<String>>>;

/// Notes what it sees; refuses the step `refused`, panics at `panics`, eats the failure of none.
struct Notes(&'static str, Log);

#[async_trait]
impl StepMiddleware for Notes {
    async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> std::result::Result<StepDone, StepError> {
        let Self(name, log) = self;
        log.lock().unwrap().push(format!("{name} before {} {}", ctx.step_id(), ctx.attempt()));
        match ctx.step_id() {
            "refused" => return Err(StepError::fatal("not here").with_code("refused")),
            "panics" => panic!("no {}", ctx.step_id()),
            _ => {}
        }
        let done = rest.run().await;
        log.lock().unwrap().push(format!("{name} after {} {}", ctx.step_id(), done.is_ok()));
        done
    }
}

#[async_trait]
impl WorkflowMiddleware for Notes {
    async fn starting(&self, start: &WorkflowStart<'_>) -> Result<()> {
        let Self(name, log) = self;
        log.lock().unwrap().push(format!("{name} starts {} {}", start.definition_id, start.data["sum"]));
        match start.reference {
            Some("refused") => Err(WfeError::Invalid("not this one".to_owned())),
            Some("panics") => panic!("not this one"),
            _ => Ok(()),
        }
    }

    async fn ended(&self, end: &WorkflowEnd) {
        let Self(name, log) = self;
        log.lock()
            .unwrap()
            .push(format!("{name} ends {} {:?} {}", end.definition_id, end.ending, end.data["sum"]));
        assert_ne!(end.ending, Ending::Terminated, "somebody ended it");
    }
}

fn one_step(id: &str, runs: &Count) -> Definition<Tally> {
    let runs = runs.clone();
    WorkflowBuilder::<Tally>::new(id, 1)
        .then(id, async move |ctx, _| {
            runs.up();
            if ctx.attempt() == 1 { Err(StepError::retryable("once more")) } else { Ok(7) }
        })
        .output(|n, tally| tally.sum = n)
        .retry(Retry::every(Duration::ZERO).attempts(2))
        .build()
        .unwrap()
}

on_every_store! {
    async fn step_middleware_runs_around_each_attempt_the_first_one_outermost(store: Store) {
        let (log, runs) = (Log::default(), Count::default());
        let blocks = WorkflowBuilder::<Tally>::new("blocks", 1)
            .blocking("blocks", |_, _| Ok(3))
            .output(|n, tally| tally.sum = n)
            .build()
            .unwrap();
        let builder = store.builder().await;
        let builder = builder.step_middleware(Notes("out", log.clone())).step_middleware(Notes("in", log.clone()));
        let host = started(builder.build(), &[&one_step("w", &runs), &blocks]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 7);
        let all = ["out before w 1", "in before w 1", "in after w false", "out after w false",
            "out before w 2", "in before w 2", "in after w true", "out after w true"];
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), all);
        let id = host.start_workflow("blocks", &Tally::default()).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 3);
        assert_eq!(log.lock().unwrap().len(), 4);
    }

    async fn step_middleware_can_refuse_and_its_panic_is_a_failure_of_the_step_alone(store: Store) {
        let (log, runs) = (Log::default(), Count::default());
        let builder = store.builder().await.step_middleware(Notes("m", log));
        let [refused, panics, fine] = ["refused", "panics", "fine"].map(|id| one_step(id, &runs));
        let host = started(builder.build(), &[&refused, &panics, &fine]).await;
        for (id, code, attempt) in [("refused", "refused", 1), ("panics", "panic", 2)] {
            let id = host.start_workflow(id, &Tally::default()).await.unwrap();
            let Outcome::Failed(failure) = ended(&host, &id).await else { panic!() };
            assert_eq!((&*failure.code, failure.attempt), (code, attempt), "{failure:?}");
        }
        assert_eq!(runs.get(), 0);
        let id = host.start_workflow("fine", &Tally::default()).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 7);
    }

    async fn workflow_middleware_sees_starts_and_ends_and_can_refuse_a_start(store: Store) {
        let (log, runs) = (Log::default(), Count::default());
        let builder = store.builder().await;
        let builder = builder.workflow_middleware(Notes("out", log.clone())).workflow_middleware(Notes("in", log.clone()));
        let hangs = WorkflowBuilder::<Tally>::new("hangs", 1)
            .then("hangs", async |ctx, _| {
                ctx.cancellation().cancelled().await;
                Ok(())
            })
            .build()
            .unwrap();
        let host = started(builder.build(), &[&one_step("w", &runs), &hangs]).await;
        for refused in ["refused", "panics"] {
            let w = host.workflow(WorkflowName::<Tally>::new("w"));
            assert!(w.start(&Tally::default()).reference(refused).await.is_err());
        }
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), ["out starts w 0", "out starts w 0"]);
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        completed(&host, &id).await;
        let all = ["out starts w 0", "in starts w 0", "in ends w Completed 7", "out ends w Completed 7"];
        until(async || log.lock().unwrap().len() == 4).await;
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), all);
        assert_eq!(runs.get(), 2, "what was refused was not stored");
        // A panic at the end changes nothing.
        let id = host.start_workflow("hangs", &Tally::default()).await.unwrap();
        host.terminate(&id).await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Terminated);
        until(async || log.lock().unwrap().len() == 4).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        completed(&host, &id).await;
    }
}

/// Hears of an end, and never comes back.
struct Stuck(Count);

#[async_trait]
impl WorkflowMiddleware for Stuck {
    async fn ended(&self, _: &WorkflowEnd) {
        self.0.up();
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_middleware_that_never_comes_back_from_an_end_does_not_keep_the_host_alive() {
    let (store, told) = (Store::memory().await, Count::default());
    let builder = store.builder().await.workflow_middleware(Stuck(told.clone()));
    let host = started(builder.build(), &[&one_step("w", &Count::default())]).await;
    let id = host.start_workflow("w", &Tally::default()).await.unwrap();
    completed(&host, &id).await;
    until(async || told.get() == 1).await;
    host.stop().await.unwrap();
    let mut events = host.lifecycle();
    drop(host);
    let heard = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
    assert_eq!(heard.expect("the host is gone").unwrap_err(), RecvError::Closed);
}

/// Is notified of an end, and returns when the test says so.
struct Slow(Count, Arc<Notify>);

#[async_trait]
impl WorkflowMiddleware for Slow {
    async fn ended(&self, _: &WorkflowEnd) {
        self.1.notified().await;
        self.0.up();
    }
}

#[tokio::test]
async fn a_host_is_idle_once_the_middleware_has_returned_from_each_end() {
    let (store, returned, go) = (Store::memory().await, Count::default(), Arc::new(Notify::new()));
    let builder = store.builder().await.workflow_middleware(Slow(returned.clone(), go.clone()));
    let host = started(builder.build(), &[&one_step("w", &Count::default())]).await;
    for _ in 0..2 {
        completed(&host, &host.start_workflow("w", &Tally::default()).await.unwrap()).await;
    }
    let mut idle = pin!(host.idle());
    // Each round of the loop is a chance of the host to be idle too early.
    for _ in 0..100 {
        assert!(idle.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    go.notify_one();
    until(async || returned.get() == 1).await;
    assert!(idle.as_mut().now_or_never().is_none(), "one of two has returned");
    go.notify_one();
    idle.await.unwrap();
    assert_eq!(returned.get(), 2);
    host.stop().await.unwrap();
}
