use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    scenario::{Body, Line, begin, broken, everywhere, line, mark, saga, unmark, world},
    world::{Step, World, advanced},
};
use crate::{
    definition::{Retry, WorkflowBuilder, inline, inline_item},
    executor::{ACTIVITY, Run},
    models::{Event, PointerStatus},
    steps::{Ctx, Next, StepError},
    traits::{Control, Ending},
};

#[test]
fn a_step_that_sleeps_runs_again_with_what_it_kept_and_costs_nothing_meanwhile() {
    let make = || {
        world(
            begin().then(
                "poll",
                inline(|ctx: Ctx, _| async move {
                    let asked = ctx.state::<u32>()?.unwrap_or(0) + 1;
                    if asked == 4 {
                        Ok(Next::Outcome(json!(asked)))
                    } else {
                        Next::sleep(Duration::from_mins(1)).keeping(&asked)
                    }
                })
                .output(|_, line: &mut Line| line.push("done".to_owned())),
            ),
        )
    };
    let world = everywhere(make);
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.pointer("poll").outcome, Some(json!(4)));
    assert_eq!(world.now, make().now + Duration::from_mins(3));
    assert_eq!(line(&world), "done", "outputs are applied once, at the end");
    assert_eq!(world.commits.len(), 4);
    assert!(world.commits[0].release, "a sleeping instance has no owner");
}

#[test]
fn a_step_that_sleeps_until_a_time_wakes_at_it_however_the_clock_jumped_before_its_commit() {
    let builder = begin().then(
        "wait",
        inline(|ctx: Ctx, _| async move {
            let until = DateTime::from_timestamp(2_000_003_600, 0).unwrap_or_default();
            match ctx.state::<bool>()? {
                None => Next::sleep_until(until).keeping(&true),
                Some(_) => Ok(Next::Done),
            }
        }),
    );
    let mut world = world(builder);
    let hour = Duration::from_hours(1);
    let until = world.now + hour;
    world.open();
    world.now += hour / 2; // no time passes, but the clock jumps while the body runs
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!(world.pointer("wait").sleep_until, Some(until));
    assert!(world.run.is_none(), "a sleeping instance has no owner");
    world.play();
    assert_eq!((world.ending, world.now), (Some(Ending::Completed), until));
}

#[test]
fn a_step_that_sleeps_until_a_time_that_has_passed_runs_again_at_once() {
    for past in [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH] {
        let make = || {
            world(begin().then(
                "wait",
                inline(move |ctx: Ctx, _| async move {
                    match ctx.state::<bool>()? {
                        None => Next::sleep_until(past).keeping(&true),
                        Some(_) => Ok(Next::Done),
                    }
                }),
            ))
        };
        let whole = everywhere(make);
        assert_eq!((whole.ending, whole.now), (Some(Ending::Completed), make().now));
    }
}

#[test]
fn a_time_that_no_store_can_hold_fails_the_step_and_is_not_rounded() {
    let end = DateTime::from_timestamp_nanos(i64::MAX);
    for (until, is_held) in [(end, true), (DateTime::<Utc>::MAX_UTC, false)] {
        let mut world = world(begin().then(
            "wait",
            inline(move |_, _| async move { Ok(Next::sleep_until(until)) }).retry(Retry::up_to(3)),
        ));
        world.open();
        let jobs = world.jobs.drain(..).collect();
        world.finish(jobs);
        if is_held {
            assert_eq!(world.pointer("wait").sleep_until, Some(until));
            continue;
        }
        assert_eq!(world.ending, Some(Ending::Failed), "another attempt would ask for the same time");
        assert_eq!(world.failures[0].code, StepError::UNSTORABLE);
        assert!(world.failures[0].error.message.contains("+262142-12-31"), "{:?}", world.failures[0]);
    }
}

#[test]
fn a_body_that_waits_for_something_of_the_engines_own_has_failed() {
    for work in [false, true] {
        let mut world = world(begin().then(
            "w",
            inline(move |_, _| async move {
                if work {
                    Next::wait_for_activity("wfe.work", &1)
                } else {
                    Ok(Next::wait_for_event("wfe.child-ended", "somebody"))
                }
            }),
        ));
        world.play();
        assert_eq!((world.ending, world.waits.len()), (Some(Ending::Failed), 0));
        let failure = &world.failures[0];
        assert_eq!(failure.code, StepError::DEFINITION);
        assert!(failure.causes[0].contains("\"wfe.\""), "{failure:?}");
    }
}

#[test]
fn a_step_that_persists_runs_again_at_once_from_what_is_stored() {
    let make = || {
        world(begin().then(
            "copy",
            inline(|ctx: Ctx, _| async move {
                let part = ctx.state::<u32>()?.unwrap_or(0);
                if part == 3 { Ok(Next::Done) } else { Next::persist(&(part + 1)) }
            }),
        ))
    };
    let world = everywhere(make);
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.pointer("copy").persistence_data, Some(json!(3)), "it is there for a compensation");
    assert_eq!(world.now, make().now);
}

#[test]
fn rests_give_a_step_all_its_retries_back() {
    let mut world = world(
        begin().then(
            "flaky",
            inline(|ctx: Ctx, _| async move {
                let round = ctx.state::<u32>()?.unwrap_or(0);
                match (ctx.attempt(), round) {
                    (1, 0) | (2, 1) => Err(StepError::retryable("not now")),
                    (_, 0) => Next::persist(&1),
                    _ => Ok(Next::Done),
                }
            })
            .retry(Retry::up_to(1)),
        ),
    );
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.failures.len(), 2);
}

#[test]
fn a_step_can_wait_for_events_one_after_the_other() {
    let make = || {
        let mut world = world(begin().then(
            "two",
            inline(|ctx: Ctx, _| async move {
                let mut heard: Vec<String> = ctx.state()?.unwrap_or_default();
                heard.extend(ctx.event::<String>()?);
                if heard.len() == 2 {
                    Next::outcome(&heard)
                } else {
                    Next::wait_for_event("said", "k").keeping(&heard)
                }
            }),
        ));
        world.plan(Duration::from_secs(5), "said", "k", "first");
        world.plan(Duration::from_secs(9), "said", "k", "second");
        world.plan(Duration::from_secs(9), "said", "other", "not this");
        world
    };
    let world = everywhere(make);
    assert_eq!(world.pointer("two").outcome, Some(json!(["first", "second"])));
    let ids: Vec<_> = world.commits.iter().flat_map(|c| &c.subscribed).map(|w| w.id.as_str()).collect();
    assert_eq!(ids, ["it//two//1", "it//two//2"], "ids that a replay would make again");
}

#[test]
fn an_event_is_there_for_the_run_that_is_due_to_it_and_for_its_retries() {
    let make = || {
        let mut world = world(
            begin().then(
                "hear",
                inline(|ctx: Ctx, _| async move {
                    let heard = ctx.event::<u32>()?;
                    match (ctx.state::<u32>()?, heard, ctx.attempt()) {
                        (None, None, _) => Ok(Next::wait_for_event("said", "k")),
                        (None, Some(7), 1) => Err(StepError::retryable("once more")),
                        (None, Some(7), _) => Next::sleep(Duration::from_secs(1)).keeping(&1),
                        (Some(1), None, _) => Ok(Next::Done),
                        other => Err(StepError::fatal(format!("{other:?}"))),
                    }
                })
                .retry(Retry::up_to(1)),
            ),
        );
        world.plan(Duration::from_secs(5), "said", "k", 7);
        world
    };
    let whole = everywhere(make);
    assert_eq!((whole.ending, whole.failures.len()), (Some(Ending::Completed), 1));
}

#[test]
fn a_step_can_wait_for_a_worker_and_fails_with_it() {
    let make = |answer: serde_json::Value| {
        let builder = begin().then(
            "ask",
            inline(|ctx: Ctx, _| async move {
                match ctx.event::<String>()? {
                    Some(result) => Next::outcome(&result),
                    None => Next::wait_for_activity("resize", &7),
                }
            }),
        );
        let mut world = world(builder);
        world.open();
        let jobs = world.jobs.drain(..).collect();
        world.finish(jobs);
        let wait = &world.waits[0];
        assert_eq!(
            (wait.event_name.as_str(), &wait.subscription_data),
            (&*format!("{ACTIVITY}resize"), &Some(json!(7)))
        );
        assert_eq!(wait.event_key, wait.id, "the answer reaches no other wait");
        let event = Event {
            event_time: world.now,
            ..Event::new(wait.event_name.clone(), wait.event_key.clone(), answer)
        };
        world.publish(event);
        world.play();
        world
    };
    let done = make(json!({"Success": "small"}));
    assert_eq!(done.pointer("ask").outcome, Some(json!("small")));
    let failed = make(json!({"Failure": {"code": "full", "causes": ["no", "disk"], "retryable": false}}));
    assert_eq!(failed.ending, Some(Ending::Failed));
    assert_eq!((failed.failures[0].code.as_str(), failed.failures[0].causes.len()), ("full", 2));
}

#[test]
fn the_values_of_a_step_run_as_branches_at_once_and_are_joined() {
    let make = || {
        let body = |part: Body<u32>| {
            part.then(
                "part",
                inline_item(|_, _, n: u32| async move { Ok(n) })
                    .output(|n, line: &mut Line| line.push(n.to_string())),
            )
        };
        world(
            begin()
                .then_each("split", inline(|_, _| async { Next::branch([1, 2, 3]) }), body)
                .then("after", mark("after")),
        )
    };
    let whole = everywhere(make);
    assert_eq!(line(&whole), "1 2 3 after");
    let mut world = make();
    let mut most = 0;
    world.play_with(|waiting| {
        most = most.max(waiting);
        Step::Finish(1)
    });
    assert_eq!(most, 3);
    let mut plain = super::scenario::world(begin().then_each(
        "split",
        inline(|_, _| async { Ok(()) }),
        |part: Body<u32>| part.then("x", mark("x")),
    ));
    plain.play();
    assert_eq!((plain.ending, line(&plain).as_str()), (Some(Ending::Completed), ""));
    let mut wrong = super::scenario::world(begin().then("split", inline(|_, _| async { Next::branch([1]) })));
    wrong.play();
    assert_eq!(wrong.failures[0].code, StepError::DEFINITION);
}

#[test]
fn a_step_that_answers_with_no_values_has_ended_and_what_follows_goes_on() {
    let whole = everywhere(|| {
        let split = inline(|_, _| async { Next::branch(Vec::<u32>::new()) })
            .output(|_: &Next, line: &mut Line| line.push("split".to_owned()));
        let body = |part: Body<u32>| part.then("part", mark("part"));
        world(saga(|b| {
            b.then_each("split", split, body)
                .compensate_with(|undo| undo.then("un-split", unmark("split")))
                .then("after", mark("after"))
                .then("x", broken())
        }))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("split after -split", Some(Ending::Completed)));
    let history = whole.history.iter().find(|row| row.pointer.id == "saga/1/split").unwrap();
    assert_eq!((history.pointer.status, history.pointer.children.len()), (PointerStatus::Complete, 0));
    assert!(whole.items.keys().all(|container| container.contains("/log/")), "no items are stored");
}

#[test]
fn a_step_whose_branches_failed_with_it_says_anew_what_they_are() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut world = world(
        begin()
            .then_each(
                "split",
                inline(|ctx: Ctx, _| async move {
                    assert_eq!(ctx.state::<String>()?, None, "how far its branches were is not its state");
                    Next::branch([ctx.attempt()])
                }),
                |part: Body<u32>| {
                    part.then("x", mark("x")).then("n", inline_item(|_, _, n: u32| async move { Ok(n) }))
                },
            )
            .retry(Retry::up_to(1))
            .cancel_when(move |line: &Line, _| {
                assert!(
                    line.is_empty() || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0,
                    "at the first word"
                );
                false
            }),
    );
    world.play();
    assert_eq!((line(&world).as_str(), world.ending), ("x x", Some(Ending::Completed)));
    assert_eq!(world.history.last().unwrap().pointer.outcome, Some(json!(2)));
}

#[test]
fn an_attempt_that_takes_too_long_has_failed_and_what_it_still_answers_is_passed_over() {
    let definition = WorkflowBuilder::<u32>::new("w", 1)
        .then(
            "slow",
            inline(|ctx: Ctx, _| async move {
                if ctx.attempt() == 1 {
                    ctx.cancellation().cancelled().await;
                }
                Ok(ctx.attempt())
            })
            .timeout(Duration::from_secs(10))
            .retry(Retry::up_to(1).initial(Duration::ZERO))
            .output(|attempt, data| *data = *attempt),
        )
        .build()
        .unwrap();
    let mut world = World::new(&definition, &0_u32);
    let start = world.now;
    world.open();
    let first = world.jobs.pop().unwrap();
    assert_eq!(world.run.as_ref().unwrap().next_wake(), Some(start + Duration::from_secs(10)));
    world.now += Duration::from_secs(10);
    world.settle();
    assert!(first.token().is_cancelled());
    assert_eq!((world.failures[0].code.as_str(), world.failures[0].attempt), (StepError::TIMEOUT, 1));
    assert!(world.waiting().is_empty(), "the second attempt waits for the end of the first one");
    // The first one answers after all.
    world.finish(vec![first]);
    assert_eq!((world.data::<u32>(), world.waiting()), (0, vec!["slow"]));
    world.play();
    assert_eq!(world.data::<u32>(), 2);
    assert_eq!(world.ending, Some(Ending::Completed));
}

#[test]
fn the_time_of_an_attempt_runs_from_its_begin() {
    let builder = begin().then("a", mark("a").timeout(Duration::from_secs(10)));
    let definition = builder.build().unwrap();
    let mut world = World::new(&definition, &Line::new());
    let loaded = world.loaded();
    let mut run = world.with_env(|env| Run::open(&definition, loaded, env).unwrap());
    world.with_env(|env| {
        advanced(&mut run, env).unwrap();
        let job = run.committed(env).unwrap().jobs.pop().unwrap();
        assert!(job.is_limited());
        assert_eq!(run.next_wake(), None, "it waits for a free slot");
        run.begun("a", job.number() + 1, env);
        assert_eq!(run.next_wake(), None);
        run.begun("a", job.number(), env);
        assert_eq!(run.next_wake(), Some(env.now + Duration::from_secs(10)));
    });
}

#[test]
fn a_time_limit_holds_for_a_suspended_instance_too() {
    let builder = begin().then(
        "slow",
        inline(|_, _| std::future::pending::<Result<(), StepError>>()).timeout(Duration::from_secs(10)),
    );
    let mut world = world(builder);
    world.open();
    world.ask(Control::Suspend);
    assert!(world.run.is_some());
    assert_eq!(world.run.as_ref().and_then(Run::next_wake), Some(world.now + Duration::from_secs(10)));
    world.now += Duration::from_secs(10);
    world.settle();
    assert!(world.run.is_none(), "nothing is awaited any more");
    assert_eq!(world.ending, Some(Ending::Failed));
}

#[test]
fn an_instance_that_is_not_over_at_its_deadline_ends_as_failed() {
    let make =
        || world(begin().deadline(Duration::from_hours(1)).delay("long", |_, _| Duration::from_hours(2)));
    let world = everywhere(make);
    assert_eq!(world.ending, Some(Ending::Failed));
    assert_eq!(world.cause.as_ref().unwrap().code, StepError::DEADLINE);
    assert_eq!(world.now, make().now + Duration::from_hours(1));
    assert_eq!(world.pointer("long").status, PointerStatus::Cancelled);
    assert_eq!(world.instance.next_execution, None);
}
