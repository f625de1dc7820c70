use wfe::{WfeError, error::NoEffectReason, host::Requested};

use super::prelude::*;

scenarios!("control":
    a_suspended_instance_starts_no_step_until_it_is_resumed,
    a_busy_instance_that_is_suspended_lets_its_step_finish,
    a_busy_instance_that_is_cancelled_fires_the_token_of_its_step,
    a_waiting_instance_can_be_terminated,
    an_event_for_a_suspended_instance_is_kept,
    a_request_after_the_end_is_refused_and_names_the_end,
    an_instance_outlives_its_host,
    a_request_says_whether_it_was_accepted_or_is_redundant,
    a_cancel_of_an_instance_that_compensates_in_order_to_end_is_redundant,
    lifecycle_events_report_everything_in_order,
);

async fn a_suspended_instance_starts_no_step_until_it_is_resumed(stage: Stage) -> Checked<()> {
    let host = stage.host([built(begin("w").delay("day", |_| DAY).step("a", mark("a")))?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    host.suspend(&id).await?;
    host.advance(3 * DAY).await?;
    assert_eq!(host.status(&id).await?.state, State::Suspended);
    assert_eq!(host.data::<Story>(&id).await?.words.len(), 0);
    host.resume(&id).await?;
    assert_eq!(words(&host, &id).await?, "a");
    Ok(())
}

async fn a_busy_instance_that_is_suspended_lets_its_step_finish(stage: Stage) -> Checked<()> {
    let gate = Gate::default();
    let host = stage.host([built(begin("w").step("slow", gate.step()).step("a", mark("a")))?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    gate.reached(1).await;
    host.suspend(&id).await?;
    gate.open();
    host.idle().await?;
    assert_eq!(host.status(&id).await?.state, State::Suspended);
    host.resume(&id).await?;
    assert_eq!(words(&host, &id).await?, "a");
    assert_eq!(gate.entered(), 1, "a finished step is not run again");
    Ok(())
}

async fn a_busy_instance_that_is_cancelled_fires_the_token_of_its_step(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let gate = Gate::default();
    let host = stage.host([built(begin("w").step("slow", gate.step()).step("a", mark("a")))?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    gate.reached(1).await;
    host.cancel(&id).await?;
    // The test does not open the gate, so only the cancellation can end the body.
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Cancelled));
    Ok(())
}

async fn a_waiting_instance_can_be_terminated(stage: Stage) -> Checked<()> {
    let wait = begin("w").wait_for("a", Event::<()>::new("never"), |_| "k");
    let host = stage.host_that_waits([built(wait)?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    host.terminate(&id).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Terminated));
    Ok(())
}

async fn an_event_for_a_suspended_instance_is_kept(stage: Stage) -> Checked<()> {
    let wait = begin("w").wait_for("a", Event::<String>::new("word"), |_| "k").output(note);
    let host = stage.host_that_waits([built(wait)?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    host.suspend(&id).await?;
    host.idle().await?;
    host.publish_event("word", "k", "kept").await?;
    host.idle().await?;
    assert_eq!(host.data::<Story>(&id).await?.words.len(), 0);
    host.resume(&id).await?;
    assert_eq!(words(&host, &id).await?, "kept");
    Ok(())
}

async fn a_request_after_the_end_is_refused_and_names_the_end(stage: Stage) -> Checked<()> {
    let host = stage.host([built(begin("w").step("a", mark("a")))?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    words(&host, &id).await?;
    let before = host.status(&id).await?;
    for told in [
        host.suspend(&id).await,
        host.resume(&id).await,
        host.skip(&id).await,
        host.resume_from(&id, "a").await,
        host.cancel(&id).await,
        host.terminate(&id).await,
    ] {
        match told {
            // Interventions need a step store.
            Err(WfeError::Unsupported(_)) => {}
            told => assert!(
                matches!(
                    told,
                    Err(WfeError::NoEffect { reason: NoEffectReason::Ended(Ending::Completed), .. })
                ),
                "{told:?}"
            ),
        }
    }
    host.idle().await?;
    assert_eq!(host.status(&id).await?, before);
    Ok(())
}

async fn a_request_says_whether_it_was_accepted_or_is_redundant(stage: Stage) -> Checked<()> {
    let host = stage.host([built(begin("w").delay("day", |_| DAY).step("a", mark("a")))?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    let told = host.resume(&id).await;
    assert!(matches!(told, Err(WfeError::NoEffect { reason: NoEffectReason::NotSuspended, .. })), "{told:?}");
    assert_eq!(host.suspend(&id).await?, Requested::Accepted);
    assert_eq!(host.suspend(&id).await?, Requested::Redundant);
    host.idle().await?;
    assert_eq!(host.suspend(&id).await?, Requested::Redundant);
    let told = host.skip(&id).await;
    let nothing_to_skip =
        matches!(told, Err(WfeError::NoEffect { reason: NoEffectReason::NothingFailed, .. }));
    assert!(nothing_to_skip, "{told:?}");
    assert_eq!(host.resume(&id).await?, Requested::Accepted);
    host.idle().await?;
    assert_eq!(host.terminate(&id).await?, Requested::Accepted);
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Terminated));
    Ok(())
}

async fn a_cancel_of_an_instance_that_compensates_in_order_to_end_is_redundant(stage: Stage) -> Checked<()> {
    let gate = Gate::default();
    let saga = begin("w").saga("saga", |saga| {
        saga.step("a", mark("a")).compensate_with(|undo| undo.step("slow", gate.step())).delay("day", |_| DAY)
    });
    let host = stage.host([built(saga)?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(host.cancel(&id).await?, Requested::Accepted);
    gate.reached(1).await;
    assert_eq!(host.cancel(&id).await?, Requested::Redundant);
    assert_eq!(host.suspend(&id).await?, Requested::Accepted, "its compensation can be suspended");
    assert_eq!(host.cancel(&id).await?, Requested::Accepted, "it replaces that");
    gate.open();
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Cancelled));
    Ok(())
}

async fn an_instance_outlives_its_host(stage: Stage) -> Checked<()> {
    stage.must_last()?;
    let definition = || built(begin("w").step("a", mark("a")).delay("day", |_| DAY).step("b", mark("b")));
    let host = stage.host([definition()?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    drop(host); // the host is not stopped first
    stage.clock.advance(2 * DAY);
    let host = stage.host([definition()?]).await?;
    assert_eq!(words(&host, &id).await?, "a b");
    Ok(())
}

async fn lifecycle_events_report_everything_in_order(stage: Stage) -> Checked<()> {
    use wfe::host::Lifecycle::{Completed, Error, Started, StepCompleted, StepStarted};
    let twice = Retry::every(Duration::ZERO).attempts(2);
    let host = stage.host([built(begin("w").step("a", flaky(1, "a")).retry(twice))?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    words(&host, &id).await?;
    let told: Vec<_> = host
        .events()?
        .into_iter()
        .filter(|event| *event.instance_id == *id)
        .map(|event| event.what)
        .collect();
    let is_as_expected = matches!(
        &told[..],
        [
            Started,
            StepStarted { attempt: 1, .. },
            Error(_),
            StepStarted { attempt: 2, .. },
            StepCompleted { .. },
            Completed
        ]
    );
    assert!(is_as_expected, "{told:?}");
    Ok(())
}
