//! Compensations that run even if their step has not completed.

use std::time::Duration;

use serde_json::json;

use super::{
    scenario::{Body, HOUR, Line, begin, broken, built, does, everywhere, line, mark, saga, unmark, world},
    world::{Step, World},
};
use crate::{
    definition::{
        Activity, After, Block, Event, IntoStep, Main, OnFailure, Registry, Retry, WorkflowBuilder,
        WorkflowName, task,
    },
    executor::Job,
    models::PointerStatus,
    steps::{Next, StepError},
    traits::{Control, Ending, Intervention},
};

const LIMIT: Duration = Duration::from_secs(10);

/// Gives the last step a compensation that writes `-word` if the step has completed, and otherwise `!word:code`.
fn cleaned<P, L: After>(body: Body<P, L>, word: &'static str) -> Body<P>
where
    P: 'static,
{
    body.compensate_even_if_failed(|undo| undo.step(format!("un-{word}"), told(word))).closed()
}

fn told(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>()
        .call(move |ctx, _| {
            let step = ctx.compensated().expect("it is a compensation");
            if let Some(failure) = &step.failure {
                assert_eq!(step.outcome, None);
                return Ok(format!("!{word}:{}", failure.code));
            }
            Ok(format!("-{word}"))
        })
        .output(|word, line| line.push(word))
}

fn cleans(body: Body, word: &'static str) -> Body {
    cleaned(body.step(word, mark(word)), word)
}

/// A step that fails, and is compensated nevertheless.
fn fails(body: Body, word: &'static str) -> Body {
    cleaned(body.step(word, broken()), word)
}

/// A step whose body never ends.
fn endless() -> impl IntoStep<Line> {
    task::<Line>().then(async |_, _| std::future::pending::<Result<(), StepError>>().await)
}

fn both(body: Body, one: impl FnOnce(Body) -> Body, two: impl FnOnce(Body) -> Body) -> Body<Main, Block> {
    body.parallel("both", |all| all.branch(one).branch(two))
}

#[test]
fn the_failed_step_is_compensated_first_and_sees_its_failure() {
    let whole =
        everywhere(|| world(saga(|b| fails(cleans(does(b, "a"), "b"), "x")).step("after", mark("after"))));
    assert_eq!(line(&whole), "a b !x:error -b -a after");
    let row = whole.history.iter().find(|row| row.pointer.id == "saga/1/x").unwrap();
    assert_eq!(row.pointer.status, PointerStatus::Failed);
}

#[test]
fn the_compensation_gets_the_key_the_state_and_the_attempts_of_the_failed_step() {
    let whole = everywhere(|| {
        let x = |ctx: &crate::steps::Ctx, _: &Line| {
            if ctx.state::<u32>()?.is_none() {
                return Next::persist(&7);
            }
            Err(StepError::retryable("half way").with_code("half"))
        };
        world(saga(|b| {
            b.call("x", x).retry(Retry::exponential().attempts(3)).compensate_even_if_failed(|undo| {
                undo.call("un-x", |ctx, _| {
                    let step = ctx.compensated().expect("it is a compensation");
                    let failure = step.failure.as_ref().expect("it has failed");
                    assert_eq!(
                        (&failure.causes, &step.state),
                        (&vec!["half way".to_owned()], &Some(json!(7)))
                    );
                    assert_ne!(ctx.idempotency_key(), step.idempotency_key);
                    Ok(format!("{} {} {}", step.idempotency_key, failure.code, failure.attempts))
                })
                .output(|text, line| line.push(text))
            })
        }))
    });
    assert_eq!(line(&whole), "it/saga/1/x half 3");
}

#[test]
fn a_retry_that_works_leaves_an_ordinary_compensation_and_the_last_attempt_a_single_one() {
    let flaky = |failures: u32| {
        move |b: Body| {
            let b = b.call("x", move |ctx, _| {
                if ctx.attempt() <= failures { Err(StepError::retryable("not yet")) } else { Ok(()) }
            });
            cleaned(b.retry(Retry::exponential().attempts(3)), "x").step("y", mark("y")).step("z", broken())
        }
    };
    let works = everywhere(|| world(saga(flaky(2))));
    assert_eq!(line(&works), "y -x");
    let fails = everywhere(|| world(saga(flaky(3))));
    assert_eq!(line(&fails), "!x:error");
}

#[test]
fn a_panic_and_a_timeout_are_failures_like_any_other() {
    let panic = everywhere(|| {
        let x = |b: Body| cleaned(b.call("x", |_, _| -> Result<(), StepError> { panic!("half way") }), "x");
        world(saga(|b| x(does(b, "a"))))
    });
    assert_eq!(line(&panic), "a !x:panic -a");
    let output = everywhere(|| {
        let x = |b: Body| b.call("x", |_, _| Ok(())).output(|(), _| panic!("half way"));
        world(saga(|b| cleaned(x(b), "x")))
    });
    assert_eq!(line(&output), "!x:panic");
    let mut timeout = world(saga(|b| {
        cleaned(
            does(b, "a").step(
                "x",
                task::<Line>()
                    .then(async |_, _| std::future::pending::<Result<(), StepError>>().await)
                    .timeout(LIMIT),
            ),
            "x",
        )
    }));
    timeout.play();
    assert_eq!(line(&timeout), "a !x:timeout -a");
}

fn take(world: &mut World, pointer: &str) -> Job {
    let at = world.jobs.iter().position(|job| job.pointer() == pointer).expect("it was handed out");
    world.jobs.remove(at)
}

#[test]
fn the_compensation_begins_when_the_body_of_the_failed_step_has_ended() {
    let mut world = world(saga(|b| cleaned(b.step("x", endless_until_cancelled()), "x")));
    world.open();
    let body = take(&mut world, "saga/1/x");
    world.pass(LIMIT);
    world.settle();
    assert_eq!(world.failures[0].code, StepError::TIMEOUT);
    assert!(world.waiting().is_empty());
    assert_eq!(world.with_run(|run, _| run.held().unwrap()), ["saga"]);
    world.finish(vec![body]);
    assert_eq!(world.waiting(), ["saga/undo0/un-x"]);
    world.play();
    assert_eq!(line(&world), "!x:timeout");
}

fn endless_until_cancelled() -> impl IntoStep<Line> {
    task::<Line>()
        .then(async |ctx, _| {
            ctx.cancellation().cancelled().await;
            Ok(())
        })
        .timeout(LIMIT)
}

#[test]
fn a_wait_that_fails_with_the_event_it_received_has_no_outcome() {
    let mut world = world(saga(|b| {
        let wait = b.wait_for("w", Event::<u32>::new("e"), |_| "k").output(|_, _| panic!("half way"));
        cleaned(wait, "w")
    }));
    world.plan(HOUR, "e", "k", 7);
    world.play();
    assert_eq!(line(&world), "!w:panic");
}

#[test]
fn a_step_that_the_failure_cuts_short_is_compensated_after_the_failed_one() {
    let mut world = world(saga(|b| {
        both(
            does(b, "a"),
            |b| cleaned(b.step("slow", endless()), "slow"),
            |b| fails(b.delay("d", |_| HOUR).closed(), "x"),
        )
    }));
    world.play();
    assert_eq!(line(&world), "a !x:error !slow:cancelled -a");
}

#[test]
fn a_step_that_has_not_begun_is_not_compensated() {
    // Each body is a commit of its own. `x` fails before the step after `first` is reached.
    let never = everywhere(|| {
        world(saga(|b| {
            both(
                b,
                |b| cleans(b.delay("d", |_| 2 * HOUR).closed(), "never"),
                |b| fails(b.delay("e", |_| HOUR).closed(), "x"),
            )
        }))
    });
    assert_eq!(line(&never), "!x:error");
    // An activity that is opened and closed in one commit was never there.
    let same_commit = everywhere(|| {
        let work = |b: Body| cleaned(b.activity("work", Activity::<(), ()>::new("work"), |_| ()), "work");
        world(saga(|b| {
            b.race("race", |first| first.branch(work).branch(|b| b.delay("d", |_| Duration::ZERO)))
                .step("x", broken())
        }))
    });
    assert_eq!(line(&same_commit), "");
}

#[test]
fn a_step_that_may_have_begun_before_a_crash_is_compensated() {
    let mut world =
        world(saga(|b| both(does(b, "a"), |b| cleans(b, "slow"), |b| b.delay("d", |_| HOUR).closed())));
    world.open();
    let a = world.jobs.drain(..).collect();
    world.finish(a);
    assert_eq!(world.waiting(), ["saga/1/both/0/slow"]);
    world.crash();
    world.ask(Control::Cancel);
    world.play();
    assert_eq!((line(&world).as_str(), world.ending), ("a !slow:cancelled -a", Some(Ending::Cancelled)));
}

#[test]
fn waits_that_are_cut_short_are_compensated() {
    let child = WorkflowName::<Line>::new("child");
    let mut registry = Registry::default();
    registry.register(built(WorkflowBuilder::<Line>::new("child", 1).step("c", mark("c")))).unwrap();
    let registry = std::rc::Rc::new(registry);
    let whole = everywhere(|| {
        let mut world = world(saga(|b| {
            b.parallel("all", |all| {
                all.branch(|b| cleaned(b.activity("work", Activity::<(), ()>::new("work"), |_| ()), "work"))
                    .branch(|b| cleaned(b.wait_for("event", Event::<()>::new("e"), |_| "k"), "event"))
                    .branch(|b| fails(b.delay("d", |_| HOUR).closed(), "x"))
            })
        }));
        world.registry = registry.clone();
        world
    });
    assert_eq!(line(&whole), "!x:error !event:cancelled !work:cancelled");
    // The child is asked to cancel. The step that waits for it is compensated when the child has ended.
    let mut waits = world(saga(|b| {
        both(
            b,
            |b| cleaned(b.sub_workflow("child", child, |_| Line::new()), "child"),
            |b| fails(b.delay("d", |_| HOUR).closed(), "x"),
        )
    }));
    waits.registry = registry;
    waits.play();
    assert_eq!((line(&waits).as_str(), waits.ending), ("", None));
    let (key, end) = (
        "it//saga/1/both/0/child//1",
        json!({"ending": "Cancelled", "data": [], "cause": null, "retryable": false}),
    );
    waits.publish(crate::models::Event {
        event_time: chrono::DateTime::UNIX_EPOCH,
        ..crate::models::Event::new(crate::executor::CHILD_ENDED, key, end)
    });
    waits.play();
    assert_eq!((line(&waits).as_str(), waits.ending), ("!child:cancelled !x:error", Some(Ending::Completed)));
}

#[test]
fn a_cancelled_instance_compensates_the_step_that_is_running() {
    let make = || {
        let mut world = world(saga(|b| cleaned(does(b, "a").step("slow", endless()), "slow")));
        world.plan_ask(HOUR, Control::Cancel);
        world
    };
    let mut cancelled = make();
    cancelled.play();
    assert_eq!(
        (line(&cancelled).as_str(), cancelled.ending),
        ("a !slow:cancelled -a", Some(Ending::Cancelled))
    );
    let mut terminated = make();
    terminated.asks[0].1 = Control::Terminate;
    terminated.play();
    assert_eq!((line(&terminated).as_str(), terminated.ending), ("a", Some(Ending::Terminated)));
}

#[test]
fn what_a_race_a_cancel_condition_or_a_go_to_cuts_short_is_compensated_with_the_saga() {
    let race = || {
        saga(|b| {
            b.race("race", |first| {
                first
                    .branch(|b| cleaned(b.step("slow", endless()), "slow"))
                    .branch(|b| b.delay("d", |_| HOUR).step("b", mark("b")))
            })
            .step("then", mark("then"))
        })
    };
    let mut lost = world(race());
    lost.play_with(Step::Finish);
    assert_eq!(line(&lost), "b then", "and not before");
    let mut fails = world(begin().saga("saga", |b| {
        b.block("in", |b| {
            b.race("race", |first| {
                first
                    .branch(|b| cleaned(b.step("slow", endless()), "slow"))
                    .branch(|b| b.delay("d", |_| HOUR).step("b", mark("b")))
            })
        })
        .step("x", broken())
    }));
    fails.play_with(Step::Finish);
    assert_eq!(line(&fails), "b !slow:cancelled");
    let mut condition = world(saga(|b| {
        both(
            b,
            |b| cleaned(b.step("slow", endless()).cancel_when(|line| !line.is_empty()), "slow"),
            |b| b.delay("d", |_| HOUR).step("stop", mark("stop")).closed(),
        )
        .step("x", broken())
    }));
    condition.play_with(Step::Finish);
    assert_eq!(line(&condition), "stop !slow:cancelled");
    let mut jump = world(saga(|b| {
        both(
            b,
            |b| cleaned(b.step("slow", endless()), "slow"),
            |b| b.delay("d", |_| HOUR).go_to("out", "x").closed(),
        )
        .step("x", broken())
    }));
    jump.play_with(Step::Finish);
    assert_eq!(line(&jump), "!slow:cancelled");
}

#[test]
fn a_failure_that_the_saga_survives_is_compensated_in_its_place() {
    let goes_on = everywhere(|| {
        let x = |b: Body| cleaned(b.step("x", broken()).on_failure(OnFailure::Continue), "x");
        world(saga(|b| does(x(does(b, "a")), "b").step("y", broken())))
    });
    assert_eq!(line(&goes_on), "a b -b !x:error -a");
    let fallback = everywhere(|| {
        let x = |b: Body| cleaned(b.step("x", broken()).fallback(|b| does(b, "instead")), "x");
        world(saga(|b| does(x(does(b, "a")), "b").step("y", broken())))
    });
    assert_eq!(line(&fallback), "a instead b -b -instead !x:error -a");
    let in_fallback = everywhere(|| {
        let x = |b: Body| {
            cleaned(b.step("x", broken()).fallback(|b| does(b, "instead").step("y", broken())), "x")
        };
        world(saga(|b| x(does(b, "a"))))
    });
    assert_eq!(line(&in_fallback), "a instead -instead !x:error -a", "once");
    let survives = everywhere(|| {
        let x = |b: Body| cleaned(b.step("x", broken()).on_failure(OnFailure::Continue), "x");
        world(saga(|b| x(b).step("z", mark("z"))))
    });
    assert_eq!(line(&survives), "z");
}

#[test]
fn a_failed_step_that_an_operator_skips_or_leaves_is_compensated() {
    let stuck = || {
        world(saga(|b| {
            cleaned(does(b, "a").step("x", broken()).on_failure(OnFailure::Suspend), "x")
                .step("b", mark("b"))
                .step("y", broken())
        }))
    };
    let skipped = everywhere(|| {
        let mut world = stuck();
        world.plan_intervention(HOUR, Intervention::Skip);
        world
    });
    assert_eq!(line(&skipped), "a b !x:cancelled -a");
    let left = everywhere(|| {
        let mut world = stuck();
        world.plan_intervention(HOUR, Intervention::ResumeFrom("b".to_owned()));
        world
    });
    assert_eq!(line(&left), "a b !x:cancelled -a");
    let cancelled = everywhere(|| {
        let mut world = stuck();
        world.plan_ask(HOUR, Control::Cancel);
        world
    });
    assert_eq!((line(&cancelled).as_str(), cancelled.ending), ("a !x:cancelled -a", Some(Ending::Cancelled)));
}

#[test]
fn each_round_of_a_saga_compensates_its_own_failed_step() {
    let whole = everywhere(|| {
        let retry = Retry::exponential().attempts(2).jitter(0.0);
        let x = |b: Body| cleaned(b.call("x", |_, _| Err::<(), _>(StepError::retryable("sold out"))), "x");
        world(saga(|b| x(does(b, "a"))).retry(retry).step("after", mark("after")))
    });
    assert_eq!(line(&whole), "a !x:error -a a !x:error -a after");
}

#[test]
fn a_container_that_did_not_complete_is_compensated_by_its_own_compensation_alone() {
    let block = everywhere(|| {
        world(saga(|b| cleaned(does(b, "a").block("block", |b| fails(does(b, "b"), "x")), "block")))
    });
    assert_eq!(line(&block), "a b !block:cancelled -a");
    let complete = everywhere(|| {
        world(saga(|b| cleaned(b.block("block", |b| does(b, "b")), "block").step("x", broken())))
    });
    assert_eq!(line(&complete), "b -block");
    // A saga inside has been compensated when it fails the saga around it.
    let inner = everywhere(|| {
        world(saga(|b| cleaned(does(b, "a").saga("inner", |b| fails(does(b, "b"), "x")), "inner")))
    });
    assert_eq!(line(&inner), "a b !x:error -b !inner:error -a");
    let open = everywhere(|| {
        world(saga(|b| {
            both(
                b,
                |b| cleaned(b.saga("inner", |b| does(b, "b").delay("long", |_| 9 * HOUR)), "inner"),
                |b| fails(b.delay("d", |_| HOUR).closed(), "x"),
            )
        }))
    });
    assert_eq!(line(&open), "b !x:error !inner:cancelled");
}

#[test]
fn in_a_for_each_the_compensation_has_the_item() {
    let whole = everywhere(|| {
        world(saga(|b| {
            b.for_each(
                "each",
                |_| vec![1_u32, 2, 3],
                |b| {
                    b.call("x", |_, _, n| if *n < 3 { Ok(()) } else { Err("broken".into()) })
                        .compensate_even_if_failed(|undo| {
                            undo.call("un-x", |ctx, _, n| {
                                let failed = ctx.compensated().is_some_and(|step| step.failure.is_some());
                                Ok(format!("{n}{}", if failed { "!" } else { "" }))
                            })
                            .output(|word, line, _| line.push(word))
                        })
                },
            )
        }))
    });
    assert_eq!(line(&whole), "3! 2 1");
}

#[test]
fn an_ordinary_compensation_of_the_failed_step_does_not_run() {
    let whole = everywhere(|| {
        world(saga(|b| {
            does(b, "a").step("x", broken()).compensate_with(|undo| undo.step("un-x", unmark("x")))
        }))
    });
    assert_eq!(line(&whole), "a -a");
}
