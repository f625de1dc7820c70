//! No two bodies of one step run at once in one process.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use async_trait::async_trait;
use wfe::{
    Outcome, WorkflowHost,
    definition::{Definition, OnFailure, Retry, WorkflowBuilder},
    middleware::{Rest, StepDone, StepMiddleware},
    status::{State, Waits},
    steps::{Ctx, StepError},
};

use wfe_testkit::VirtualClock;

use crate::support::{
    Count, Store, Tally, completed, ended, keep_thread, on_every_native_store, on_every_store, started, until,
};

const SHORT: Duration = Duration::from_millis(20);

/// How many bodies of a step run, and ran at once.
#[derive(Clone, Default)]
struct Bodies {
    begun: Count,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    open: Arc<AtomicBool>,
}

/// One of them: the how manieth it is, from one on.
struct One(Bodies, usize);

impl Drop for One {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}

impl Bodies {
    fn begin(&self) -> One {
        let number = self.begun.up();
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        One(self.clone(), number)
    }

    /// The first `times` attempts take too long, and do not look at their tokens.
    fn deaf(&self, times: u32) -> Definition<Tally> {
        let this = self.clone();
        WorkflowBuilder::<Tally>::new("deaf", 1)
            .then("call", async move |ctx, _| {
                let _one = this.begin();
                if ctx.attempt() <= times {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
            .timeout(SHORT)
            .retry(often())
            .build()
            .unwrap()
    }

    /// The first body blocks its thread until it is let go, whatever its token says. If the instance is to be suspended, no
    /// other attempt is made before somebody resumes it.
    fn blocks(&self, then: OnFailure, timeout: Duration) -> Definition<Tally> {
        let this = self.clone();
        WorkflowBuilder::<Tally>::new("blocks", 1)
            .blocking("call", move |_, _| {
                let one = this.begin();
                if one.1 == 1 {
                    keep_thread(|| this.open.load(Relaxed));
                }
                Ok(())
            })
            .timeout(timeout)
            .retry(often().only_if(move |_| then != OnFailure::Suspend))
            .on_failure(then)
            .build()
            .unwrap()
    }

    fn let_go(&self) {
        self.open.store(true, Relaxed);
    }

    /// Waits until the next attempt waits for the body of the first one, and no other one has begun. On a slow machine the
    /// attempt may be over before its body begins.
    async fn is_waited_for(&self, host: &WorkflowHost, id: &str) {
        until(async || waits(host, id).await == Some(Waits::AttemptBefore) && self.begun.get() > 0).await;
        assert_eq!(self.begun.get(), 1);
    }

    /// More may have begun: on a slow machine a quick one takes too long as well.
    fn check(&self, begun: usize) {
        assert!(self.begun.get() >= begun);
        assert_eq!(self.most.load(SeqCst), 1);
    }
}

/// More often than the slowest machine needs.
fn often() -> Retry {
    Retry::exponential().attempts(100).initial(Duration::from_millis(1))
}

/// Hands on what comes, or gives up on the first body that has begun.
struct Hasty(Option<Count>);

#[async_trait]
impl StepMiddleware for Hasty {
    async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> Result<StepDone, StepError> {
        let Some(begun) = self.0.as_ref().filter(|_| ctx.attempt() == 1) else { return rest.run().await };
        let has_begun = async {
            while begun.get() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            done = rest.run() => done,
            () = has_begun => Err(StepError::retryable("it takes too long")),
        }
    }
}

async fn start(host: &WorkflowHost, definition: &str) -> String {
    host.start_workflow(definition, &Tally::default()).await.unwrap()
}

async fn waits(host: &WorkflowHost, id: &str) -> Option<Waits> {
    host.status(id).await.unwrap().positions.pop().map(|position| position.waits)
}

on_every_store! {
    async fn a_body_that_does_not_look_at_its_token_is_dropped_before_the_next_attempt_begins(store: Store) {
        let bodies = Bodies::default();
        let host = store.host(&[&bodies.deaf(2)]).await;
        let id = start(&host, "deaf").await;
        completed(&host, &id).await;
        bodies.check(3);
    }

    async fn a_body_that_blocks_its_thread_is_waited_for_and_the_status_says_so(store: Store) {
        for middleware in [None, Some(None), Some(Some(()))] {
            let bodies = Bodies::default();
            let mut builder = store.builder().await;
            if let Some(is_hasty) = middleware {
                builder = builder.step_middleware(Hasty(is_hasty.map(|()| bodies.begun.clone())));
            }
            let host = started(builder.build(), &[&bodies.blocks(OnFailure::Fail, SHORT)]).await;
            let id = start(&host, "blocks").await;
            bodies.is_waited_for(&host, &id).await;
            if !matches!(store, Store::Plain(_)) {
                assert_eq!(host.failures(&id).all().await.unwrap().len(), 1, "it counts at once");
            }
            bodies.let_go();
            completed(&host, &id).await;
            bodies.check(2);
            host.stop().await.unwrap();
        }
    }

    async fn nobody_waits_for_such_a_body_but_the_next_one_of_its_step(store: Store) {
        let (cancelled, stopped) = (Bodies::default(), Bodies::default());
        let host = store.host(&[&cancelled.blocks(OnFailure::Fail, SHORT)]).await;
        let id = start(&host, "blocks").await;
        cancelled.is_waited_for(&host, &id).await;
        host.cancel(&id).await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Cancelled);
        host.stop().await.unwrap();
        let host = store.host(&[&stopped.blocks(OnFailure::Fail, SHORT)]).await;
        let id = start(&host, "blocks").await;
        stopped.is_waited_for(&host, &id).await;
        // Its grace time is longer than a test may take.
        tokio::time::timeout(Duration::from_secs(10), host.stop()).await.expect("it waits for no body").unwrap();
        assert_eq!((cancelled.now.load(SeqCst), stopped.now.load(SeqCst)), (1, 1));
        cancelled.let_go();
        stopped.let_go();
    }

    async fn a_suspended_instance_that_is_resumed_waits_for_the_body_that_still_runs(store: Store) {
        let bodies = Bodies::default();
        // The host's time stands still but here: no attempt takes too long because the machine is slow. It is before the
        // store's, so that all is due.
        let clock = Arc::new(VirtualClock::default());
        let builder = store.builder().await.clock(clock.clone());
        let host = started(builder.build(), &[&bodies.blocks(OnFailure::Suspend, SHORT)]).await;
        let id = start(&host, "blocks").await;
        until(async || bodies.begun.get() == 1).await;
        until(async || {
            clock.advance(SHORT);
            host.status(&id).await.unwrap().state == State::Suspended
        })
        .await;
        host.resume(&id).await.unwrap();
        bodies.is_waited_for(&host, &id).await;
        bodies.let_go();
        completed(&host, &id).await;
        bodies.check(2);
    }
}

on_every_native_store! {
    async fn the_next_host_of_the_process_waits_for_the_bodies_of_the_one_before(store: Store) {
        for is_dropped in [true, false] {
            let bodies = Bodies::default();
            let definition = bodies.blocks(OnFailure::Fail, Duration::from_hours(1));
            let builder = store.builder().await.grace(Duration::ZERO);
            let host = started(builder.build(), &[&definition]).await;
            let id = start(&host, "blocks").await;
            until(async || bodies.begun.get() == 1).await;
            if is_dropped {
                drop(host);
            } else {
                host.stop().await.unwrap();
            }
            let host = store.host(&[&definition]).await;
            bodies.is_waited_for(&host, &id).await;
            bodies.let_go();
            completed(&host, &id).await;
            bodies.check(2);
            host.stop().await.unwrap();
        }
    }
}
