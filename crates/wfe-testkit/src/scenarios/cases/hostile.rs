use std::sync::atomic::{AtomicUsize, Ordering};

use wfe::StartOptions;

use super::prelude::*;

scenarios!("hostile input":
    names_with_quotes_and_nul_are_names_as_any_others,
    huge_numbers_come_through_unchanged,
    a_panicking_condition_fails_its_step_and_nothing_else,
    a_panicking_output_changes_nothing_and_holds_up_no_other_instance,
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

const NASTY: &str = "a'b\"c\0d`;--\u{1F980}%_\\";

async fn names_with_quotes_and_nul_are_names_as_any_others(stage: Stage) -> Checked<()> {
    let nasty = begin(NASTY)
        .then(NASTY, mark(NASTY))
        .wait_for(
            format!("wait {NASTY}"),
            event(NASTY, |_: &Story, ()| NASTY).output(|w: &String, s: &mut Story| s.text.clone_from(w)),
        )
        .activity("work", activity(NASTY, |s: &Story, ()| s.text.clone()));
    let host = stage.host_that_waits([built(nasty)?]).await?;
    let own = || Some(NASTY.to_owned());
    let options = StartOptions { reference: own(), name: own(), description: own(), version: None };
    let id = host.start_workflow_with(NASTY, &Story::default(), options.clone()).await?;
    assert_eq!(host.start_workflow_with(NASTY, &Story::default(), options).await?, id);
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, [format!("wait {NASTY}")]);
    host.publish(NASTY, NASTY, NASTY).await?;
    host.idle().await?;
    assert_eq!(host.work(NASTY, |input| Ok(input.clone())).await?, Some(id.clone()));
    let story = completed(&host, &id).await?;
    assert_eq!((&*story.text, &story.words[..]), (NASTY, &[NASTY.to_owned()][..]));
    Ok(())
}

async fn huge_numbers_come_through_unchanged(stage: Stage) -> Checked<()> {
    let items = [0, u64::MAX, u64::MAX - 1];
    let all = begin("huge")
        .for_each("all", each(move |_: &Story| items.to_vec()), |one| one.then("a", mark_item("")));
    let host = stage.host([built(all)?]).await?;
    let id = host.start_workflow("huge", &Story { n: u64::MAX, ..Story::default() }).await?;
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.join(" ")), (u64::MAX, format!("0 {} {}", u64::MAX, u64::MAX - 1)));
    Ok(())
}

async fn a_panicking_condition_fails_its_step_and_nothing_else(stage: Stage) -> Checked<()> {
    let bad = begin("bad")
        .if_("if", |_, ()| explode(), |then| then.then("a", mark("a")))
        .fallback(|b| b.then("f", mark("fell")))
        .while_("while", |_, ()| explode(), |round| round.then("b", mark("b")));
    let good = begin("good").delay("hour", |_, ()| HOUR).then("c", mark("c"));
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
    let both: Plain<(), ()> = inline(|_, _| async { Ok(()) });
    // The second output panics after the first output has written. Neither output takes effect.
    let both = both.output(|(), s: &mut Story| s.n = 7).output(|(), _: &mut Story| explode());
    let bad = begin("bad").then("a", both).fallback(|b| b.then("f", mark("fell")));
    let good = begin("good").delay("hour", |_, ()| HOUR).then("c", mark("c"));
    let host = stage.host([built(bad)?, built(good)?]).await?;
    let bad = host.start_workflow("bad", &Story::default()).await?;
    let good = host.start_workflow("good", &Story::default()).await?;
    let story = completed(&host, &bad).await?;
    assert_eq!((story.n, story.words.join(" ")), (0, "fell".to_owned()));
    assert_eq!(words(&host, &good).await?, "c");
    Ok(())
}

async fn a_value_of_ten_megabytes_comes_through_and_holds_up_no_other_instance(stage: Stage) -> Checked<()> {
    const SIZE: usize = 10 << 20;
    let large: Plain<String, ()> = inline(|_, _| async { Ok("x".repeat(SIZE)) });
    let large = large.output(|text: &String, s: &mut Story| s.text.clone_from(text));
    let large = begin("large").then("a", large).delay("hour", |_, ()| HOUR).then("b", mark("b"));
    let good = begin("good").then("c", mark("c"));
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
        .wait_for("wait", event("e", |_: &Story, ()| explode::<String>()))
        .fallback(|b| b.then("f", mark("fell")));
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
            built(begin("stuck").then("stuck", gate.step()))?,
            built(begin("good").then("a", mark("a")).delay("hour", |_, ()| HOUR).then("b", mark("b")))?,
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
    host.host().terminate(&stuck).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&stuck).await?, Some(Outcome::Terminated));
    Ok(())
}

async fn a_blocking_step_that_panics_has_failed(stage: Stage) -> Checked<()> {
    let bad = wfe::definition::blocking(|_: &Ctx, _: &Story| -> Result<(), StepError> { explode() });
    let host = stage.host([built(begin("bad").then("a", bad).then("b", mark("b")))?]).await?;
    let id = host.start_workflow("bad", &Story::default()).await?;
    match host.run_to_end::<Story>(&id).await? {
        Outcome::Failed(cause) => assert_eq!(cause.code, StepError::PANIC),
        other => unmet(&format!("it ended as {other:?}")),
    }
    Ok(())
}

async fn a_delay_longer_than_the_calendar_sleeps_for_ever(stage: Stage) -> Checked<()> {
    let long = begin("long").delay("ever", |_, ()| Duration::MAX).then("a", mark("a"));
    let host = stage.host([built(long)?]).await?;
    let id = host.start_workflow("long", &Story::default()).await?;
    host.advance(1_000 * DAY).await?;
    assert_eq!(host.current_steps(&id).await?, ["ever"]);
    Ok(())
}

async fn an_event_of_another_type_fails_the_wait_and_changes_nothing(stage: Stage) -> Checked<()> {
    let wait = event("n", |_: &Story, ()| "k").output(|n: &u64, s: &mut Story| s.n = *n);
    let host = stage.host_that_waits([built(begin("typed").wait_for("wait", wait))?]).await?;
    let id = host.start_workflow("typed", &Story::default()).await?;
    host.idle().await?;
    host.publish("n", "k", &json!({ "no": "number" })).await?;
    match host.run_to_end::<Story>(&id).await? {
        Outcome::Failed(cause) => assert_eq!(cause.code, StepError::UNREADABLE),
        other => unmet(&format!("it ended as {other:?}")),
    }
    Ok(())
}

/// A value that is nested more deeply than JSON parsers accept.
fn deep() -> serde_json::Value {
    (0..200).fold(json!(0), |inner, _| json!([inner]))
}

async fn data_that_cannot_be_stored_fails_its_step(stage: Stage) -> Checked<()> {
    let outcome: Plain<serde_json::Value, ()> = inline(|_, _| async { Ok(deep()) });
    let kept: Plain<Next, ()> = inline(|_, _| async { Ok(Next::Persist(deep())) });
    let deep = begin("deep")
        .then("a", outcome.retry(Retry::up_to(9)))
        .fallback(|b| b.then("f", mark("outcome")))
        .then("b", kept.retry(Retry::up_to(9)))
        .fallback(|b| b.then("g", mark("state")));
    let host = stage.host([built(deep)?]).await?;
    let id = host.start_workflow("deep", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "outcome state");
    Ok(())
}

/// A step that counts, in this process, how often its body runs.
fn counted<I: wfe::definition::Item>(runs: &Arc<AtomicUsize>) -> Plain<(), I> {
    let runs = runs.clone();
    inline(move |_, _| {
        runs.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    })
}

async fn a_step_that_finished_before_one_whose_value_cannot_be_stored_never_runs_again(
    stage: Stage,
) -> Checked<()> {
    let (charged, refunded) = (Arc::default(), Arc::default());
    let saga = begin("saga").saga("saga", |saga| {
        saga.then("charge", counted(&charged))
            .compensate_with(|undo| undo.then("refund", counted(&refunded)))
            .activity("ship", activity("ship", |_: &Story, ()| deep()))
            .on_failure(OnFailure::Suspend)
            .then("after", mark("after"))
            .delay("long", |_, ()| DAY)
    });
    let host = stage.host_that_waits([built(saga)?]).await?;
    let id = host.start_workflow("saga", &Story::default()).await?;
    for _ in 0..3 {
        host.idle().await?;
        let status = host.status(&id).await?;
        let cause = status.cause.as_ref().map(|cause| (&*cause.step, &*cause.code));
        assert_eq!(cause, Some(("ship", StepError::UNSTORABLE)));
        assert_eq!(status.status, WorkflowStatus::Suspended);
        host.host().resume(&id).await?;
    }
    host.idle().await?;
    host.host().skip(&id).await?;
    host.idle().await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["after"]);
    host.host().cancel(&id).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Cancelled));
    let runs = [&charged, &refunded].map(|runs| runs.load(Ordering::SeqCst));
    assert_eq!(runs, [1, 1], "charged once, refunded once");
    Ok(())
}

async fn of_many_items_only_the_one_whose_value_cannot_be_stored_fails(stage: Stage) -> Checked<()> {
    let runs = Arc::default();
    let all = each(|_: &Story| (0..40_u64).collect()).parallel(40);
    let input = |_: &Story, n: &u64| if *n == 17 { deep() } else { json!(n) };
    let items = begin("items").for_each("all", all, |one| {
        one.then("first", counted(&runs))
            .activity("work", activity("work", input).timeout(|_, _| HOUR, |b| b.then("late", count())))
            .fallback(|b| b.then("bad", mark_item("bad")))
    });
    let host = stage.host_that_waits([built(items)?]).await?;
    let id = host.start_workflow("items", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "bad17");
    assert_eq!(runs.load(Ordering::SeqCst), 40, "each body ran once");
    let failures = host.failures(&id).await?;
    assert_eq!((failures.len(), &*failures[0].step), (1, "work"));
    Ok(())
}

async fn an_effective_date_beyond_the_calendar_is_as_early_or_as_late_as_can_be(stage: Stage) -> Checked<()> {
    let dated = |id, date: chrono::DateTime<chrono::Utc>| {
        let wait = event("n", |_: &Story, ()| "k").effective(move |_, ()| date);
        begin(id).wait_for("wait", wait.output(|n: &u64, s: &mut Story| s.n = *n)).then("a", mark("a"))
    };
    let host = stage
        .host_that_waits([
            built(dated("early", chrono::DateTime::<chrono::Utc>::MIN_UTC))?,
            built(dated("late", chrono::DateTime::<chrono::Utc>::MAX_UTC))?,
        ])
        .await?;
    host.publish("n", "k", &7_u64).await?;
    let early = host.start_workflow("early", &Story::default()).await?;
    let late = host.start_workflow("late", &Story::default()).await?;
    assert_eq!(completed(&host, &early).await?.n, 7);
    host.advance(DAY).await?;
    let status = host.status(&late).await?;
    assert_eq!(
        (status.status, host.current_steps(&late).await?),
        (WorkflowStatus::Runnable, vec!["wait".to_owned()])
    );
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
        std::panic::resume_unwind(Box::new(Bomb))
    }
    let body: Plain<(), ()> = inline(|_, _| async { bomb::<Result<(), StepError>>() });
    let output: Plain<(), ()> = inline(|_, _| async { Ok(()) });
    let picky: Plain<(), ()> = fail();
    let bad = begin("bad")
        .then("body", body)
        .fallback(|b| b.then("f", mark("body")))
        .then("output", output.output(|(), _: &mut Story| bomb()))
        .fallback(|b| b.then("g", mark("output")))
        .if_("if", |_, ()| bomb(), |then| then.then("h", mark("h")))
        .fallback(|b| b.then("i", mark("condition")))
        .then("predicate", picky.retry(Retry::up_to(9).only_if(|_| bomb())))
        .fallback(|b| b.then("j", mark("predicate")));
    let host = stage.host([built(bad)?]).await?;
    let id = host.start_workflow("bad", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "body output condition predicate");
    Ok(())
}
