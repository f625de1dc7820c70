use wfe::{
    definition::{Block, Main, Sequence},
    error::Family,
};

use super::prelude::*;

scenarios!("races":
    the_first_branch_that_ends_cancels_the_bodies_of_the_others,
    a_race_against_a_delay_limits_the_time_of_several_steps,
    a_claim_of_a_branch_that_has_lost_is_refused,
    an_answer_wins_the_race_against_its_time_limit,
    the_children_of_a_branch_that_has_lost_are_cancelled,
    each_item_of_a_for_each_has_a_race_of_its_own,
    a_branch_that_fails_fails_its_race,
    what_a_loser_has_completed_is_compensated_with_the_saga_and_not_before,
    a_suspended_race_is_decided_when_it_is_resumed,
    a_cancel_condition_can_end_the_branch_of_its_step,
    a_cancel_condition_can_end_the_workflow_on_the_main_path,
);

const SIGNED: Event<()> = Event::new("signed");
const PACK: Activity<(), ()> = Activity::new("pack");

/// Two signatures, or a week.
fn contract() -> Sequence<Story, Main, (), Block> {
    begin("contract").race("in-time", |first| {
        first
            .branch(|b| {
                b.wait_for("we", SIGNED, |_| "we")
                    .wait_for("they", SIGNED, |_| "they")
                    .step("a", mark("signed"))
            })
            .branch(|b| b.delay("week", |_| 7 * DAY).step("b", mark("withdrawn")))
    })
}

async fn the_first_branch_that_ends_cancels_the_bodies_of_the_others(stage: Stage) -> Checked<()> {
    let gates = [Gate::default(), Gate::default()];
    let race = begin("race")
        .race("race", |first| {
            first
                .branch(|b| b.step("one", gates[0].step()).step("a", mark("a")))
                .branch(|b| b.step("two", gates[1].step()).step("b", mark("b")))
        })
        .step("after", mark("after"));
    let host = stage.host([built(race)?]).await?;
    let id = host.start_workflow("race", &Story::default()).await?;
    for gate in &gates {
        gate.reached(1).await;
    }
    gates[1].open();
    assert_eq!(words(&host, &id).await?, "b after");
    assert!(host.failures(&id).await?.is_empty(), "the result of a cancelled body is ignored");
    Ok(())
}

async fn a_race_against_a_delay_limits_the_time_of_several_steps(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(contract().step("c", mark("after")))?]).await?;
    let late = host.start_workflow("contract", &Story::default()).await?;
    host.idle().await?;
    host.publish(SIGNED, "we", ()).await?;
    assert_eq!(words(&host, &late).await?, "withdrawn after");
    let signed = host.start_workflow("contract", &Story::default()).await?;
    host.idle().await?;
    host.publish(SIGNED, "we", ()).await?;
    host.publish(SIGNED, "they", ()).await?;
    assert_eq!(words(&host, &signed).await?, "signed after");
    Ok(())
}

async fn a_claim_of_a_branch_that_has_lost_is_refused(stage: Stage) -> Checked<()> {
    let race = begin("claim")
        .race("race", |first| {
            first
                .branch(|b| b.activity("pack", PACK, |_| ()).step("a", mark("packed")))
                .branch(|b| b.delay("hour", |_| HOUR).step("b", mark("late")))
        })
        .step("after", mark("after"));
    let host = stage.host_that_waits([built(race)?]).await?;
    let id = host.start_workflow("claim", &Story::default()).await?;
    host.idle().await?;
    let claim = host.host().activities().claim_by_name("pack", "test", 2 * HOUR).await?;
    let Some(claim) = claim else { unmet("the activity is open") };
    assert_eq!(words(&host, &id).await?, "late after");
    assert_eq!(claim.succeed(&()).await.map_err(|e| e.family()), Err(Family::Worker));
    assert!(host.activities("pack").await?.is_empty());
    Ok(())
}

async fn an_answer_wins_the_race_against_its_time_limit(stage: Stage) -> Checked<()> {
    let race = begin("answer")
        .race("race", |first| {
            first
                .branch(|b| b.activity("pack", PACK, |_| ()))
                .branch(|b| b.delay("hour", |_| HOUR).step("b", mark("late")))
        })
        .step("after", mark("after"));
    let host = stage.host_that_waits([built(race)?]).await?;
    let id = host.start_workflow("answer", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(host.work("pack", |_| Ok(())).await?, Some(id.clone()));
    assert_eq!(words(&host, &id).await?, "after");
    Ok(())
}

async fn the_children_of_a_branch_that_has_lost_are_cancelled(stage: Stage) -> Checked<()> {
    let slow = begin("slow").saga("saga", |saga| {
        saga.step("a", mark("a"))
            .compensate_with(|undo| undo.step("un-a", mark("un-a")))
            .delay("day", |_| DAY)
    });
    let race = begin("parent").race("race", |first| {
        first
            .branch(|b| b.sub_workflow("child", WorkflowName::new("slow"), |_| Story::default()))
            .branch(|b| b.delay("hour", |_| HOUR).step("b", mark("b")))
    });
    let host = stage.host_that_waits([built(race)?, built(slow)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "b");
    let child = format!("{id}//race/0/child//1");
    let ended = host.run_to_end::<Story>(&child).await?;
    assert!(matches!(ended, Outcome::Cancelled));
    assert_eq!(host.data::<Story>(&child).await?.words, ["a", "un-a"]);
    Ok(())
}

async fn each_item_of_a_for_each_has_a_race_of_its_own(stage: Stage) -> Checked<()> {
    let all = begin("items").for_each(
        "each",
        |_| vec![1_u32, 2, 3, 4],
        |one| {
            one.race("race", |first| {
                first
                    .branch(|b| b.delay("work", |_, n| *n * HOUR).step("a", mark_item("done")))
                    .branch(|b| b.delay("limit", |_, _| HOUR * 5 / 2).step("b", mark_item("late")))
            })
        },
    );
    let host = stage.host([built(all.concurrent(2))?]).await?;
    let id = host.start_workflow("items", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "done1 done2 late3 late4");
    Ok(())
}

async fn a_branch_that_fails_fails_its_race(stage: Stage) -> Checked<()> {
    let race = begin("fails").race("race", |first| {
        first.branch(|b| b.delay("day", |_| DAY).step("a", mark("a"))).branch(|b| b.step("fail", fail()))
    });
    let host = stage.host([built(race)?]).await?;
    let id = host.start_workflow("fails", &Story::default()).await?;
    assert!(matches!(host.run_to_end::<Story>(&id).await?, Outcome::Failed { .. }));
    Ok(())
}

async fn what_a_loser_has_completed_is_compensated_with_the_saga_and_not_before(stage: Stage) -> Checked<()> {
    let (gate, other) = (Gate::default(), Gate::default());
    let saga = begin("saga").saga("saga", |saga| {
        saga.race("race", |first| {
            first
                .branch(|b| {
                    b.step("a", mark("a"))
                        .compensate_with(|undo| undo.step("un-a", mark("un-a")))
                        .step("slow", gate.step())
                        .compensate_even_if_failed(|undo| undo.step("un-slow", mark("un-slow")))
                })
                .branch(|b| b.step("fast", other.step()).step("b", mark("b")))
        })
        .step("then", mark("then"))
        .step("fail", fail())
    });
    let host = stage.host([built(saga)?]).await?;
    let id = host.start_workflow("saga", &Story::default()).await?;
    gate.reached(1).await;
    other.reached(1).await;
    other.open();
    assert_eq!(words(&host, &id).await?, "a b then un-slow un-a");
    Ok(())
}

async fn a_suspended_race_is_decided_when_it_is_resumed(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(contract().step("c", mark("after")))?]).await?;
    let id = host.start_workflow("contract", &Story::default()).await?;
    host.idle().await?;
    host.host().suspend(&id).await?;
    host.advance(8 * DAY).await?;
    assert_eq!(host.status(&id).await?.state, State::Suspended);
    host.host().resume(&id).await?;
    assert_eq!(words(&host, &id).await?, "withdrawn after");
    Ok(())
}

async fn a_cancel_condition_can_end_the_branch_of_its_step(stage: Stage) -> Checked<()> {
    let both = begin("branch")
        .parallel("both", |all| {
            all.branch(|b| {
                b.delay("day", |_| DAY).cancel_branch_when(|story| story.n > 0).step("never", mark("never"))
            })
            .branch(|b| b.delay("hour", |_| HOUR).step("count", count()).step("b", mark("b")))
        })
        .step("after", mark("after"));
    let host = stage.host([built(both)?]).await?;
    let (id, began) = (host.start_workflow("branch", &Story::default()).await?, stage.clock.now());
    assert_eq!(words(&host, &id).await?, "b after");
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(1));
    Ok(())
}

async fn a_cancel_condition_can_end_the_workflow_on_the_main_path(stage: Stage) -> Checked<()> {
    let main = begin("main")
        .after("hour", |_| HOUR, |side| side.step("count", count()).step("side", mark("side")))
        .wait_for("signed", SIGNED, |_| "never")
        .cancel_branch_when(|story| story.n > 0)
        .step("never", mark("never"));
    let host = stage.host_that_waits([built(main)?]).await?;
    let id = host.start_workflow("main", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "side");
    assert_eq!(host.status(&id).await?.state, State::Completed);
    Ok(())
}
