//! Instances that have ended run again.

use futures_util::future::join;
use wfe::{
    WfeError,
    definition::{IntoStep, task},
    error::RetryRefusal,
    host::{Known, Lifecycle},
};

use super::prelude::*;
use crate::TestHost;

scenarios!("retries":
    a_failed_instance_continues_at_its_failed_step_with_all_its_attempts,
    a_callers_wait_and_a_status_see_a_retried_instance_go_on,
    branches_that_the_end_has_cancelled_continue_and_miss_no_event,
    a_compensated_saga_begins_another_round,
    a_deadline_counts_anew_from_the_retry,
    a_cancelled_instance_is_retried_unless_it_was_compensated,
    an_activity_is_open_again_after_a_retry,
    a_step_whose_child_was_cancelled_by_the_end_starts_another_child,
    a_failed_child_is_retried_as_long_as_its_parent_waits_for_it,
    of_two_callers_one_retries_and_the_other_is_refused,
    an_instance_is_retried_by_a_process_that_does_not_know_its_definition,
    a_restart_begins_anew_and_takes_the_reference_over,
    a_restart_with_the_data_of_the_end_begins_with_it,
    a_known_reference_is_what_the_start_says,
);

/// A step that fails in its first execution, and writes this word in each later one.
fn second_time(word: &'static str) -> impl IntoStep<Story> {
    task::<Story>()
        .call(
            |ctx, _| {
                if ctx.idempotency_key().contains('#') { Ok(()) } else { Err(StepError::retryable("once")) }
            },
        )
        .output(move |(), story| note(word, story))
}

/// Runs the instance to its end, which must be a failure.
async fn failed(host: &TestHost, id: &str) -> Checked<()> {
    match host.run_to_end::<Story>(id).await? {
        Outcome::Failed(_) => Ok(()),
        other => unmet(&format!("it ended as {other:?}")),
    }
}

fn reason<T>(answer: wfe::Result<T>) -> RetryRefusal {
    match answer {
        Err(WfeError::CannotRetry { reason, .. }) => reason,
        Err(other) => unmet(&format!("it fails with {other}")),
        Ok(_) => unmet("it is not refused"),
    }
}

async fn a_failed_instance_continues_at_its_failed_step_with_all_its_attempts(stage: Stage) -> Checked<()> {
    let twice = Retry::every(HOUR).attempts(2);
    let flow =
        begin("flow").step("a", mark("a")).step("b", second_time("b")).retry(twice).step("c", mark("c"));
    let host = stage.host_that_waits([built(flow)?]).await?;
    let id = host.start_workflow("flow", &Story::default()).await?;
    failed(&host, &id).await?;
    host.retry(&id).await?;
    assert_eq!(words(&host, &id).await?, "a b c");
    let failures = host.failures(&id).await?;
    assert_eq!(failures.iter().map(|f| (&*f.step, f.attempt)).collect::<Vec<_>>(), [("b", 1), ("b", 2)]);
    assert_eq!(reason(host.retry(&id).await), RetryRefusal::Completed);
    Ok(())
}

async fn a_callers_wait_and_a_status_see_a_retried_instance_go_on(stage: Stage) -> Checked<()> {
    let gate = Gate::default();
    let flow = begin("flow").step("a", second_time("a")).step("b", gate.step());
    let host = stage.host_that_waits([built(flow)?]).await?;
    let id = host.start_workflow("flow", &Story::default()).await?;
    failed(&host, &id).await?;
    let ended = host.status(&id).await?;
    host.retry(&id).await?;
    gate.reached(1).await;
    let status = host.status(&id).await?;
    assert_eq!((status.state, &status.cause), (State::Running, &None));
    assert_eq!((status.complete_time, status.current_steps), (None, vec!["b".to_owned()]));
    assert_eq!((ended.retried, status.retried), (None, Some(stage.clock.now())));
    let (outcome, ()) = join(host.host().outcome::<Story>(&id), async { gate.open() }).await;
    assert!(matches!(outcome?, Outcome::Completed(_)));
    let retried = host.events()?.into_iter().filter(|event| event.what == Lifecycle::Retried).count();
    assert_eq!(retried, 1);
    Ok(())
}

async fn branches_that_the_end_has_cancelled_continue_and_miss_no_event(stage: Stage) -> Checked<()> {
    const WORD: Event<String> = Event::new("word");
    let flow = begin("flow").parallel("all", |all| {
        all.branch(|b| b.delay("hour", |_| HOUR).step("fails", second_time("fails")))
            .branch(|b| {
                b.wait_for("one", WORD, |_| "k").output(note).wait_for("two", WORD, |_| "k").output(note)
            })
            .branch(|b| b.delay("days", |_| 3 * DAY).step("slept", mark("slept")))
    });
    let host = stage.host_that_waits([built(flow)?]).await?;
    let (id, began) = (host.start_workflow("flow", &Story::default()).await?, stage.clock.now());
    host.publish(WORD, "k", "first".to_owned()).await?;
    failed(&host, &id).await?;
    host.publish(WORD, "k", "second".to_owned()).await?;
    host.advance(DAY).await?;
    host.retry(&id).await?;
    let story = words(&host, &id).await?;
    let mut sorted: Vec<_> = story.split(' ').collect();
    sorted.sort_unstable();
    assert_eq!(sorted, ["fails", "first", "second", "slept"]);
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::days(3));
    Ok(())
}

async fn a_compensated_saga_begins_another_round(stage: Stage) -> Checked<()> {
    let saga = begin("flow")
        .saga("saga", |saga| {
            saga.step("count", count())
                .step("a", mark("a"))
                .compensate_with(|undo| undo.step("un-a", mark("un-a")))
                .call("b", |ctx, _| {
                    if ctx.idempotency_key().contains("saga/1/") {
                        Err(StepError::fatal("first round"))
                    } else {
                        Ok(())
                    }
                })
        })
        .on_failure(OnFailure::Fail)
        .step("after", mark("after"));
    let host = stage.host_that_waits([built(saga)?]).await?;
    let id = host.start_workflow("flow", &Story::default()).await?;
    failed(&host, &id).await?;
    host.retry(&id).await?;
    assert_eq!(words(&host, &id).await?, "a un-a a after");
    Ok(())
}

async fn a_deadline_counts_anew_from_the_retry(stage: Stage) -> Checked<()> {
    let flow = begin("flow").deadline(HOUR).delay("long", |_| HOUR + MINUTE).step("a", mark("a"));
    let host = stage.host_that_waits([built(flow)?]).await?;
    let id = host.start_workflow("flow", &Story::default()).await?;
    failed(&host, &id).await?;
    host.retry(&id).await?;
    assert_eq!(words(&host, &id).await?, "a");
    Ok(())
}

async fn a_cancelled_instance_is_retried_unless_it_was_compensated(stage: Stage) -> Checked<()> {
    let plain = begin("plain").delay("long", |_| DAY).step("a", mark("a"));
    let saga = begin("saga").saga("saga", |saga| {
        saga.step("a", mark("a"))
            .compensate_with(|undo| undo.step("un-a", mark("un-a")))
            .delay("long", |_| DAY)
    });
    let host = stage.host_that_waits([built(plain)?, built(saga)?]).await?;
    for (definition, refused) in [("plain", None), ("saga", Some(RetryRefusal::Compensated))] {
        let id = host.start_workflow(definition, &Story::default()).await?;
        host.idle().await?;
        host.cancel(&id).await?;
        host.idle().await?;
        if let Some(refused) = refused {
            assert_eq!(reason(host.retry(&id).await), refused);
        } else {
            host.retry(&id).await?;
            assert_eq!(words(&host, &id).await?, "a");
        }
    }
    let id = host.start_workflow("plain", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(reason(host.retry(&id).await), RetryRefusal::NotEnded);
    host.terminate(&id).await?;
    host.idle().await?;
    assert_eq!(reason(host.retry(&id).await), RetryRefusal::Terminated);
    Ok(())
}

async fn an_activity_is_open_again_after_a_retry(stage: Stage) -> Checked<()> {
    let flow = begin("flow").parallel("all", |all| {
        all.branch(|b| b.delay("hour", |_| HOUR).step("fails", second_time("fails"))).branch(|b| {
            b.activity("price", Activity::<u64, u64>::new("price"), |_| 7)
                .output(|price, story| story.n = price)
        })
    });
    let host = stage.host_that_waits([built(flow)?]).await?;
    let id = host.start_workflow("flow", &Story::default()).await?;
    failed(&host, &id).await?;
    assert!(host.activities("price").await?.is_empty());
    host.retry(&id).await?;
    host.idle().await?;
    host.work("price", |input| Ok(input.as_u64().unwrap_or_default() + 1)).await?;
    assert_eq!(completed(&host, &id).await?.n, 8);
    Ok(())
}

async fn a_step_whose_child_was_cancelled_by_the_end_starts_another_child(stage: Stage) -> Checked<()> {
    let child = begin("child").delay("long", |_| DAY).step("c", mark("c"));
    let flow = begin("flow").parallel("all", |all| {
        all.branch(|b| b.delay("hour", |_| HOUR).step("fails", second_time("fails"))).branch(|b| {
            b.sub_workflow("sub", WorkflowName::<Story>::new("child"), |_| Story::default())
                .output(|child, story| story.text = child.words.join(" "))
        })
    });
    let host = stage.host_that_waits([built(flow)?, built(child)?]).await?;
    let id = host.start_workflow("flow", &Story::default()).await?;
    failed(&host, &id).await?;
    host.idle().await?;
    host.retry(&id).await?;
    assert_eq!(completed(&host, &id).await?.text, "c");
    Ok(())
}

async fn a_failed_child_is_retried_as_long_as_its_parent_waits_for_it(stage: Stage) -> Checked<()> {
    let child = begin("child").delay("hour", |_| HOUR).step("fails", second_time("c"));
    let flow = begin("flow")
        .sub_workflow("sub", WorkflowName::<Story>::new("child"), |_| Story::default())
        .output(|child, story| story.text = child.words.join(" "));
    let host = stage.host_that_waits([built(flow)?, built(child)?]).await?;
    let parent = host.start_workflow("flow", &Story::default()).await?;
    host.idle().await?;
    let child = format!("{parent}//sub//1");
    host.suspend(&parent).await?;
    failed(&host, &child).await?;
    host.idle().await?;
    host.retry(&child).await?;
    host.idle().await?;
    assert_eq!(completed(&host, &child).await?.words, ["c"]);
    host.resume(&parent).await?;
    assert_eq!(completed(&host, &parent).await?.text, "c");

    let parent = host.start_workflow("flow", &Story::default()).await?;
    failed(&host, &parent).await?;
    let child = format!("{parent}//sub//1");
    assert_eq!(reason(host.retry(&child).await), RetryRefusal::Child { parent: parent.clone() });
    // The retried parent starts another child, in whose keys the number of this execution is.
    host.retry(&parent).await?;
    assert_eq!(completed(&host, &parent).await?.text, "c");
    assert_eq!(completed(&host, &format!("{parent}//sub#2//1")).await?.words, ["c"]);
    Ok(())
}

async fn of_two_callers_one_retries_and_the_other_is_refused(stage: Stage) -> Checked<()> {
    let flow = begin("flow").step("a", second_time("a"));
    let host = stage.host_that_waits([built(flow)?]).await?;
    let hosts = host.hosts();
    let id = host.start_workflow("flow", &Story::default()).await?;
    failed(&host, &id).await?;
    let other = &hosts[hosts.len() - 1];
    let (one, two) = join(hosts[0].retry(&id), other.retry(&id)).await;
    let refused = match (one, two) {
        (Ok(()), refused) | (refused, Ok(())) => reason(refused),
        (one, two) => unmet(&format!("both are refused: {one:?}, {two:?}")),
    };
    let expected = [RetryRefusal::NotEnded, RetryRefusal::Changed, RetryRefusal::Completed];
    assert!(expected.contains(&refused), "{refused:?}");
    assert_eq!(words(&host, &id).await?, "a");
    Ok(())
}

async fn an_instance_is_retried_by_a_process_that_does_not_know_its_definition(stage: Stage) -> Checked<()> {
    let flow = begin("flow").step("a", second_time("a"));
    let host = stage.host_that_waits([built(flow)?]).await?;
    let id = host.start_workflow("flow", &Story::default()).await?;
    failed(&host, &id).await?;
    let stranger = wfe::WorkflowHost::builder_shared(host.store().clone()).clock(stage.clock.clone()).build();
    stranger.retry(&id).await?;
    let found = stranger.status(&id).await?;
    assert_eq!((found.state, found.retried), (State::Running, Some(stage.clock.now())));
    // The others are not notified of what another provider object of their own process stores; they look again.
    host.suspend(&id).await?;
    host.resume(&id).await?;
    assert_eq!(words(&host, &id).await?, "a");
    Ok(())
}

async fn a_restart_begins_anew_and_takes_the_reference_over(stage: Stage) -> Checked<()> {
    let flow = begin("flow").call("a", |ctx, story| {
        if story.n == 0 {
            Err(StepError::fatal("no"))
        } else {
            Ok(ctx.reference().unwrap_or_default().to_owned())
        }
    });
    let host = stage.host_that_waits([built(flow.output(note))?]).await?;
    let flow = host.workflow(WorkflowName::<Story>::new("flow"));
    let first = flow.start(&Story::default()).reference("r").await?;
    failed(&host, first.id()).await?;
    let second = first.restart(&Story { n: 1, ..Story::default() }).await?;
    assert_eq!((second.is_new, second.restart_of.as_deref()), (true, Some(first.id())));
    assert_eq!(words(&host, second.id()).await?, "r");
    let (old, new) = (first.status().await?, second.status().await?);
    assert_eq!((old.restarted_as.as_deref(), old.state), (Some(second.id()), State::Failed));
    assert_eq!(new.restart_of.as_deref(), Some(first.id()));
    assert_eq!(host.find("flow", "r").await?.as_deref(), Some(second.id()));
    let found = flow.start(&Story::default()).reference("r").await?;
    assert_eq!((found.id(), found.is_new), (second.id(), false));
    let restarted = RetryRefusal::Restarted { id: second.id().to_owned() };
    assert_eq!(reason(first.restart(&Story::default()).await), restarted);
    assert_eq!(reason(first.retry().await), restarted);
    Ok(())
}

async fn a_restart_with_the_data_of_the_end_begins_with_it(stage: Stage) -> Checked<()> {
    let flow = begin("flow").step("a", mark("a"));
    let host = stage.host_that_waits([built(flow)?]).await?;
    let id = host.start_workflow("flow", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a");
    let second = host.restart_with_its_data(&id).await?;
    assert_eq!(words(&host, second.id()).await?, "a a");
    Ok(())
}

async fn a_known_reference_is_what_the_start_says(stage: Stage) -> Checked<()> {
    let flow =
        begin("flow").call("a", |_, story| if story.n == 0 { Err(StepError::fatal("no")) } else { Ok(()) });
    let host = stage.host_that_waits([built(flow)?]).await?;
    let flow = host.workflow(WorkflowName::<Story>::new("flow"));
    let good = Story { n: 1, ..Story::default() };
    let first = flow.start(&Story::default()).reference("r").await?;
    failed(&host, first.id()).await?;
    match flow.start(&good).reference("r").if_known(Known::Refuse).await {
        Err(WfeError::AlreadyStarted { id, .. }) => assert_eq!(id, first.id()),
        other => unmet(&format!("it is not refused: {other:?}")),
    }
    assert!(!flow.start(&good).reference("r").await?.is_new);
    let second = flow.start(&good).reference("r").if_known(Known::RestartIfFailed).await?;
    assert_eq!((second.is_new, second.restart_of.as_deref()), (true, Some(first.id())));
    completed(&host, second.id()).await?;
    let third = flow.start(&good).reference("r").if_known(Known::RestartIfFailed).await?;
    assert_eq!((third.is_new, third.id(), &third.restart_of), (false, second.id(), &None));
    Ok(())
}
