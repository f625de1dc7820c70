//! A body of a step begins only when the previous body of this step has ended.

use std::time::Duration;

use super::{
    scenario::{Body, HOUR, Line, begin, broken, does, line, mark, saga, unmark, world},
    world::World,
};
use crate::{
    definition::{Block, Event, IntoStep, Main, OnFailure, Retry, task},
    executor::Job,
    models::{PointerStatus, WorkflowStatus},
    steps::StepError,
    traits::{Control, Ending, Intervention},
};

const LIMIT: Duration = Duration::from_secs(10);

/// A step whose first `times` attempts exceed their time limit.
fn slow(times: u32) -> impl IntoStep<Line> {
    task::<Line>()
        .then(async move |ctx, _| {
            if ctx.attempt() <= times {
                ctx.cancellation().cancelled().await;
            }
            Ok(())
        })
        .output(|(), line| line.push("slow".to_owned()))
        .timeout(LIMIT)
}

fn again(pause: Duration) -> Retry {
    Retry::exponential().attempts(4).initial(pause).max(pause).jitter(0.0)
}

/// Takes the body of this pointer out of the list of waiting bodies. From then on, the body counts as running.
fn take(world: &mut World, pointer: &str) -> Job {
    let at = world.jobs.iter().position(|job| job.pointer() == pointer).expect("it was handed out");
    world.jobs.remove(at)
}

fn time_is_over(world: &mut World) {
    world.pass(LIMIT);
    world.settle();
}

fn held(world: &mut World) -> Vec<String> {
    world.with_run(|run, _| run.held().unwrap())
}

#[test]
fn an_attempt_whose_time_is_over_counts_at_once_and_the_next_body_waits_for_its_end() {
    let mut world = world(begin().step("slow", slow(1)).retry(again(HOUR)).step("after", mark("after")));
    world.open();
    let first = take(&mut world, "slow");
    time_is_over(&mut world);
    assert_eq!((world.failures.len(), world.failures[0].code.as_str()), (1, StepError::TIMEOUT));
    assert_eq!(world.pointer("slow").status, PointerStatus::Sleeping, "its pause runs");
    assert_eq!(world.pointer("slow").sleep_until, Some(world.now + HOUR));
    assert!(world.run.is_some(), "nobody else may begin the next body");
    assert!(held(&mut world).is_empty(), "the pause is not over");
    world.pass(HOUR);
    world.settle();
    assert_eq!((world.waiting().len(), held(&mut world)), (0, vec!["slow".to_owned()]));
    world.finish(vec![first]);
    assert_eq!(world.waiting(), ["slow"]);
    assert!(held(&mut world).is_empty());
    world.play();
    assert_eq!((line(&world).as_str(), world.ending), ("slow after", Some(Ending::Completed)));
}

#[test]
fn a_body_that_ends_in_the_pause_lets_the_instance_be_given_back() {
    let mut world = world(begin().step("slow", slow(1)).retry(again(HOUR)));
    world.open();
    let first = take(&mut world, "slow");
    time_is_over(&mut world);
    world.finish(vec![first]);
    assert!(world.run.is_none());
    assert!(world.commits.last().unwrap().release);
    let due = world.pointer("slow").sleep_until.unwrap();
    assert_eq!(world.instance.next_execution, Some(due.timestamp_millis()));
    world.play();
    assert_eq!(line(&world), "slow");
}

#[test]
fn a_body_that_is_dropped_is_over_and_one_that_is_not_known_changes_nothing() {
    let mut world = world(begin().step("slow", slow(1)).retry(again(Duration::ZERO)));
    world.open();
    let first = take(&mut world, "slow");
    time_is_over(&mut world);
    assert!(!world.with_run(|run, _| run.body_over(first.number() + 1).unwrap()));
    assert!(world.waiting().is_empty());
    assert!(world.with_run(|run, _| run.body_over(first.number()).unwrap()));
    world.settle();
    assert_eq!(world.waiting(), ["slow"]);
}

#[test]
fn where_no_attempt_is_left_the_rest_goes_on_at_once() {
    let fallback = begin().step("slow", slow(9)).fallback(|instead| instead.step("instead", mark("instead")));
    for (builder, next) in [
        (begin().step("slow", slow(9)).on_failure(OnFailure::Continue).step("after", mark("after")), "after"),
        (fallback.step("after", mark("after")), "slow/fallback/instead"),
        (saga(|b| does(b, "a").step("slow", slow(9))).step("after", mark("after")), "saga/undo0/un-a"),
    ] {
        let mut world = world(builder);
        world.open();
        while world.waiting() == ["saga/1/a"] {
            let a = world.jobs.drain(..).collect();
            world.finish(a);
        }
        let pointer = world.waiting()[0].to_owned();
        let _goes_on = take(&mut world, &pointer);
        time_is_over(&mut world);
        assert_eq!(world.waiting(), [next]);
        world.play();
        assert_eq!(world.ending, Some(Ending::Completed), "{next}");
        assert!(line(&world).ends_with("after"));
    }
}

#[test]
fn an_instance_that_fails_ends_at_once_and_one_that_is_suspended_stands_still_at_once() {
    for (then, status) in
        [(OnFailure::Fail, WorkflowStatus::Terminated), (OnFailure::Suspend, WorkflowStatus::Suspended)]
    {
        let mut world = world(begin().step("slow", slow(1)).on_failure(then));
        world.open();
        let first = take(&mut world, "slow");
        time_is_over(&mut world);
        assert_eq!(world.instance.status, status);
        assert_eq!(world.run.is_some(), then == OnFailure::Suspend, "a resume would begin the next body");
        if then == OnFailure::Suspend {
            world.ask(Control::Resume);
            assert!(world.waiting().is_empty());
            world.finish(vec![first]);
            world.play();
            assert_eq!(line(&world), "slow");
        }
    }
}

#[test]
fn cancel_terminate_and_a_deadline_wait_for_no_body() {
    let sagas = || saga(|b| does(b, "a").step("slow", slow(9)));
    for (control, ending) in [
        (Some(Control::Cancel), Ending::Cancelled),
        (Some(Control::Terminate), Ending::Terminated),
        (None, Ending::Failed),
    ] {
        let mut world = world(sagas().deadline(LIMIT / 2));
        world.open();
        let a = world.jobs.drain(..).collect();
        world.finish(a);
        let goes_on = take(&mut world, "saga/1/slow");
        match control {
            Some(control) => world.ask(control),
            None => time_is_over(&mut world),
        }
        assert!(goes_on.token().is_cancelled());
        world.play();
        assert_eq!(world.ending, Some(ending));
        assert_eq!(line(&world), if control == Some(Control::Terminate) { "a" } else { "a -a" });
    }
}

/// A container that completes while a body inside it is still running.
fn cut_short(body: Body) -> Body<Main, Block> {
    body.parallel("all", |all| {
        all.branch(|b| b.step("slow", slow(9)).cancel_when(|line| line.iter().any(|w| w == "quick")))
            .branch(|b| b.step("quick", mark("quick")))
    })
    .compensate_with(|undo| {
        undo.wait_for("told", Event::<()>::new("told"), |_| "k").step("un-all", unmark("all"))
    })
}

#[test]
fn the_compensation_of_the_step_itself_waits_and_those_of_others_do_not() {
    let mut world =
        world(saga(|b| does(cut_short(does(b, "a")), "b").step("c", broken())).step("after", mark("after")));
    world.plan(Duration::ZERO, "told", "k", ());
    world.open();
    let a = world.jobs.drain(..).collect();
    world.finish(a);
    let slow = take(&mut world, "saga/1/all/0/slow");
    for next in ["saga/1/all/1/quick", "saga/1/b", "saga/1/c", "saga/undo2/un-b"] {
        assert_eq!(world.waiting(), [next]);
        let jobs = world.jobs.drain(..).collect();
        world.finish(jobs);
    }
    assert_eq!(line(&world), "a quick b -b");
    assert_eq!(held(&mut world), ["saga"]);
    assert!(world.waits.is_empty() && world.waiting().is_empty(), "nothing of it has begun");
    world.finish(vec![slow]);
    world.play();
    assert_eq!(
        (line(&world).as_str(), world.ending),
        ("a quick b -b -all -a after", Some(Ending::Completed))
    );
}

#[test]
fn a_compensation_with_which_another_saga_goes_on_waits_for_the_body_in_which_it_was_cut_short() {
    let inner = |b: Body| {
        b.saga("inner", |b| {
            b.step("a", mark("a")).compensate_with(|undo| undo.step("un-a", unmark("a"))).step("x", broken())
        })
    };
    let mut world = world(saga(|b| {
        b.parallel("all", |all| all.branch(inner).branch(|b| b.delay("hour", |_| HOUR).go_to("out", "y")))
            .step("y", broken())
    }));
    world.open();
    for inside in ["saga/1/all/0/inner/1/a", "saga/1/all/0/inner/1/x"] {
        let body = take(&mut world, inside);
        world.finish(vec![body]);
    }
    let un_a = take(&mut world, "saga/1/all/0/inner/undo0/un-a");
    world.pass(HOUR);
    world.settle();
    assert!(un_a.token().is_cancelled(), "the go-to leads out of the saga that undoes");
    let y = take(&mut world, "saga/1/y");
    world.finish(vec![y]);
    assert!(world.waiting().is_empty(), "the saga around goes on with it");
    assert_eq!(held(&mut world), ["saga/undo0/un-a"]);
    world.finish(vec![un_a]);
    assert_eq!(world.waiting(), ["saga/undo0/un-a"]);
    world.play();
    assert_eq!(line(&world), "a -a");
}

#[test]
fn a_compensation_that_waits_begins_after_a_crash_as_well() {
    let mut world = world(saga(|b| cut_short(b).step("c", broken())));
    world.plan(Duration::ZERO, "told", "k", ());
    world.open();
    let _slow = take(&mut world, "saga/1/all/0/slow");
    for _ in 0..2 {
        let jobs = world.jobs.drain(..).collect();
        world.finish(jobs);
    }
    assert_eq!(held(&mut world), ["saga"]);
    world.crash();
    world.play();
    assert_eq!(line(&world), "quick -all");
}

#[test]
fn who_goes_back_to_a_step_by_hand_or_by_a_go_to_waits_for_its_body() {
    let mut by_hand = world(begin().parallel("all", |all| {
        all.branch(|b| b.step("slow", slow(9)))
            .branch(|b| b.step("bad", broken()).on_failure(OnFailure::Suspend))
    }));
    by_hand.open();
    let slow_one = take(&mut by_hand, "all/0/slow");
    let bad = by_hand.jobs.drain(..).collect();
    by_hand.finish(bad);
    assert_eq!(by_hand.instance.status, WorkflowStatus::Suspended);
    by_hand.intervene(Intervention::ResumeFrom("all".to_owned()));
    assert!(slow_one.token().is_cancelled());
    assert_eq!(by_hand.waiting(), ["all#2/1/bad"], "the other one waits");
    assert_eq!(held(&mut by_hand), ["all#2/0/slow"]);
    by_hand.finish(vec![slow_one]);
    assert_eq!(by_hand.waiting(), ["all#2/1/bad", "all#2/0/slow"]);

    let mut jumps = world(begin().parallel("all", |all| {
        all.branch(|b| b.step("slow", slow(9)))
            .branch(|b| b.step("quick", mark("quick")).go_to("back", "all"))
    }));
    jumps.open();
    let slow_one = take(&mut jumps, "all/0/slow");
    let quick = jumps.jobs.drain(..).collect();
    jumps.finish(quick);
    assert_eq!(jumps.waiting(), ["all#2/1/quick"], "the other one waits");
    assert_eq!(held(&mut jumps), ["all#2/0/slow"]);
    jumps.finish(vec![slow_one]);
    assert_eq!(jumps.waiting(), ["all#2/1/quick", "all#2/0/slow"]);
}

#[test]
fn each_round_of_a_saga_waits_for_the_bodies_of_the_one_before_and_iterations_do_not_wait() {
    let body = |b: Body| {
        b.parallel("all", |all| {
            all.branch(|b| b.step("slow", slow(9))).branch(|b| b.step("bad", broken_once()))
        })
    };
    let mut rounds = world(begin().saga("saga", body).retry(again(Duration::ZERO)));
    rounds.open();
    let first = take(&mut rounds, "saga/1/all/0/slow");
    let bad = rounds.jobs.drain(..).collect();
    rounds.finish(bad);
    assert_eq!(rounds.waiting(), ["saga/2/all/1/bad"]);
    assert_eq!(held(&mut rounds), ["saga/2/all/0/slow"]);
    rounds.finish(vec![first]);
    assert_eq!(rounds.waiting(), ["saga/2/all/1/bad", "saga/2/all/0/slow"]);

    let mut loops = world(begin().for_each(
        "each",
        |_| vec![1, 2],
        |b| b.step("slow", slow(9)).on_failure(OnFailure::Continue),
    ));
    loops.open();
    let items = loops.jobs.drain(..).collect();
    loops.finish(items);
    let _first = take(&mut loops, "each/0/slow");
    time_is_over(&mut loops);
    assert_eq!(loops.waiting(), ["each/1/slow"]);
}

#[test]
fn each_round_of_a_while_waits_for_the_bodies_of_the_one_before() {
    let twice = |line: &Line| line.iter().filter(|word| *word == "round").count() < 2;
    let body = |b: Body| {
        b.step("slow", slow_at_first()).step("round", mark("round")).for_each(
            "each",
            |_| vec![1, 2],
            |b| b.step("item", slow_at_first()),
        )
    };
    let mut world = world(begin().while_("loop", twice, body).step("last", mark("last")));
    world.open();
    let first = take(&mut world, "loop/0/slow");
    time_is_over(&mut world);
    let round = world.jobs.drain(..).collect();
    world.finish(round);
    let each = world.jobs.drain(..).collect();
    world.finish(each);
    let item = take(&mut world, "loop/0/each/0/item");
    time_is_over(&mut world);
    assert_eq!(world.waiting(), ["loop/0/each/1/item"], "items run side by side");
    let other = world.jobs.drain(..).collect();
    world.finish(other);
    assert_eq!((world.waiting().len(), held(&mut world)), (0, vec!["loop/1/slow".to_owned()]));
    world.finish(vec![first]);
    for next in ["loop/1/slow", "loop/1/round", "loop/1/each"] {
        assert_eq!(world.waiting(), [next]);
        let next = world.jobs.drain(..).collect();
        world.finish(next);
    }
    assert_eq!((world.waiting().len(), held(&mut world)), (0, vec!["loop/1/each/0/item".to_owned()]));
    world.finish(vec![item]);
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert!(line(&world).ends_with("last"));
}

/// A step that exceeds its time limit in the first round of a while loop, except for the second item. The instance then
/// continues after the step.
fn slow_at_first() -> impl IntoStep<Line> {
    task::<Line>()
        .then(async |ctx, _| {
            let key = ctx.idempotency_key();
            if key.contains("loop/0/") && !key.contains("each/1/") {
                ctx.cancellation().cancelled().await;
            }
            Ok(())
        })
        .timeout(LIMIT)
        .retry(Retry::never())
        .on_failure(OnFailure::Continue)
}

/// A step that fails in the first round of its saga.
fn broken_once() -> impl IntoStep<Line> {
    task::<Line>().call(|ctx, _| {
        if ctx.idempotency_key().contains("saga/1/") { Err(StepError::retryable("not yet")) } else { Ok(()) }
    })
}

#[test]
fn a_run_that_goes_on_in_place_of_another_one_knows_the_bodies_that_go_on() {
    let mut world = world(begin().step("slow", slow(1)).retry(again(Duration::ZERO)));
    world.open();
    let first = take(&mut world, "slow");
    time_is_over(&mut world);
    world.open_again();
    assert_eq!((world.waiting().len(), held(&mut world)), (0, vec!["slow".to_owned()]));
    world.finish(vec![first]);
    assert_eq!(world.waiting(), ["slow"]);
}

#[test]
fn a_run_that_is_told_of_a_body_of_an_earlier_one_waits_for_it_and_gives_its_own_other_numbers() {
    let mut world = world(begin().step("slow", slow(0)));
    world.open();
    let earlier = take(&mut world, "slow");
    world.crash();
    let (loaded, definition) = (world.loaded(), world.definition.clone());
    world.run = Some(world.with_env(|env| crate::executor::Run::open(&definition, loaded, env).unwrap()));
    world.with_run(|run, _| run.still_at_work(7, &earlier.execution()));
    world.settle();
    assert_eq!((world.waiting().len(), held(&mut world)), (0, vec!["slow".to_owned()]));
    assert!(world.with_run(|run, _| run.body_over(7).unwrap()));
    world.settle();
    assert_eq!(world.jobs[0].number(), 8);
    let number = world.jobs[0].number();
    world.with_run(|run, _| run.still_at_work(number, &earlier.execution()));
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed), "the run itself waits for that one");
}

#[test]
fn an_instance_that_is_parked_is_given_back_at_once_though_a_body_goes_on() {
    let mut world = world(begin().step("slow", slow(1)));
    world.open();
    let earlier = take(&mut world, "slow");
    world.crash();
    let (loaded, definition) = (world.loaded(), world.definition.clone());
    let reason = StepError::fatal("its state contradicts itself");
    let parked =
        world.with_env(|env| crate::executor::Run::open_quarantined(&definition, loaded, &reason, env));
    world.run = Some(parked.unwrap());
    world.with_run(|run, _| run.still_at_work(1, &earlier.execution()));
    world.settle();
    assert_eq!((world.instance.status, world.run.is_none()), (WorkflowStatus::Suspended, true));
}
