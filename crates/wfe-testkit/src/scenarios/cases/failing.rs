use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use wfe::WfeError;

use super::prelude::*;

scenarios!("failures":
    a_step_is_retried_with_a_growing_backoff,
    a_step_out_of_retries_ends_the_instance_with_its_cause,
    a_fatal_error_is_not_tried_again,
    a_step_that_suspends_its_instance_is_retried_when_it_is_resumed,
    an_instance_can_continue_after_a_failed_step,
    a_fallback_runs_in_place_of_a_failed_step_and_knows_why,
    an_attempt_that_takes_too_long_has_failed,
    no_attempt_begins_before_the_body_of_the_one_before_has_ended,
    every_failure_is_stored_with_its_causes,
    a_panicking_output_changes_nothing,
    a_failed_item_of_a_for_each_takes_its_fallback_and_the_others_go_on,
);

async fn a_step_is_retried_with_a_growing_backoff(stage: Stage) -> Checked<()> {
    let retry = Retry::exponential().attempts(6).initial(HOUR).max(3 * HOUR).jitter(0.0);
    let host = stage.host([built(begin("flaky").step("a", flaky(3, "a")).retry(retry))?]).await?;
    let (id, began) = (host.start_workflow("flaky", &Story::default()).await?, stage.clock.now());
    assert_eq!(words(&host, &id).await?, "a");
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(1 + 2 + 3));
    Ok(())
}

async fn a_step_out_of_retries_ends_the_instance_with_its_cause(stage: Stage) -> Checked<()> {
    let twice = Retry::every(Duration::ZERO).attempts(2);
    let ends = begin("ends").step("a", flaky(9, "a")).retry(twice).step("b", mark("b"));
    let host = stage.host([built(ends)?]).await?;
    let id = host.start_workflow("ends", &Story::default()).await?;
    match host.run_to_end::<Story>(&id).await? {
        Outcome::Failed(cause) => {
            assert_eq!((&*cause.step, cause.attempt, &*cause.error.message), ("a", 2, "not yet"));
        }
        other => unmet(&format!("it ended as {other:?}")),
    }
    Ok(())
}

async fn a_fatal_error_is_not_tried_again(stage: Stage) -> Checked<()> {
    let often = Retry::every(Duration::ZERO).attempts(10);
    let host = stage.host([built(begin("fatal").step("a", fail()).retry(often))?]).await?;
    let id = host.start_workflow("fatal", &Story::default()).await?;
    match host.run_to_end::<Story>(&id).await? {
        Outcome::Failed(cause) => assert_eq!(cause.attempt, 1),
        other => unmet(&format!("it ended as {other:?}")),
    }
    Ok(())
}

async fn a_step_that_suspends_its_instance_is_retried_when_it_is_resumed(stage: Stage) -> Checked<()> {
    let stands = begin("stands").step("a", flaky(1, "a")).on_failure(OnFailure::Suspend);
    let host = stage.host([built(stands)?]).await?;
    let id = host.start_workflow("stands", &Story::default()).await?;
    host.advance(DAY).await?;
    let status = host.status(&id).await?;
    assert_eq!((status.state, status.cause.map(|c| c.step)), (State::Suspended, Some("a".to_owned())));
    host.resume(&id).await?;
    assert_eq!(words(&host, &id).await?, "a");
    Ok(())
}

async fn an_instance_can_continue_after_a_failed_step(stage: Stage) -> Checked<()> {
    let on = begin("on").step("a", fail()).on_failure(OnFailure::Continue).step("b", mark("b"));
    let host = stage.host([built(on)?]).await?;
    let id = host.start_workflow("on", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "b");
    Ok(())
}

async fn a_fallback_runs_in_place_of_a_failed_step_and_knows_why(stage: Stage) -> Checked<()> {
    let instead = begin("instead")
        .step("a", fail())
        .fallback(|b| {
            b.call("why", |ctx, _| {
                Ok(ctx.failure().map(|failure| failure.causes.join(": ")).unwrap_or_default())
            })
            .output(note)
        })
        .step("b", mark("b"));
    let host = stage.host([built(instead)?]).await?;
    let id = host.start_workflow("instead", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "broken b");
    Ok(())
}

async fn an_attempt_that_takes_too_long_has_failed(stage: Stage) -> Checked<()> {
    let gate = Gate::default();
    let slow = begin("slow")
        .step("a", gate.step())
        .timeout(MINUTE)
        .retry(Retry::exponential().attempts(2).initial(HOUR))
        .fallback(|b| b.step("late", mark("late")));
    let host = stage.host([built(slow)?]).await?;
    let id = host.start_workflow("slow", &Story::default()).await?;
    for attempt in 1..=2 {
        gate.reached(attempt).await;
        stage.clock.advance(MINUTE);
        if attempt == 1 {
            host.idle().await?;
            host.clock().advance(HOUR);
        }
    }
    assert_eq!(words(&host, &id).await?, "late");
    Ok(())
}

/// How many bodies of a step run now, and the highest number of bodies that ran at once.
#[derive(Clone, Default)]
struct AtOnce {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// A running body, which is counted until this value is dropped.
struct Runs(AtOnce);

impl AtOnce {
    fn begin(&self) -> Runs {
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        Runs(self.clone())
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}

async fn no_attempt_begins_before_the_body_of_the_one_before_has_ended(stage: Stage) -> Checked<()> {
    let (gate, at_once) = (Gate::default(), AtOnce::default());
    let deaf = begin("deaf")
        .with((gate.clone(), at_once.clone()))
        // The first two attempts ignore their cancellation tokens.
        .then("a", |ctx, _| {
            let runs = ctx.app.1.begin();
            ctx.app.0.enter();
            async move {
                if ctx.attempt() <= 2 {
                    std::future::pending::<()>().await;
                }
                drop(runs);
                Ok(())
            }
        })
        .timeout(MINUTE)
        .retry(Retry::every(Duration::ZERO).attempts(3))
        .step("b", mark("b"));
    let host = stage.host([built(deaf)?]).await?;
    let id = host.start_workflow("deaf", &Story::default()).await?;
    for attempt in 1..=2 {
        gate.reached(attempt).await;
        stage.clock.advance(MINUTE);
    }
    assert_eq!(words(&host, &id).await?, "b");
    assert_eq!((at_once.now.load(SeqCst), at_once.most.load(SeqCst)), (0, 1));
    Ok(())
}

async fn every_failure_is_stored_with_its_causes(stage: Stage) -> Checked<()> {
    let causes = begin("causes")
        .call("a", |ctx, _| {
            if ctx.attempt() == 2 {
                return Ok(());
            }
            let source = Some(io::Error::new(io::ErrorKind::NotFound, "gone").into());
            let error = WfeError::Storage { message: "reading".to_owned(), source };
            Err(StepError::retryable(error).with_code("disk"))
        })
        .retry(Retry::exponential().attempts(2));
    let host = stage.host_that_waits([built(causes)?]).await?;
    let id = host.start_workflow("causes", &Story::default()).await?;
    completed(&host, &id).await?;
    let failures = host.failures(&id).await?;
    assert_eq!((failures.len(), &*failures[0].code, failures[0].attempt), (1, "disk", 1));
    assert_eq!(failures[0].causes.last().map(String::as_str), Some("gone"));
    assert_eq!(failures[0].causes.len(), 2);
    Ok(())
}

async fn a_panicking_output_changes_nothing(stage: Stage) -> Checked<()> {
    let half = begin("half")
        .call("a", |_, _| Ok("half"))
        .output(|half, story| {
            note(half, story);
            explode::<()>();
        })
        .fallback(|b| b.step("b", mark("whole")));
    let host = stage.host([built(half)?]).await?;
    let id = host.start_workflow("half", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "whole");
    Ok(())
}

async fn a_failed_item_of_a_for_each_takes_its_fallback_and_the_others_go_on(stage: Stage) -> Checked<()> {
    let all = begin("items").for_each(
        "all",
        |_| (0..4_u64).collect(),
        |one| {
            one.call("pick", |_, _, n| if n % 2 == 1 { Err(StepError::fatal("odd")) } else { Ok(()) })
                .fallback(|b| b.step("odd", mark_item("odd")))
                .step("after", mark_item(""))
        },
    );
    let host = stage.host([built(all)?]).await?;
    let id = host.start_workflow("items", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "0 odd1 1 2 odd3 3");
    Ok(())
}
