use wfe::definition::Every;

use super::prelude::*;

scenarios!("time":
    a_delay_of_thirty_days_ends_on_its_day_and_not_before,
    a_delay_of_nothing_and_one_until_a_past_time_are_over_at_once,
    delays_in_branches_end_in_the_order_of_their_times,
    a_scheduled_branch_runs_beside_what_follows,
    a_recurring_branch_ticks_until_its_condition_holds,
    a_recurring_branch_keeps_its_rhythm_while_its_children_live,
    a_cron_expression_recurs_in_its_zone,
    after_a_downtime_one_tick_catches_up,
    a_body_that_sleeps_on_the_clock_can_be_waited_for,
    a_step_that_sleeps_finds_the_state_that_it_kept,
    a_workflow_that_misses_its_deadline_fails_and_compensates_its_saga,
);

async fn a_delay_of_thirty_days_ends_on_its_day_and_not_before(stage: Stage) -> Checked<()> {
    let host = stage.host([built(begin("delay").delay("month", |_| 30 * DAY).step("a", mark("a")))?]).await?;
    let id = host.start_workflow("delay", &Story::default()).await?;
    host.advance((30 * DAY).saturating_sub(Duration::from_millis(1))).await?;
    assert_eq!(host.current_steps(&id).await?, ["month"]);
    let began = stage.clock.now();
    assert_eq!(words(&host, &id).await?, "a");
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::milliseconds(1));
    Ok(())
}

async fn a_delay_of_nothing_and_one_until_a_past_time_are_over_at_once(stage: Stage) -> Checked<()> {
    let none = begin("none")
        .delay("zero", |_| Duration::ZERO)
        .delay_until("past", |_| chrono::DateTime::<chrono::Utc>::MIN_UTC)
        .after("side", |_| Duration::ZERO, |side| side.step("b", mark("side")))
        .delay("more", |_| Duration::from_nanos(1))
        .step("a", mark("a"));
    let host = stage.host([built(none)?]).await?;
    let id = host.start_workflow("none", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "side a");
    Ok(())
}

async fn delays_in_branches_end_in_the_order_of_their_times(stage: Stage) -> Checked<()> {
    let hours = begin("hours")
        .for_each(
            "all",
            |_| vec![5_u32, 1, 4, 2, 3],
            |one| one.delay("wait", |_, hours| *hours * HOUR).step("note", mark_item("")),
        )
        .concurrent(5);
    let host = stage.host([built(hours)?]).await?;
    let id = host.start_workflow("hours", &Story::default()).await?;
    host.advance(3 * HOUR).await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["1", "2", "3"]);
    assert_eq!(words(&host, &id).await?, "1 2 3 4 5");
    Ok(())
}

async fn a_scheduled_branch_runs_beside_what_follows(stage: Stage) -> Checked<()> {
    let side = begin("side")
        .after("later", |_| 2 * HOUR, |later| later.step("b", mark("later")))
        .step("a", mark("now"))
        .delay("wait", |_| HOUR)
        .step("c", mark("soon"));
    let host = stage.host([built(side)?]).await?;
    let id = host.start_workflow("side", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "now soon later");
    Ok(())
}

async fn a_recurring_branch_ticks_until_its_condition_holds(stage: Stage) -> Checked<()> {
    let recur = begin("recur")
        .recur("tick", Every::interval(HOUR), |story| story.n == 3, |tick| tick.step("count", count()))
        .step("a", mark("beside"));
    let host = stage.host([built(recur)?]).await?;
    let id = host.start_workflow("recur", &Story::default()).await?;
    let began = stage.clock.now();
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.join(" ").as_str()), (3, "beside"));
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(3));
    Ok(())
}

async fn a_recurring_branch_keeps_its_rhythm_while_its_children_live(stage: Stage) -> Checked<()> {
    let recur = begin("slow").recur(
        "tick",
        Every::interval(HOUR),
        |story| story.n >= 4,
        |tick| tick.step("count", count()).delay("long", |_| 10 * HOUR).step("a", mark("done")),
    );
    let host = stage.host([built(recur)?]).await?;
    let id = host.start_workflow("slow", &Story::default()).await?;
    host.advance(4 * HOUR).await?;
    let story = host.data::<Story>(&id).await?;
    assert_eq!((story.n, story.words.len()), (4, 0));
    assert_eq!(words(&host, &id).await?, "done done done done");
    Ok(())
}

async fn a_cron_expression_recurs_in_its_zone(stage: Stage) -> Checked<()> {
    let berlin = Every::cron("0 9 * * *").in_zone("Europe/Berlin");
    let daily = begin("daily").recur("nine", berlin, |s| s.n == 2, |tick| tick.step("count", count()));
    let host = stage.host([built(daily)?]).await?;
    let id = host.start_workflow("daily", &Story::default()).await?;
    completed(&host, &id).await?;
    assert_eq!(stage.clock.now().to_rfc3339(), "2030-01-02T08:00:00+00:00");
    Ok(())
}

async fn after_a_downtime_one_tick_catches_up(stage: Stage) -> Checked<()> {
    stage.must_last()?;
    let hourly = || {
        begin("hourly").recur("tick", Every::interval(HOUR), |s| s.n == 4, |tick| tick.step("count", count()))
    };
    let host = stage.host([built(hourly())?]).await?;
    let id = host.start_workflow("hourly", &Story::default()).await?;
    host.advance(2 * HOUR).await?;
    host.stop().await?;
    drop(host);
    stage.clock.advance(100 * HOUR + 30 * MINUTE);
    let host = stage.host([built(hourly())?]).await?;
    host.idle().await?;
    assert_eq!(host.data::<Story>(&id).await?.n, 3);
    let before = stage.clock.now();
    completed(&host, &id).await?;
    assert_eq!(stage.clock.now() - before, chrono::TimeDelta::minutes(30), "its rhythm is kept");
    Ok(())
}

async fn a_body_that_sleeps_on_the_clock_can_be_waited_for(stage: Stage) -> Checked<()> {
    let naps = begin("nap")
        .with(stage.clock.clone())
        .delay("first", |_| HOUR)
        .then("nap", async |ctx, _| {
            ctx.app.sleep(MINUTE).await;
            ctx.app.sleep(2 * MINUTE).await;
            Ok(())
        })
        .step("after", mark("rested"));
    let host = stage.host([built(naps)?]).await?;
    let id = host.start_workflow("nap", &Story::default()).await?;
    host.idle().await?;
    assert!(host.clock().asleep("nap").is_empty(), "the engine sleeps, and the step does not yet");
    host.clock().advance(HOUR);
    for minutes in [1, 2] {
        let until = host.asleep("nap").await?;
        assert_eq!(until, stage.clock.now() + minutes * MINUTE);
        host.clock().advance(minutes * MINUTE);
    }
    assert_eq!(words(&host, &id).await?, "rested");
    Ok(())
}

async fn a_step_that_sleeps_finds_the_state_that_it_kept(stage: Stage) -> Checked<()> {
    let poll = begin("poll")
        .call("poll", |ctx, _| match ctx.state::<u32>()?.unwrap_or(0) {
            0 => Next::persist(&1),
            3 => Next::outcome(&"done"),
            n => Next::sleep(HOUR).keeping(&(n + 1)),
        })
        .output(|_, story| story.n += 1);
    let host = stage.host([built(poll)?]).await?;
    let (id, began) = (host.start_workflow("poll", &Story::default()).await?, stage.clock.now());
    assert_eq!(completed(&host, &id).await?.n, 1, "outputs are called at its end");
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(2));
    Ok(())
}

async fn a_workflow_that_misses_its_deadline_fails_and_compensates_its_saga(stage: Stage) -> Checked<()> {
    let late = begin("late").deadline(DAY).saga("saga", |saga| {
        saga.step("a", mark("done"))
            .compensate_with(|undo| undo.step("b", mark("compensated")))
            .delay("long", |_| 3 * DAY)
            .step("c", mark("never"))
    });
    let host = stage.host([built(late)?]).await?;
    let id = host.start_workflow("late", &Story::default()).await?;
    match host.run_to_end::<Story>(&id).await? {
        Outcome::Failed(cause) => assert_eq!(cause.code, StepError::DEADLINE),
        other => unmet(&format!("it ended as {other:?}")),
    }
    assert_eq!(host.data::<Story>(&id).await?.words, ["done", "compensated"]);
    Ok(())
}
