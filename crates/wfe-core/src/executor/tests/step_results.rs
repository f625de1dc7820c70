use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    scenario::{Line, begin, broken, everywhere, line, mark, saga, unmark, world},
    world::{Step, World, advanced},
};
use crate::{
    definition::{self, Activity, Retry, WorkflowBuilder},
    executor::{ACTIVITY, Run},
    models::{Event, PointerStatus},
    steps::{Next, StepError},
    traits::{Control, Ending},
};

const SAID: definition::Event<String> = definition::Event::new("said");
const RESIZE: Activity<u32, String> = Activity::new("resize");

#[test]
fn a_step_that_sleeps_runs_again_with_what_it_kept_and_costs_nothing_meanwhile() {
    let make = || {
        world(
            begin()
                .then("poll", async |ctx, _| {
                    let asked = ctx.state::<u32>()?.unwrap_or(0) + 1;
                    if asked == 4 {
                        Ok(Next::Outcome(json!(asked)))
                    } else {
                        Next::sleep(Duration::from_mins(1)).keeping(&asked)
                    }
                })
                .output(|_, line| line.push("done".to_owned())),
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
    let builder = begin().then("wait", async |ctx, _| {
        let until = DateTime::from_timestamp(2_000_003_600, 0).unwrap_or_default();
        match ctx.state::<bool>()? {
            None => Next::sleep_until(until).keeping(&true),
            Some(_) => Ok(Next::Done),
        }
    });
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
            world(begin().then("wait", async move |ctx, _| match ctx.state::<bool>()? {
                None => Next::sleep_until(past).keeping(&true),
                Some(_) => Ok(Next::Done),
            }))
        };
        let whole = everywhere(make);
        assert_eq!((whole.ending, whole.now), (Some(Ending::Completed), make().now));
    }
}

#[test]
fn a_time_that_no_store_can_hold_fails_the_step_and_is_not_rounded() {
    let end = DateTime::from_timestamp_nanos(i64::MAX);
    for (until, is_held) in [(end, true), (DateTime::<Utc>::MAX_UTC, false)] {
        let mut world = world(
            begin()
                .then("wait", async move |_, _| Ok(Next::sleep_until(until)))
                .retry(Retry::exponential().attempts(4)),
        );
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
        let mut world = world(begin().then("w", async move |_, _| {
            if work {
                Next::wait_for_activity(Activity::<i32, ()>::new("wfe.work"), &1)
            } else {
                Ok(Next::wait_for_event(definition::Event::<()>::new("wfe.child-ended"), "somebody"))
            }
        }));
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
        world(begin().then("copy", async |ctx, _| {
            let part = ctx.state::<u32>()?.unwrap_or(0);
            if part == 3 { Ok(Next::Done) } else { Next::persist(&(part + 1)) }
        }))
    };
    let world = everywhere(make);
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.pointer("copy").persistence_data, Some(json!(3)), "it is there for a compensation");
    assert_eq!(world.now, make().now);
}

#[test]
fn rests_give_a_step_all_its_retries_back() {
    let mut world = world(
        begin()
            .then("flaky", async |ctx, _| {
                let round = ctx.state::<u32>()?.unwrap_or(0);
                match (ctx.attempt(), round) {
                    (1, 0) | (2, 1) => Err(StepError::retryable("not now")),
                    (_, 0) => Next::persist(&1),
                    _ => Ok(Next::Done),
                }
            })
            .retry(Retry::exponential().attempts(2)),
    );
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.failures.len(), 2);
}

#[test]
fn a_step_can_wait_for_events_one_after_the_other() {
    let make = || {
        let mut world = world(begin().then("two", async |ctx, _| {
            let mut heard: Vec<String> = ctx.state()?.unwrap_or_default();
            heard.extend(ctx.received(SAID)?);
            if heard.len() == 2 {
                Next::outcome(&heard)
            } else {
                Next::wait_for_event(SAID, "k").keeping(&heard)
            }
        }));
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
fn a_body_receives_only_what_it_has_waited_for_last() {
    let make = || {
        let mut world = world(begin().then("inspect", async |ctx, _| {
            match (ctx.received(SAID)?, ctx.received(RESIZE)?, ctx.state::<u32>()?) {
                (None, None, None) => Next::wait_for_event(SAID, "k").keeping(&1),
                (Some(said), None, Some(1)) => Next::wait_for_activity(RESIZE, &1)?.keeping(&said),
                other => Err(StepError::fatal(format!("{other:?}"))),
            }
        }));
        world.plan(Duration::from_secs(5), "said", "k", "sound");
        world
    };
    // The stored state is a text by then, so reading it as a number is the error of the third run.
    let mut world = make();
    world.play();
    assert_eq!(world.waits[0].event_name, format!("{ACTIVITY}resize"));
    let answer = Event {
        event_time: world.now,
        ..Event::new(
            world.waits[0].event_name.clone(),
            world.waits[0].event_key.clone(),
            json!({"Success": "small"}),
        )
    };
    world.publish(answer);
    world.play();
    assert_eq!(world.failures[0].code, StepError::UNREADABLE);
    everywhere(make);
}

#[test]
fn an_event_is_there_for_the_run_that_is_due_to_it_and_for_its_retries() {
    let make = || {
        let mut world = world(
            begin()
                .then("hear", async |ctx, _| {
                    let heard = ctx.event::<u32>()?;
                    match (ctx.state::<u32>()?, heard, ctx.attempt()) {
                        (None, None, _) => Ok(Next::wait_for_event(SAID, "k")),
                        (None, Some(7), 1) => Err(StepError::retryable("once more")),
                        (None, Some(7), _) => Next::sleep(Duration::from_secs(1)).keeping(&1),
                        (Some(1), None, _) => Ok(Next::Done),
                        other => Err(StepError::fatal(format!("{other:?}"))),
                    }
                })
                .retry(Retry::exponential().attempts(2)),
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
        let builder = begin().then("ask", async |ctx, _| match ctx.received(RESIZE)? {
            Some(result) => Next::outcome(&result),
            None => Next::wait_for_activity(RESIZE, &7),
        });
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
        world(
            begin()
                .then("split", async |_, _| Next::branch([1, 2, 3]))
                .each(|part| {
                    part.then("part", async |_, _, n: u32| Ok(n))
                        .output(|n, line, _| line.push(n.to_string()))
                })
                .all_at_once()
                .step("after", mark("after")),
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
    let mut plain = super::scenario::world(
        begin()
            .then("split", async |_, _| Ok(Next::Done))
            .each::<u32, _>(|part| part.step("x", mark("x")))
            .all_at_once(),
    );
    plain.play();
    assert_eq!((plain.ending, line(&plain).as_str()), (Some(Ending::Completed), ""));
    let mut wrong = super::scenario::world(begin().then("split", async |_, _| Next::branch([1])));
    wrong.play();
    assert_eq!(wrong.failures[0].code, StepError::DEFINITION);
}

#[test]
fn a_step_that_answers_with_no_values_has_ended_and_what_follows_goes_on() {
    let whole = everywhere(|| {
        world(saga(|b| {
            b.then("split", async |_, _| Ok(Vec::<u32>::new()))
                .output(|_, line| line.push("split".to_owned()))
                .each(|part| part.step("part", mark("part")))
                .all_at_once()
                .compensate_with(|undo| undo.step("un-split", unmark("split")))
                .step("after", mark("after"))
                .step("x", broken())
        }))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("split after -split", Some(Ending::Completed)));
    let history = whole.history.iter().find(|row| row.pointer.id == "saga/1/split").unwrap();
    assert_eq!((history.pointer.status, history.pointer.children.len()), (PointerStatus::Complete, 0));
    assert!(whole.items.keys().all(|container| container.contains("/log/")), "no items are stored");
}

#[test]
fn only_a_list_or_a_branch_has_items_and_an_outcome_that_is_an_array_has_none() {
    let list = everywhere(|| {
        let steps = begin().then("split", async |_, _| Ok(vec![1_u32, 2]));
        world(steps.each(|part| part.step("part", mark("part"))))
    });
    let outcome = everywhere(|| {
        let steps = begin().then("split", async |_, _| Next::outcome(&[1_u32, 2]));
        world(steps.each::<u32, _>(|part| part.step("part", mark("part"))))
    });
    assert_eq!((line(&list).as_str(), line(&outcome).as_str()), ("part part", ""));
}

#[test]
fn a_step_whose_branches_failed_with_it_says_anew_what_they_are() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut world = world(
        begin()
            .then("split", async |ctx, _| {
                assert_eq!(ctx.state::<String>()?, None, "how far its branches were is not its state");
                Next::branch([ctx.attempt()])
            })
            .each(|part| part.step("x", mark("x")).then("n", async |_, _, n: u32| Ok(n)))
            .all_at_once()
            .retry(Retry::exponential().attempts(2))
            .cancel_when(move |line| {
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
        .then("slow", async |ctx, _| {
            if ctx.attempt() == 1 {
                ctx.cancellation().cancelled().await;
            }
            Ok(ctx.attempt())
        })
        .timeout(Duration::from_secs(10))
        .retry(Retry::exponential().attempts(2).initial(Duration::ZERO))
        .output(|attempt, data| *data = attempt)
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
    let builder = begin().change("a", |_| ()).timeout(Duration::from_secs(10));
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
    let builder = begin()
        .then("slow", |_, _| std::future::pending::<Result<(), StepError>>())
        .timeout(Duration::from_secs(10));
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
    let make = || world(begin().deadline(Duration::from_hours(1)).delay("long", |_| Duration::from_hours(2)));
    let world = everywhere(make);
    assert_eq!(world.ending, Some(Ending::Failed));
    assert_eq!(world.cause.as_ref().unwrap().code, StepError::DEADLINE);
    assert_eq!(world.now, make().now + Duration::from_hours(1));
    assert_eq!(world.pointer("long").status, PointerStatus::Cancelled);
    assert_eq!(world.instance.next_execution, None);
}
