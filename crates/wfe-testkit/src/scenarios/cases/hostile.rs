use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use wfe::definition::{IntoStep, task};

use super::prelude::*;

scenarios!("hostile input":
    names_with_quotes_and_nul_are_names_as_any_others,
    huge_numbers_come_through_unchanged,
    a_panicking_condition_fails_its_step_and_nothing_else,
    a_panicking_output_changes_nothing_and_holds_up_no_other_instance,
    if_the_second_output_of_a_wait_panics_the_first_has_no_effect_either,
    a_value_of_ten_megabytes_comes_through_and_holds_up_no_other_instance,
    a_panicking_key_fails_its_step,
    a_step_that_never_returns_keeps_no_other_from_running,
    a_blocking_step_that_panics_has_failed,
    a_delay_longer_than_the_calendar_sleeps_for_ever,
    an_event_of_another_type_fails_the_wait_and_changes_nothing,
    data_that_cannot_be_stored_fails_its_step,
    a_step_that_finished_before_one_whose_value_cannot_be_stored_never_runs_again,
    of_many_items_only_the_one_whose_value_cannot_be_stored_fails,
    an_effective_date_beyond_the_calendar_is_as_early_or_as_late_as_can_be,
    a_panic_that_panics_again_when_it_is_dropped_fails_its_step,
);

const NUMBER: Event<u64> = Event::new("n");

const NASTY: &str = "a'b\"c\0d`;--\u{1F980}%_\\";

async fn names_with_quotes_and_nul_are_names_as_any_others(stage: Stage) -> Checked<()> {
    let nasty = begin(NASTY)
        .step(NASTY, mark(NASTY))
        .wait_for(format!("wait {NASTY}"), Event::<String>::new(NASTY), |_| NASTY)
        .output(|word, story| story.text = word)
        .activity("work", Activity::<_, ()>::new(NASTY), |story| story.text.clone());
    let host = stage.host_that_waits([built(nasty)?]).await?;
    let start = || {
        let workflow = host.workflow(WorkflowName::<Story>::new(NASTY));
        workflow.start(&Story::default()).reference(NASTY).name(NASTY).description(NASTY)
    };
    let id = start().await?.instance.into_id();
    assert_eq!(start().await?.id(), id);
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, [format!("wait {NASTY}")]);
    host.publish_event(NASTY, NASTY, NASTY).await?;
    host.idle().await?;
    assert_eq!(host.work(NASTY, |input| Ok(input.clone())).await?, Some(id.clone()));
    let story = completed(&host, &id).await?;
    assert_eq!((&*story.text, &story.words[..]), (NASTY, &[NASTY.to_owned()][..]));
    Ok(())
}

async fn huge_numbers_come_through_unchanged(stage: Stage) -> Checked<()> {
    let items = [0, u64::MAX, u64::MAX - 1];
    let all = begin("huge").for_each("all", move |_| items.to_vec(), |one| one.step("a", mark_item("")));
    let host = stage.host([built(all)?]).await?;
    let id = host.start_workflow("huge", &Story { n: u64::MAX, ..Story::default() }).await?;
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.join(" ")), (u64::MAX, format!("0 {} {}", u64::MAX, u64::MAX - 1)));
    Ok(())
}

async fn a_panicking_condition_fails_its_step_and_nothing_else(stage: Stage) -> Checked<()> {
    let bad = begin("bad")
        .if_("if", |_| explode(), |then| then.step("a", mark("a")))
        .fallback(|b| b.step("f", mark("fell")))
        .while_("while", |_| explode(), |round| round.step("b", mark("b")));
    let good = begin("good").delay("hour", |_| HOUR).step("c", mark("c"));
    let host = stage.host([built(bad)?, built(good)?]).await?;
    let bad = host.start_workflow("bad", &Story::default()).await?;
    let good = host.start_workflow("good", &Story::default()).await?;
    match host.run_to_end::<Story>(&bad).await? {
        Outcome::Failed(cause) => assert_eq!((&*cause.step, &*cause.code), ("while", StepError::PANIC)),
        other => unmet(&format!("it ended as {other:?}")),
    }
    assert_eq!(host.data::<Story>(&bad).await?.words, ["fell"]);
    assert_eq!(words(&host, &good).await?, "c");
    Ok(())
}

async fn a_panicking_output_changes_nothing_and_holds_up_no_other_instance(stage: Stage) -> Checked<()> {
    let bad = begin("bad")
        .call("a", |_, _| Ok(7))
        // The output panics after it has written. What it wrote does not take effect.
        .output(|n, story| {
            story.n = n;
            explode::<()>();
        })
        .fallback(|b| b.step("f", mark("fell")));
    let good = begin("good").delay("hour", |_| HOUR).step("c", mark("c"));
    let host = stage.host([built(bad)?, built(good)?]).await?;
    let bad = host.start_workflow("bad", &Story::default()).await?;
    let good = host.start_workflow("good", &Story::default()).await?;
    let story = completed(&host, &bad).await?;
    assert_eq!((story.n, story.words.join(" ")), (0, "fell".to_owned()));
    assert_eq!(words(&host, &good).await?, "c");
    Ok(())
}

async fn if_the_second_output_of_a_wait_panics_the_first_has_no_effect_either(stage: Stage) -> Checked<()> {
    let bad = begin("bad")
        .wait_for("wait", NUMBER, |_| "k")
        .output(|n, story| story.n = n)
        .output(|_, _| explode())
        .fallback(|b| b.step("f", mark("fell")));
    let host = stage.host_that_waits([built(bad)?]).await?;
    let id = host.start_workflow("bad", &Story::default()).await?;
    host.idle().await?;
    host.publish(NUMBER, "k", 7_u64).await?;
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.join(" ")), (0, "fell".to_owned()));
    Ok(())
}

async fn a_value_of_ten_megabytes_comes_through_and_holds_up_no_other_instance(stage: Stage) -> Checked<()> {
    const SIZE: usize = 10 << 20;
    let large = begin("large")
        .call("a", |_, _| Ok("x".repeat(SIZE)))
        .output(|text, story| story.text = text)
        .delay("hour", |_| HOUR)
        .step("b", mark("b"));
    let good = begin("good").step("c", mark("c"));
    let host = stage.host([built(large)?, built(good)?]).await?;
    let large = host.start_workflow("large", &Story::default()).await?;
    let mut others = Vec::new();
    for _ in 0..10 {
        others.push(host.start_workflow("good", &Story::default()).await?);
    }
    for id in &others {
        assert_eq!(words(&host, id).await?, "c");
    }
    let story = completed(&host, &large).await?;
    assert_eq!((story.text.len(), story.words.join(" ")), (SIZE, "b".to_owned()));
    Ok(())
}

async fn a_panicking_key_fails_its_step(stage: Stage) -> Checked<()> {
    let bad = begin("key")
        .wait_for("wait", Event::<()>::new("e"), |_| explode::<String>())
        .fallback(|b| b.step("f", mark("fell")));
    let host = stage.host_that_waits([built(bad)?]).await?;
    let id = host.start_workflow("key", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "fell");
    Ok(())
}

async fn a_step_that_never_returns_keeps_no_other_from_running(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let gate = Gate::default();
    let host = stage
        .host([
            built(begin("stuck").step("stuck", gate.step()))?,
            built(begin("good").step("a", mark("a")).delay("hour", |_| HOUR).step("b", mark("b")))?,
        ])
        .await?;
    let stuck = host.start_workflow("stuck", &Story::default()).await?;
    gate.reached(1).await;
    for _ in 0..10 {
        let id = host.start_workflow("good", &Story::default()).await?;
        host.until(async || host.current_steps(&id).await.is_ok_and(|at| at == ["hour"])).await?;
        // The host that runs this step is not idle, but its timers fire.
        stage.clock.advance(HOUR);
        host.until(async || host.outcome::<Story>(&id).await.is_ok_and(|end| end.is_some())).await?;
    }
    host.terminate(&stuck).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&stuck).await?, Some(Outcome::Terminated));
    Ok(())
}

async fn a_blocking_step_that_panics_has_failed(stage: Stage) -> Checked<()> {
    let bad = begin("bad").blocking("a", |_, _| explode::<Result<(), StepError>>()).step("b", mark("b"));
    let host = stage.host([built(bad)?]).await?;
    let id = host.start_workflow("bad", &Story::default()).await?;
    match host.run_to_end::<Story>(&id).await? {
        Outcome::Failed(cause) => assert_eq!(cause.code, StepError::PANIC),
        other => unmet(&format!("it ended as {other:?}")),
    }
    Ok(())
}

async fn a_delay_longer_than_the_calendar_sleeps_for_ever(stage: Stage) -> Checked<()> {
    let long = begin("long").delay("ever", |_| Duration::MAX).step("a", mark("a"));
    let host = stage.host([built(long)?]).await?;
    let id = host.start_workflow("long", &Story::default()).await?;
    host.advance(1_000 * DAY).await?;
    assert_eq!(host.current_steps(&id).await?, ["ever"]);
    Ok(())
}

async fn an_event_of_another_type_fails_the_wait_and_changes_nothing(stage: Stage) -> Checked<()> {
    let typed = begin("typed").wait_for("wait", NUMBER, |_| "k").output(|n, story| story.n = n);
    let host = stage.host_that_waits([built(typed)?]).await?;
    let id = host.start_workflow("typed", &Story::default()).await?;
    host.idle().await?;
    host.publish_event("n", "k", &json!({ "no": "number" })).await?;
    match host.run_to_end::<Story>(&id).await? {
        Outcome::Failed(cause) => assert_eq!(cause.code, StepError::UNREADABLE),
        other => unmet(&format!("it ended as {other:?}")),
    }
    Ok(())
}

/// A value that is nested more deeply than JSON parsers accept.
fn deep() -> Value {
    (0..200).fold(json!(0), |inner, _| json!([inner]))
}

async fn data_that_cannot_be_stored_fails_its_step(stage: Stage) -> Checked<()> {
    let often = Retry::exponential().attempts(10);
    let deep = begin("deep")
        .call("a", |_, _| Ok(deep()))
        .retry(often.clone())
        .fallback(|b| b.step("f", mark("outcome")))
        .call("b", |_, _| Ok(Next::Persist(deep())))
        .retry(often)
        .fallback(|b| b.step("g", mark("state")));
    let host = stage.host([built(deep)?]).await?;
    let id = host.start_workflow("deep", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "outcome state");
    Ok(())
}

/// A step that counts, in this process, how often its body runs.
fn counted(runs: &Arc<AtomicUsize>) -> impl IntoStep<Story> + use<> {
    task::<Story>().with(runs.clone()).call(|ctx, _| {
        ctx.app.fetch_add(1, SeqCst);
        Ok(())
    })
}

async fn a_step_that_finished_before_one_whose_value_cannot_be_stored_never_runs_again(
    stage: Stage,
) -> Checked<()> {
    let (charged, refunded) = (Arc::default(), Arc::default());
    let saga = begin("saga").saga("saga", |saga| {
        saga.step("charge", counted(&charged))
            .compensate_with(|undo| undo.step("refund", counted(&refunded)))
            .activity("ship", Activity::<_, ()>::new("ship"), |_| deep())
            .on_failure(OnFailure::Suspend)
            .step("after", mark("after"))
            .delay("long", |_| DAY)
    });
    let host = stage.host_that_waits([built(saga)?]).await?;
    let id = host.start_workflow("saga", &Story::default()).await?;
    for _ in 0..3 {
        host.idle().await?;
        let status = host.status(&id).await?;
        let cause = status.cause.as_ref().map(|cause| (&*cause.step, &*cause.code));
        assert_eq!(cause, Some(("ship", StepError::UNSTORABLE)));
        assert_eq!(status.state, State::Suspended);
        host.resume(&id).await?;
    }
    host.idle().await?;
    host.skip(&id).await?;
    host.idle().await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["after"]);
    host.cancel(&id).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Cancelled));
    let runs = [&charged, &refunded].map(|runs| runs.load(SeqCst));
    assert_eq!(runs, [1, 1], "charged once, refunded once");
    Ok(())
}

async fn of_many_items_only_the_one_whose_value_cannot_be_stored_fails(stage: Stage) -> Checked<()> {
    let runs = Arc::default();
    let items = begin("items")
        .for_each(
            "all",
            |_| (0..40_u64).collect(),
            |one| {
                one.step("first", counted(&runs))
                    .activity("work", Activity::<_, ()>::new("work"), |_, n| {
                        if *n == 17 { deep() } else { json!(n) }
                    })
                    .on_timeout(|_, _| HOUR, |b| b.step("late", count()))
                    .fallback(|b| b.step("bad", mark_item("bad")))
            },
        )
        .concurrent(40);
    let host = stage.host_that_waits([built(items)?]).await?;
    let id = host.start_workflow("items", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "bad17");
    assert_eq!(runs.load(SeqCst), 40, "each body ran once");
    let failures = host.failures(&id).await?;
    assert_eq!((failures.len(), &*failures[0].step), (1, "work"));
    Ok(())
}

async fn an_effective_date_beyond_the_calendar_is_as_early_or_as_late_as_can_be(stage: Stage) -> Checked<()> {
    let dated = |id, date| {
        built(
            begin(id)
                .wait_for("wait", NUMBER, |_| "k")
                .effective(move |_| date)
                .output(|n, story| story.n = n)
                .step("a", mark("a")),
        )
    };
    let definitions = [dated("early", DateTime::<Utc>::MIN_UTC)?, dated("late", DateTime::<Utc>::MAX_UTC)?];
    let host = stage.host_that_waits(definitions).await?;
    host.publish_event("n", "k", &7_u64).await?;
    let early = host.start_workflow("early", &Story::default()).await?;
    let late = host.start_workflow("late", &Story::default()).await?;
    assert_eq!(completed(&host, &early).await?.n, 7);
    host.advance(DAY).await?;
    let status = host.status(&late).await?;
    assert_eq!((status.state, host.current_steps(&late).await?), (State::Running, vec!["wait".to_owned()]));
    Ok(())
}

/// A panic payload that panics again when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        explode::<()>();
    }
}

async fn a_panic_that_panics_again_when_it_is_dropped_fails_its_step(stage: Stage) -> Checked<()> {
    fn bomb<T>() -> T {
        resume_unwind(Box::new(Bomb))
    }
    let bad = begin("bad")
        .then("body", async |_, _| bomb::<Result<(), StepError>>())
        .fallback(|b| b.step("f", mark("body")))
        .then("output", async |_, _| Ok(()))
        .output(|(), _| bomb())
        .fallback(|b| b.step("g", mark("output")))
        .if_("if", |_| bomb(), |then| then.step("h", mark("h")))
        .fallback(|b| b.step("i", mark("condition")))
        .step("predicate", fail())
        .retry(Retry::exponential().attempts(10).only_if(|_| bomb()))
        .fallback(|b| b.step("j", mark("predicate")));
    let host = stage.host([built(bad)?]).await?;
    let id = host.start_workflow("bad", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "body output condition predicate");
    Ok(())
}
