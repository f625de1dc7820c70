//! Values that no store accepts. Such a value makes the step fail that produced it, and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    instances::{self, Instances},
    scenario::{Body, Builder, Line, begin, broken, everywhere, line, mark, world},
    world::{Step, World},
};
use crate::{
    definition::{
        Every, OnFailure, Retry, WorkflowBuilder, activity, child, each, event, inline, inline_item,
    },
    limits,
    models::{PointerStatus, WorkflowStatus},
    steps::{ActivityWait, Ctx, EventWait, Next, StepError},
    traits::{Control, Ending, Intervention},
};

/// A value that is nested one level deeper than any store accepts.
fn deep() -> Value {
    nested(limits::DEEPEST_JSON + 1)
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |value, _| json!([value]))
}

/// All ways in which a step can produce a value that no store accepts. In each workflow, this step is `x`.
fn ways() -> Vec<(&'static str, Builder)> {
    let before = || begin().then("a", mark("a"));
    let kept = |_: Ctx, _: Arc<Line>| async { Ok(Next::Keep { state: deep(), then: Box::new(Next::Done) }) };
    let activity_of_body = |_: Ctx, _: Arc<Line>| async {
        Ok(Next::WaitForActivity(ActivityWait { name: "w".to_owned(), input: deep() }))
    };
    vec![
        ("outcome", before().then("x", inline(|_, _| async { Ok(Next::Outcome(deep())) }))),
        ("returned", before().then("x", inline(|_, _| async { Ok(deep()) }))),
        ("persisted", before().then("x", inline(|_, _| async { Ok(Next::Persist(deep())) }))),
        ("kept", before().then("x", inline(kept))),
        (
            "kept over a sleep",
            before().then("x", inline(|_, _| async { Next::sleep(Duration::ZERO).keeping(&deep()) })),
        ),
        ("activity of a body", before().then("x", inline(activity_of_body))),
        ("branches", {
            let answer = inline(|_, _| async { Ok(Next::Branch(vec![json!(1), deep()])) });
            before().then_each("x", answer, |b: Body<Value>| b.then("inner", mark("inner")))
        }),
        (
            "items",
            before()
                .for_each("x", each(|_: &Line| vec![json!(1), deep()]), |b| b.then("inner", mark("inner"))),
        ),
        ("activity", before().activity("x", activity("w", |_: &Line, ()| deep()))),
        ("child", before().sub_workflow("x", child("c", |_: &Line, ()| deep()).version(1))),
    ]
}

#[test]
fn a_value_that_no_store_takes_is_the_failure_of_the_step_that_made_it() {
    for (way, before) in ways() {
        let mut world = world(before.on_failure(OnFailure::Continue).then("z", mark("z")));
        world.play();
        assert_eq!(line(&world), "a z", "{way}");
        let told: Vec<_> = world.failures.iter().map(|f| (&*f.step, &*f.code, f.attempt)).collect();
        assert_eq!(told, [("x", StepError::UNSTORABLE, 1)], "{way}");
        assert!(
            world.failures[0].causes[0].contains("nested deeper"),
            "{way}: {:?}",
            world.failures[0].causes
        );
        assert!(world.waits.is_empty(), "{way}");
    }
    for (way, before) in ways() {
        let instead =
            before.retry(Retry::up_to(9)).fallback(|b| b.then("f", mark("fell"))).then("z", mark("z"));
        let definition = instead.build().unwrap();
        let world = everywhere(|| World::new(&definition, &Line::new()));
        assert_eq!((&*line(&world), world.failures.len()), ("a fell z", 1), "{way}: it is not tried again");
    }
}

#[test]
fn data_that_no_store_takes_changes_nothing_and_is_the_failure_of_the_step_whose_output_made_it() {
    let write = |(): &(), data: &mut Value| *data = deep();
    let received = |_: &Value, data: &mut Value| *data = deep();
    let begin = || WorkflowBuilder::<Value>::new("w", 1);
    let ways = [
        begin().then("x", inline(|_, _| async { Ok(()) }).output(write)),
        begin().wait_for("x", event("e", |_: &Value, ()| "k").output(received)),
    ];
    for way in ways {
        let definition =
            way.on_failure(OnFailure::Continue).then("z", inline(|_, _| async { Ok(()) })).build();
        let mut world = World::new(&definition.unwrap(), &json!("as it was"));
        world.plan(Duration::from_hours(1), "e", "k", 1);
        world.play();
        assert_eq!(world.ending, Some(Ending::Completed));
        assert_eq!(world.instance.data, json!("as it was"));
        assert_eq!((&*world.failures[0].step, &*world.failures[0].code), ("x", StepError::UNSTORABLE));
    }
}

#[test]
fn an_effective_date_out_of_range_is_the_nearest_that_can_be_stored() {
    let leap = DateTime::from_timestamp(2_000_000_039, 1_500_000_000).unwrap();
    let after_leap = DateTime::from_timestamp(2_000_000_040, 0).unwrap();
    let (first, last) = (DateTime::from_timestamp_nanos(i64::MIN), DateTime::from_timestamp_nanos(i64::MAX));
    for (date, kept) in
        [(DateTime::<Utc>::MIN_UTC, first), (DateTime::<Utc>::MAX_UTC, last), (leap, after_leap)]
    {
        let by_body = EventWait { name: "e".to_owned(), key: "k".to_owned(), effective: Some(date) };
        let by_body = inline(move |_, _| {
            let wait = by_body.clone();
            async { Ok(Next::WaitForEvent(wait)) }
        });
        for waits in [
            begin().wait_for("x", event("e", |_: &Line, ()| "k").effective(move |_, ()| date)),
            begin().then("x", by_body),
        ] {
            let mut world = world(waits);
            world.play();
            assert_eq!(world.waits[0].subscribe_as_of, kept, "{date:?}");
        }
    }
}

#[test]
fn ticks_and_delays_out_of_range_are_the_latest_that_can_be_stored() {
    let centuries = Every::interval(Duration::from_hours(24 * 365 * 400));
    let leap = DateTime::from_timestamp(2_000_000_039, 1_500_000_000).unwrap();
    let mut ticking = world(begin().recur("x", centuries, |_, ()| false, |b| b.then("t", mark("t"))));
    ticking.open();
    assert_eq!(ticking.pointer("x").sleep_until, Some(DateTime::from_timestamp_nanos(i64::MAX)));
    let mut sleeping = world(begin().delay_until("x", move |_, ()| leap));
    sleeping.open();
    assert_eq!(sleeping.pointer("x").sleep_until, DateTime::from_timestamp(2_000_000_040, 0));
    let sleeps = inline(move |_, _| async move { Ok(Next::SleepUntil(leap)) });
    let mut by_body = world(begin().then("x", sleeps));
    by_body.open();
    let jobs = by_body.jobs.drain(..).collect();
    by_body.finish(jobs);
    assert_eq!(by_body.pointer("x").sleep_until, DateTime::from_timestamp(2_000_000_040, 0));
}

/// A for-each with forty concurrent iterations of two steps. In the iteration of item 17, the input of the second step
/// is a value that no store accepts.
fn forty(runs: &Arc<AtomicUsize>, behaviour: OnFailure) -> Builder {
    let runs = runs.clone();
    let all = each(|_: &Line| (0..40_u32).collect::<Vec<_>>()).parallel(40);
    let input = |_: &Line, n: &u32| if *n == 17 { deep() } else { json!(n) };
    begin().for_each("all", all, move |b| {
        let first = inline_item(move |_, _, _: u32| {
            runs.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        });
        b.then("first", first).activity("x", activity("w", input)).on_failure(behaviour)
    })
}

#[test]
fn one_bad_item_of_many_fails_alone_and_no_finished_step_runs_again() {
    for at_once in [1, 40] {
        let runs = Arc::default();
        let mut world = world(forty(&runs, OnFailure::Suspend));
        world.play_with(|waiting| Step::Finish(at_once.min(waiting)));
        assert_eq!(world.instance.status, WorkflowStatus::Suspended);
        assert_eq!(world.cause.as_ref().map(|c| c.error.execution_pointer_id.as_str()), Some("all/17/x"));
        assert_eq!(world.pointer("all/17/x").status, PointerStatus::Failed);
        for _ in 0..2 {
            world.ask(Control::Resume);
            world.play();
            assert_eq!(world.instance.status, WorkflowStatus::Suspended, "it is tried again, and no better");
        }
        world.intervene(Intervention::Skip);
        world.play();
        assert_eq!((world.instance.status, world.waits.len()), (WorkflowStatus::Runnable, 39));
        assert_eq!(runs.load(Ordering::SeqCst), 40, "each body ran once");
    }
}

#[test]
fn a_bad_value_in_a_saga_undoes_what_was_done_before_it() {
    let bad = |_: &Line, (): &()| deep();
    let saga = begin()
        .saga("s", move |s| {
            s.then("charge", mark("charge"))
                .compensate_with(|undo| undo.then("refund", mark("refund")))
                .activity("ship", activity("ship", bad))
        })
        .on_failure(OnFailure::Continue)
        .then("z", mark("z"));
    let definition = saga.build().unwrap();
    let world = everywhere(|| World::new(&definition, &Line::new()));
    assert_eq!(line(&world), "charge refund z");
    assert_eq!((&*world.failures[0].step, &*world.failures[0].code), ("ship", StepError::UNSTORABLE));
}

#[test]
fn what_is_just_not_too_deep_can_be_undone_and_reaches_the_parent() {
    fn deepest() -> Value {
        nested(limits::DEEPEST_JSON)
    }
    let seen: fn(&Ctx) -> bool =
        |ctx| ctx.compensated().is_some_and(|u| u.outcome == Some(deepest()) && u.state == Some(deepest()));
    let keeps = inline_item(|_, _, _: Value| async {
        Ok(Next::Keep { state: deepest(), then: Box::new(Next::Outcome(deepest())) })
    });
    let undo =
        inline_item(move |ctx: Ctx, _, item: Value| async move { Ok(seen(&ctx) && item == deepest()) })
            .output(|is_seen: &bool, line: &mut Line| line.push(format!("undone {is_seen}")));
    let saga = begin().saga("s", |s| {
        s.for_each("all", each(|_: &Line| vec![deepest()]), |b| {
            b.then("x", keeps).compensate_with(|b| b.then("undo", undo))
        })
        .then("broken", broken())
    });
    let definition = saga.on_failure(OnFailure::Continue).build().unwrap();
    assert_eq!(line(&everywhere(|| World::new(&definition, &Line::new()))), "undone true");

    let parent = WorkflowBuilder::<Value>::new("parent", 1)
        .sub_workflow(
            "x",
            child("child", |_: &Value, ()| deepest()).output(|end: &Value, data| *data = end.clone()),
        )
        .build()
        .unwrap();
    let child = WorkflowBuilder::<Value>::new("child", 1).then("c", inline(|_, _| async { Ok(()) }));
    let definitions = [parent, child.build().unwrap()];
    let mut instances = instances::everywhere(|| Instances::new(&definitions, &Value::Null));
    assert_eq!(
        (instances.parent().ending, &instances.parent().instance.data),
        (Some(Ending::Completed), &deepest())
    );
}

/// Whether the commit opens a wait with the key `bad`, which the store of the test does not accept.
fn has_bad_wait(commit: &crate::traits::StepCommit) -> bool {
    commit.subscribed.iter().any(|wait| wait.event_key == "bad")
}

/// Whether the commit contains a pointer with the outcome `bad`, which the store of the test does not accept.
fn has_bad_outcome(commit: &crate::traits::StepCommit) -> bool {
    commit.upserted.iter().chain(&commit.finished).any(|p| p.outcome == Some(json!("bad")))
}

#[test]
fn of_many_waits_in_a_commit_that_a_store_refuses_only_the_one_at_fault_fails() {
    let runs: Arc<AtomicUsize> = Arc::default();
    let counted = runs.clone();
    let all = each(|_: &Line| (0..40_u32).collect::<Vec<_>>()).parallel(40);
    let key = |_: &Line, n: &u32| if *n == 17 { "bad".to_owned() } else { n.to_string() };
    let definition = begin()
        .for_each("all", all, move |b| {
            let first = inline_item(move |_, _, _: u32| {
                counted.fetch_add(1, Ordering::SeqCst);
                async { Ok(()) }
            });
            b.then("first", first)
                .wait_for(
                    "x",
                    event("e", key).timeout(|_, _| Duration::from_hours(1), |b| b.then("late", mark("late"))),
                )
                .on_failure(OnFailure::Continue)
        })
        .then("z", mark("z"))
        .build()
        .unwrap();
    let mut world = World::new(&definition, &Line::new());
    world.refuses = has_bad_wait;
    world.play_with(Step::Finish);
    assert_eq!(line(&world).matches("late").count(), 39);
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(runs.load(Ordering::SeqCst), 40, "each body ran once");
    let told: Vec<_> = world.failures.iter().map(|f| (&*f.error.execution_pointer_id, &*f.code)).collect();
    assert_eq!(told, [("all/17/x", StepError::UNSTORABLE)]);
    assert!(world.commits.len() < 120, "{} commits", world.commits.len());
}

#[test]
fn a_body_that_waits_for_what_a_store_refuses_has_failed_and_does_not_run_again() {
    let runs: Arc<AtomicUsize> = Arc::default();
    let counted = runs.clone();
    let waits = inline(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok(Next::wait_for_event("e", "bad")) }
    });
    let definition =
        begin().then("a", mark("a")).then("x", waits).on_failure(OnFailure::Continue).then("z", mark("z"));
    let mut world = world(definition);
    world.refuses = has_bad_wait;
    world.play();
    assert_eq!((&*line(&world), runs.load(Ordering::SeqCst)), ("a z", 1));
}

#[test]
fn a_commit_of_which_nothing_can_be_taken_back_suspends_the_instance_and_bodies_at_work_go_on() {
    let both = begin()
        .parallel("both", |p| {
            p.branch(|b| b.then("slow", mark("slow")).then("after", mark("after")))
                .branch(|b| b.then("bad", inline(|_, _| async { Ok("bad") })))
        })
        .then("z", mark("z"));
    let mut world = world(both);
    world.refuses = has_bad_outcome;
    world.open();
    let bad = world.jobs.iter().position(|job| job.step_id() == "bad").unwrap();
    let bad = world.jobs.remove(bad);
    let (slow, token) = (world.jobs.remove(0), bad.token().clone());
    world.finish(vec![bad]);
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    let cause = world.cause.clone().unwrap();
    assert_eq!((&*cause.step, &*cause.code), ("", StepError::UNSTORABLE));
    assert!(!slow.token().is_cancelled() && !token.is_cancelled());
    world.finish(vec![slow]);
    assert_eq!(line(&world), "slow", "what was at work is stored");
    assert!(world.run.is_none(), "then nothing is left to do");
    world.refuses = |_| false;
    world.ask(Control::Resume);
    world.play();
    let mut words: Vec<String> = world.data();
    words.sort();
    assert_eq!(words.join(" "), "after slow z");
}

#[test]
fn a_body_at_work_after_its_pause_goes_on_when_the_instance_is_suspended_for_another() {
    let sleeps = inline(|ctx: Ctx, _| async move {
        if ctx.state::<u32>()?.is_some() {
            Ok(Next::Done)
        } else {
            Next::sleep(Duration::from_hours(1)).keeping(&1)
        }
    });
    let both = begin().parallel("both", |p| {
        p.branch(|b| b.then("slow", sleeps.output(|_, line: &mut Line| line.push("slow".to_owned())))).branch(
            |b| {
                b.delay("hour", |_, ()| Duration::from_hours(1))
                    .then("bad", inline(|_, _| async { Ok("bad") }))
            },
        )
    });
    let mut world = world(both);
    world.refuses = has_bad_outcome;
    world.open();
    let first = world.jobs.drain(..).collect();
    world.finish(first);
    world.pass(Duration::from_hours(1));
    while world.jobs.len() < 2 && world.act(&mut |_| unreachable!("no body is to end yet")) {}
    let bad = world.jobs.iter().position(|job| job.step_id() == "bad").unwrap();
    let bad = world.jobs.remove(bad);
    let slow = world.jobs.drain(..).collect::<Vec<_>>();
    assert_eq!(slow.len(), 1);
    world.finish(vec![bad]);
    assert_eq!((world.instance.status, slow[0].token().is_cancelled()), (WorkflowStatus::Suspended, false));
    world.finish(slow);
    assert_eq!(line(&world), "slow");
    world.refuses = |_| false;
    world.ask(Control::Resume);
    world.play();
    assert_eq!((world.ending, &*line(&world)), (Some(Ending::Completed), "slow"));
}
