use std::{sync::Arc, time::Duration};

use wfe::{
    Outcome, WfeError,
    clock::Clock,
    definition::{Definition, OnFailure, Retry, WorkflowBuilder},
    status::State,
    steps::{Ctx, Next, Step, StepError, StepResult},
};
use wfe_testkit::VirtualClock;

use crate::support::{Count, Store, Tally, completed, ended, nothing, on_every_store, started, until};

const MONTH: Duration = Duration::from_hours(720);

/// Fails at its first `failures` attempts, with an error below an error.
fn flaky(failures: u32, retry: Retry, then: OnFailure, runs: &Count) -> Definition<Tally> {
    let runs = runs.clone();
    WorkflowBuilder::<Tally>::new("flaky", 1)
        .then("flaky", async move |ctx, _| {
            runs.up();
            if ctx.attempt() > failures {
                return Ok(());
            }
            let below = std::io::Error::other("the cable is cut");
            let error = WfeError::Storage { message: "far away".to_owned(), source: Some(below.into()) };
            Err(StepError::retryable(error).with_code("network"))
        })
        .retry(retry)
        .on_failure(then)
        .step("after", nothing())
        .build()
        .unwrap()
}

on_every_store! {
    async fn a_pause_of_a_month_takes_no_time_under_a_virtual_clock_and_is_not_cut_short(store: Store) {
        let (runs, clock) = (Count::default(), Arc::new(VirtualClock::default()));
        let retry = Retry::exponential().attempts(3).initial(MONTH).max(3 * MONTH).jitter(0.0);
        let definition = flaky(2, retry, OnFailure::Fail, &runs);
        let builder = store.builder().await.clock(clock.clone()).poll_interval(100 * MONTH);
        let host = started(builder.build(), &[&definition]).await;
        let start = clock.now();
        let id = host.start_workflow("flaky", &Tally::default()).await.unwrap();
        clock.wait_for(|deadlines| deadlines.contains(&(start + MONTH))).await;
        assert_eq!((runs.get(), host.status(&id).await.unwrap().state), (1, State::Running));
        clock.advance(MONTH.checked_sub(Duration::from_millis(1)).unwrap());
        tokio::task::yield_now().await;
        assert_eq!(runs.get(), 1);
        clock.advance(Duration::from_millis(1));
        clock.wait_for(|deadlines| deadlines.contains(&(start + 3 * MONTH))).await;
        assert_eq!(runs.get(), 2);
        clock.advance(2 * MONTH);
        completed(&host, &id).await;
        assert_eq!(runs.get(), 3);
    }

    async fn when_all_retries_failed_whoever_waits_gets_the_failure_with_its_causes(store: Store) {
        let runs = Count::default();
        let retry = Retry::exponential().attempts(3).initial(Duration::from_millis(1));
        let host = store.host(&[&flaky(9, retry, OnFailure::Fail, &runs)]).await;
        let id = host.start_workflow("flaky", &Tally::default()).await.unwrap();
        let Outcome::Failed(failure) = ended(&host, &id).await else { panic!("it did not fail") };
        assert_eq!((failure.step.as_str(), failure.attempt, failure.code.as_str()), ("flaky", 3, "network"));
        assert_eq!(failure.causes, ["the store failed: far away", "the cable is cut"]);
        assert_eq!(runs.get(), 3);
        assert_eq!(host.status(&id).await.unwrap().cause, Some(*failure));
    }

    async fn with_continue_the_next_step_runs(store: Store) {
        let runs = Count::default();
        let host = store.host(&[&flaky(9, Retry::never(), OnFailure::Continue, &runs)]).await;
        let id = host.start_workflow("flaky", &Tally::default()).await.unwrap();
        completed(&host, &id).await;
        assert_eq!(runs.get(), 1);
    }

    async fn with_suspend_the_instance_waits_for_a_resume(store: Store) {
        let runs = Count::default();
        let host = store.host(&[&flaky(1, Retry::never(), OnFailure::Suspend, &runs)]).await;
        let id = host.start_workflow("flaky", &Tally::default()).await.unwrap();
        until(async || host.status(&id).await.unwrap().state == State::Suspended).await;
        assert_eq!(host.status(&id).await.unwrap().cause.unwrap().code, "network");
        host.resume(&id).await.unwrap();
        completed(&host, &id).await;
        assert_eq!(runs.get(), 2);
    }

    async fn a_panic_in_a_step_is_a_failure_and_nothing_else(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .then("a", async |ctx, _| {
                assert!(ctx.attempt() > 1, "over");
                Ok(())
            })
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        let Outcome::Failed(failure) = ended(&host, &id).await else { panic!("it did not fail") };
        assert_eq!((failure.code.as_str(), failure.error.message.as_str()), ("panic", "the step panicked: over"));
    }

    async fn data_that_no_store_takes_fails_the_step_that_wrote_it(store: Store) {
        let deep = |depth: usize| {
            (0..depth).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]))
        };
        let definition = WorkflowBuilder::<serde_json::Value>::new("w", 1)
            .change("a", move |data| *data = deep(200))
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &serde_json::Value::Null).await.unwrap();
        let Outcome::Failed(failure) = host.outcome::<serde_json::Value>(&id).await.unwrap() else {
            panic!("it did not fail")
        };
        assert_eq!((failure.step.as_str(), failure.code.as_str()), ("a", "unstorable"));
    }

    async fn a_number_that_json_cannot_hold_is_refused_and_never_stored_as_null(store: Store) {
        let definition = WorkflowBuilder::<Option<f64>>::new("w", 1)
            .change("a", |data| *data = Some(f64::NAN))
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let refused = host.start_workflow("w", &Some(f64::INFINITY)).await;
        assert!(matches!(refused, Err(wfe::WfeError::Serialization(_))), "{refused:?}");
        let id = host.start_workflow("w", &Some(0.5)).await.unwrap();
        let Outcome::Failed(failure) = host.outcome::<Option<f64>>(&id).await.unwrap() else {
            panic!("it did not fail")
        };
        assert_eq!(failure.code, "unstorable");
    }

    async fn an_error_that_panics_when_it_is_written_down_fails_its_step_and_stops_no_other(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .then("a", async |_, tally| if tally.sum == 0 { Err(Unspeakable.into()) } else { Ok(()) })
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        let Outcome::Failed(failure) = ended(&host, &id).await else { panic!("it did not fail") };
        assert_eq!((failure.step.as_str(), failure.code.as_str()), ("a", "panic"));
        let other = host.start_workflow("w", &Tally { sum: 1, ..Tally::default() }).await.unwrap();
        completed(&host, &other).await;
    }

    async fn a_step_that_panics_when_it_is_dropped_has_failed_and_changes_nothing(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .step("a", Bomb { armed: false })
            .output(|_, tally| tally.sum = 7)
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        let Outcome::Failed(failure) = ended(&host, &id).await else { panic!("it did not fail") };
        assert_eq!((failure.step.as_str(), failure.code.as_str()), ("a", "panic"));
    }
}

#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("unspeakable")
    }
}

impl std::error::Error for Unspeakable {}

#[derive(Clone)]
struct Bomb {
    armed: bool,
}

impl Step for Bomb {
    async fn run(&mut self, _: &Ctx) -> StepResult {
        self.armed = true;
        Ok(Next::Done)
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.armed, "boom");
    }
}
