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
    scenario::{Builder, Line, begin, broken, built, everywhere, line, mark, world},
    world::{Step, World},
};
use crate::{
    definition::{
        Activity, After, AnyDefinition, Event, Every, OnFailure, Retry, WorkflowBuilder, WorkflowName,
    },
    limits,
    models::{PointerStatus, WorkflowStatus},
    steps::{ActivityWait, EventWait, Next, StepError},
    traits::{Control, Ending, Intervention},
};

/// A value that is nested one level deeper than any store accepts.
fn deep() -> Value {
    nested(limits::DEEPEST_JSON + 1)
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |value, _| json!([value]))
}

/// All ways in which a step can produce a value that no store accepts. In each workflow, this step is `x`. The instance
/// then continues with the step `z`, with or without a fallback.
fn ways(falls_back: bool) -> Vec<(&'static str, Builder)> {
    fn goes_on<L: After>(x: Builder<L>, falls_back: bool) -> Builder {
        if falls_back {
            x.retry(Retry::exponential().attempts(10)).fallback(|b| b.step("f", mark("fell")))
        } else {
            x.on_failure(OnFailure::Continue)
        }
        .step("z", mark("z"))
        .closed()
    }
    let before = || begin().step("a", mark("a"));
    let body = |make: fn() -> Result<Next, StepError>| {
        goes_on(before().then("x", async move |_, _| make()), falls_back)
    };
    vec![
        ("outcome", body(|| Ok(Next::Outcome(deep())))),
        ("returned", goes_on(before().then("x", async |_, _| Ok(deep())), falls_back)),
        ("persisted", body(|| Ok(Next::Persist(deep())))),
        ("kept", body(|| Ok(Next::Keep { state: deep(), then: Box::new(Next::Done) }))),
        ("kept over a sleep", body(|| Next::sleep(Duration::ZERO).keeping(&deep()))),
        (
            "activity of a body",
            body(|| Ok(Next::WaitForActivity(ActivityWait { name: "w".to_owned(), input: deep() }))),
        ),
        ("branches", {
            let split = before().then("x", async |_, _| Ok(Next::Branch(vec![json!(1), deep()])));
            goes_on(split.each::<Value, _>(|b| b.step("inner", mark("inner"))).all_at_once(), falls_back)
        }),
        ("returned branches", {
            let split = before().then("x", async |_, _| Ok(vec![json!(1), deep()]));
            goes_on(split.each(|b| b.step("inner", mark("inner"))).all_at_once(), falls_back)
        }),
        ("items", {
            let all = before().for_each("x", |_| vec![json!(1), deep()], |b| b.step("inner", mark("inner")));
            goes_on(all, falls_back)
        }),
        ("activity", goes_on(before().activity("x", Activity::<_, ()>::new("w"), |_| deep()), falls_back)),
        ("child", {
            let child = before().sub_workflow("x", WorkflowName::new("c"), |_| deep()).version(1);
            goes_on(child, falls_back)
        }),
    ]
}

#[test]
fn a_value_that_no_store_takes_is_the_failure_of_the_step_that_made_it() {
    for (way, builder) in ways(false) {
        let mut world = world(builder);
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
    for (way, builder) in ways(true) {
        let definition = builder.build().unwrap();
        let world = everywhere(|| World::new(&definition, &Line::new()));
        assert_eq!((&*line(&world), world.failures.len()), ("a fell z", 1), "{way}: it is not tried again");
    }
}

#[test]
fn data_that_no_store_takes_changes_nothing_and_is_the_failure_of_the_step_whose_output_made_it() {
    let begin = || WorkflowBuilder::<Value>::new("w", 1);
    for way in [
        begin().change("x", |data| *data = deep()).on_failure(OnFailure::Continue).closed(),
        begin()
            .then("x", async |_, _| Ok(()))
            .output(|(), data| *data = deep())
            .on_failure(OnFailure::Continue)
            .closed(),
        begin()
            .wait_for("x", Event::<Value>::new("e"), |_| "k")
            .output(|_, data| *data = deep())
            .on_failure(OnFailure::Continue)
            .closed(),
    ] {
        let definition = way.then("z", async |_, _| Ok(())).build();
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
        for waits in [
            begin().wait_for("x", Event::<()>::new("e"), |_| "k").effective(move |_| date).closed(),
            begin().then("x", async move |_, _| Ok(Next::WaitForEvent(by_body))).closed(),
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
    let mut ticking = world(begin().recur("x", centuries, |_| false, |b| b.step("t", mark("t"))));
    ticking.open();
    assert_eq!(ticking.pointer("x").sleep_until, Some(DateTime::from_timestamp_nanos(i64::MAX)));
    let mut sleeping = world(begin().delay_until("x", move |_| leap));
    sleeping.open();
    assert_eq!(sleeping.pointer("x").sleep_until, DateTime::from_timestamp(2_000_000_040, 0));
    let mut by_body = world(begin().then("x", async move |_, _| Ok(Next::SleepUntil(leap))));
    by_body.open();
    let jobs = by_body.jobs.drain(..).collect();
    by_body.finish(jobs);
    assert_eq!(by_body.pointer("x").sleep_until, DateTime::from_timestamp(2_000_000_040, 0));
}

/// A for-each with forty concurrent iterations of two steps. In the iteration of item 17, the input of the second step
/// is a value that no store accepts.
fn forty(runs: &Arc<AtomicUsize>, behaviour: OnFailure) -> AnyDefinition {
    let runs = runs.clone();
    let builder = begin()
        .for_each(
            "all",
            |_| (0..40).collect(),
            |b| {
                b.call("first", move |_, _, _| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
                .activity("x", Activity::<_, ()>::new("w"), |_, n| if *n == 17 { deep() } else { json!(n) })
                .on_failure(behaviour)
            },
        )
        .concurrent(40);
    built(builder)
}

#[test]
fn one_bad_item_of_many_fails_alone_and_no_finished_step_runs_again() {
    for at_once in [1, 40] {
        let runs = Arc::default();
        let mut world = World::new(&forty(&runs, OnFailure::Suspend), &Line::new());
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
    let saga = begin()
        .saga("s", |s| {
            s.step("charge", mark("charge"))
                .compensate_with(|undo| undo.step("refund", mark("refund")))
                .activity("ship", Activity::<_, ()>::new("ship"), |_| deep())
        })
        .on_failure(OnFailure::Continue)
        .step("z", mark("z"));
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
    let saga = begin().saga("s", |s| {
        s.for_each(
            "all",
            |_| vec![deepest()],
            |b| {
                b.call("x", |_, _, _| {
                    Ok(Next::Keep { state: deepest(), then: Box::new(Next::Outcome(deepest())) })
                })
                .compensate_with(|undo| {
                    undo.call("undo", |ctx, _, item| {
                        let undone = ctx.compensated().map(|step| (step.outcome.clone(), step.state.clone()));
                        Ok(undone == Some((Some(deepest()), Some(deepest()))) && *item == deepest())
                    })
                    .output(|is_seen, line, _| line.push(format!("undone {is_seen}")))
                })
            },
        )
        .step("broken", broken())
    });
    let definition = saga.on_failure(OnFailure::Continue).build().unwrap();
    assert_eq!(line(&everywhere(|| World::new(&definition, &Line::new()))), "undone true");

    let parent = WorkflowBuilder::<Value>::new("parent", 1)
        .sub_workflow("x", WorkflowName::new("child"), |_| deepest())
        .output(|end, data| *data = end)
        .build();
    let child = WorkflowBuilder::<Value>::new("child", 1).then("c", async |_, _| Ok(())).build();
    let definitions = [parent.unwrap().into(), child.unwrap().into()];
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
    let key = |_: &Line, n: &u32| if *n == 17 { "bad".to_owned() } else { n.to_string() };
    let definition = begin()
        .for_each(
            "all",
            |_| (0..40).collect(),
            |b| {
                b.call("first", move |_, _, _| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
                .wait_for("x", Event::<()>::new("e"), key)
                .on_timeout(|_, _| Duration::from_hours(1), |b| b.step("late", mark("late")))
                .on_failure(OnFailure::Continue)
            },
        )
        .concurrent(40)
        .step("z", mark("z"))
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
    let mut world = world(
        begin()
            .step("a", mark("a"))
            .call("x", move |_, _| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(Next::wait_for_event(Event::<()>::new("e"), "bad"))
            })
            .on_failure(OnFailure::Continue)
            .step("z", mark("z")),
    );
    world.refuses = has_bad_wait;
    world.play();
    assert_eq!((&*line(&world), runs.load(Ordering::SeqCst)), ("a z", 1));
}

#[test]
fn a_commit_of_which_nothing_can_be_taken_back_suspends_the_instance_and_bodies_at_work_go_on() {
    let both = begin()
        .parallel("both", |p| {
            p.branch(|b| b.step("slow", mark("slow")).step("after", mark("after")))
                .branch(|b| b.then("bad", async |_, _| Ok("bad")))
        })
        .step("z", mark("z"));
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
    let both = begin().parallel("both", |p| {
        p.branch(|b| {
            b.call("slow", |ctx, _| match ctx.state::<u32>()? {
                Some(_) => Ok(Next::Done),
                None => Next::sleep(Duration::from_hours(1)).keeping(&1),
            })
            .output(|_, line| line.push("slow".to_owned()))
        })
        .branch(|b| b.delay("hour", |_| Duration::from_hours(1)).then("bad", async |_, _| Ok("bad")))
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
