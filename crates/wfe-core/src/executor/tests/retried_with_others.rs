//! Retries of instances that stood in a race, in a cancel condition, at a claim limit, or at half-done steps.

use serde_json::json;

use super::{
    scenario::{Body, Builder, HOUR, Line, begin, broken, does, everywhere, line, mark, saga, world},
    world::World,
};
use crate::{
    RetryRefusal, WfeError,
    definition::{Activity, Block, IntoStep, OnFailure, task},
    executor::{ACTIVITY, Lifecycle, Surroundings, reopen},
    models::{self, WorkflowStatus, attributes},
    steps::{StepError, WorkerAnswer},
    traits::{Control, Ending, Intervention},
};

/// A step that fails in its first execution, and writes `word` in each later one.
fn second_time(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>()
        .call(
            |ctx, _| {
                if ctx.idempotency_key().contains('#') { Ok(()) } else { Err(StepError::fatal("once")) }
            },
        )
        .output(move |(), line| line.push(word.to_owned()))
}

fn says(word: &'static str) -> impl Fn(&Line) -> bool + Send + Sync + 'static {
    move |line| line.iter().any(|said| said == word)
}

/// The world, in which an operator retries the instance this many hours after its start.
fn retried(hours: u32, mut world: World) -> World {
    world.plan_retry(hours * HOUR);
    world
}

fn late(body: Body, hours: u32, word: &'static str) -> Body {
    body.delay(format!("wait-{word}"), move |_| hours * HOUR).step(word, mark(word)).closed()
}

fn outcome(world: &World, id: &str) -> Option<serde_json::Value> {
    let live = world.instance.execution_pointers.iter();
    let mut all = world.history.iter().map(|row| &row.pointer).chain(live);
    all.find(|pointer| pointer.id == id).expect("it was reached").outcome.clone()
}

/// Lets all waiting bodies end in one commit.
fn finish_all(world: &mut World) {
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
}

/// A step that goes on failing in a saga, and ends the instance.
fn ends(body: Body, hours: u32) -> Body {
    body.delay("pause", move |_| hours * HOUR)
        .step("fails", second_time("fails"))
        .on_failure(OnFailure::Fail)
        .closed()
}

#[test]
fn the_branches_of_a_race_that_failed_go_on_and_the_first_wins() {
    for (failing, expected, winner) in [(1, "a fails after", 1), (3, "a fails b after", 2)] {
        let whole = everywhere(|| {
            let builder = begin().race("race", |first| {
                first
                    .branch(move |b| late(ends(late(b, 1, "a"), 1), failing, "slow"))
                    .branch(|b| late(b, 5, "b"))
            });
            retried(3, world(builder.step("after", mark("after"))))
        });
        let expected =
            if winner == 1 { expected.replace("fails", "fails slow") } else { expected.to_owned() };
        assert_eq!((line(&whole), whole.ending), (expected, Some(Ending::Completed)));
        assert_eq!(outcome(&whole, "race"), Some(json!(winner)));
    }
}

#[test]
fn a_race_that_was_decided_before_the_failure_is_not_run_again() {
    let whole = everywhere(|| {
        let builder = begin()
            .race("race", |first| first.branch(|b| late(b, 9, "a")).branch(|b| late(b, 1, "b")))
            .step("fails", second_time("fails"));
        retried(20, world(builder))
    });
    assert_eq!(line(&whole), "b fails");
    assert_eq!(outcome(&whole, "race"), Some(json!(2)));
}

#[test]
fn a_race_in_a_compensated_saga_runs_again_in_the_next_round() {
    let whole = everywhere(|| {
        let round = |ctx: &crate::steps::Ctx, _: &Line| {
            if ctx.idempotency_key().contains("saga/1/") { Err(StepError::fatal("round 1")) } else { Ok(()) }
        };
        let builder = saga(|b| {
            b.race("race", |first| {
                first
                    .branch(|b| does(does(b, "a").delay("long", |_| 9 * HOUR), "never"))
                    .branch(|b| does(b.delay("d", |_| HOUR), "b"))
            })
            .call("x", round)
        })
        .on_failure(OnFailure::Fail)
        .step("after", mark("after"));
        retried(20, world(builder))
    });
    assert_eq!(line(&whole), "a b -b -a a b after");
}

/// A race between an activity and a body, beside a body that fails the instance at its first execution.
fn beside_a_race() -> Builder<Block> {
    begin()
        .parallel("all", |all| {
            all.branch(|b| b.step("fails", second_time("fails"))).branch(|b| {
                b.race("race", |first| {
                    first
                        .branch(|b| b.activity("work", Activity::<(), ()>::new("work"), |_| ()))
                        .branch(|b| b.step("slow", mark("slow")))
                })
            })
        })
        .block("after", |b| b.step("last", mark("last")))
}

#[test]
fn a_race_whose_branch_ended_in_the_ending_commit_is_decided_at_the_retry() {
    for is_first in [true, false] {
        let mut whole = world(beside_a_race());
        whole.open();
        assert_eq!(whole.waiting(), ["all/0/fails", "all/1/race/1/slow"]);
        if is_first {
            whole.jobs.swap(0, 1);
        }
        finish_all(&mut whole);
        assert_eq!(whole.ending, Some(Ending::Failed));
        let said = if is_first { "slow" } else { "" };
        assert_eq!(line(&whole), said);
        for dies_after in [None, Some(1), Some(2), Some(3), Some(4)] {
            let mut world = world(beside_a_race());
            world.open();
            if is_first {
                world.jobs.swap(0, 1);
            }
            finish_all(&mut world);
            world.retry().unwrap();
            world.dies_after = dies_after.map(|count| world.commits.len() + count);
            world.play();
            assert_eq!(world.ending, Some(Ending::Completed));
            assert_eq!(outcome(&world, "all/1/race"), Some(json!(2)));
            assert!(
                ["slow fails last", "fails slow last"].contains(&line(&world).as_str()),
                "{}",
                line(&world)
            );
            assert!(world.waits.is_empty());
        }
    }
}

fn accepted(world: &World) -> models::Event {
    let wait = world.waits.iter().find(|w| w.event_name == format!("{ACTIVITY}work")).expect("it is open");
    let data = serde_json::to_value(WorkerAnswer::Success(json!(null))).unwrap();
    let event = models::Event::new(wait.event_name.clone(), &wait.id, data);
    models::Event { id: "answer".to_owned(), event_time: world.now, ..event }
}

#[test]
fn an_end_between_the_two_commits_of_a_decision_leaves_the_race_to_the_retry() {
    let closing = || {
        let mut world = world(beside_a_race());
        world.open();
        world.jobs.remove(0);
        world.dies_after = Some(world.commits.len() + 1);
        finish_all(&mut world);
        world.dies_after = None;
        assert!(world.run.is_none());
        assert_eq!(world.unanswerable.len(), 1);
        world
    };
    let mut world = closing();
    world.ask(Control::Terminate);
    assert_eq!((world.ending, world.waits.len()), (Some(Ending::Terminated), 0));
    // The answer that came between the commits is not accepted, so it can only have come before the first one.
    for is_answered in [false, true] {
        for suspends in [false, true] {
            let mut world = closing();
            if is_answered {
                let answer = accepted(&world);
                world.stream.borrow_mut().publish(answer, world.now);
            }
            if suspends {
                world.ask(Control::Suspend);
                assert_eq!(world.instance.status, WorkflowStatus::Suspended);
            }
            world.ask(Control::Cancel);
            assert_eq!((world.ending, world.waits.len()), (Some(Ending::Cancelled), 0));
            world.retry().unwrap();
            world.play();
            assert_eq!(world.ending, Some(Ending::Failed));
            world.retry().unwrap();
            world.play();
            assert_eq!((line(&world).as_str(), world.ending), ("slow fails last", Some(Ending::Completed)));
            assert_eq!(outcome(&world, "all/1/race"), Some(json!(2)));
        }
    }
}

#[test]
fn a_condition_that_began_to_hold_in_the_ending_commit_cancels_at_the_retry() {
    let builder = |ends_branch: bool| {
        begin()
            .parallel("all", move |all| {
                // The step that fails changes no data.
                let once = |ctx: &crate::steps::Ctx, _: &Line| {
                    if ctx.idempotency_key().contains('#') { Ok(()) } else { Err(StepError::fatal("once")) }
                };
                all.branch(|b| b.step("stop", mark("stop"))).branch(move |b| b.call("fails", once)).branch(
                    move |b| {
                        let long = b.delay("long", |_| 9 * HOUR);
                        let long = if ends_branch {
                            long.cancel_branch_when(says("stop"))
                        } else {
                            long.cancel_when(says("stop"))
                        };
                        long.step("next", mark("next"))
                    },
                )
            })
            .step("after", mark("after"))
    };
    for (ends_branch, expected) in [(false, "stop next after"), (true, "stop after")] {
        let mut world = world(builder(ends_branch));
        world.open();
        finish_all(&mut world);
        assert_eq!((line(&world).as_str(), world.ending), ("stop", Some(Ending::Failed)));
        world.retry().unwrap();
        world.play();
        assert_eq!((line(&world).as_str(), world.ending), (expected, Some(Ending::Completed)));
        assert_eq!(world.now, world.instance.create_time, "the delay was cancelled at once");
    }
}

#[test]
fn a_failed_step_whose_cancel_condition_holds_at_the_retry_is_cancelled() {
    let builder = |ends_branch: bool| {
        begin().block("block", move |b| {
            let b = b.parallel("all", move |all| {
                all.branch(|b| b.step("stop", mark("stop"))).branch(move |b| {
                    let b = b.step("fails", broken());
                    let b = if ends_branch {
                        b.cancel_branch_when(says("stop"))
                    } else {
                        b.cancel_when(says("stop"))
                    };
                    b.step("next", mark("next"))
                })
            });
            b.step("after", mark("after"))
        })
    };
    for (ends_branch, expected) in [(false, "stop next after"), (true, "stop after")] {
        let mut world = world(builder(ends_branch));
        world.open();
        finish_all(&mut world);
        world.retry().unwrap();
        world.play();
        assert_eq!((line(&world).as_str(), world.ending), (expected, Some(Ending::Completed)));
    }
}

#[test]
fn a_loop_whose_condition_changed_in_the_ending_commit_goes_on_as_the_data_says() {
    let whole = everywhere(|| {
        let builder = begin().parallel("all", |all| {
            all.branch(|b| late(b, 1, "stop").step("fails", second_time("fails"))).branch(|b| {
                b.while_(
                    "while",
                    |line| !line.contains(&"fails".to_owned()),
                    |b| b.delay("d", |_| 2 * HOUR).step("x", mark("x")),
                )
            })
        });
        retried(3, world(builder))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("stop fails x", Some(Ending::Completed)));
}

/// An activity that a worker must claim within 2 hours, beside a step that fails after an hour.
fn claimed_within() -> World {
    let builder = begin().parallel("all", |all| {
        all.branch(|b| ends(b, 1)).branch(|b| {
            b.activity("act", Activity::<u32, ()>::new("work"), |_| 7)
                .claim_within(|_| 2 * HOUR)
                .on_timeout(|_| 9 * HOUR, |b| b.step("unclaimed", mark("unclaimed")))
                .step("next", mark("next"))
        })
    });
    world(builder)
}

#[test]
fn the_time_in_which_an_activity_was_withdrawn_does_not_count_against_its_claim_limit() {
    // It had one hour left when the instance failed.
    let unclaimed = everywhere(|| retried(5, claimed_within()));
    assert_eq!(line(&unclaimed), "fails unclaimed next");
    assert_eq!(unclaimed.now, unclaimed.instance.create_time + 6 * HOUR);
    // A claim before the failure is one of the activity that was withdrawn.
    let again = everywhere(|| {
        let mut world = retried(5, claimed_within());
        world.plan_claim(HOUR / 2, "it//all/1/act//1");
        world
    });
    assert_eq!((line(&again).as_str(), again.now), ("fails unclaimed next", unclaimed.now));
    // The other time limit stays: it is at 9 hours.
    for (retry, claim) in [(5, 5 * HOUR + HOUR / 2), (8, 99 * HOUR)] {
        let late = everywhere(|| {
            let mut world = retried(retry, claimed_within());
            if retry == 5 {
                world.plan_claim(claim, "it//all/1/act//2");
            }
            world
        });
        assert_eq!(line(&late), "fails unclaimed next");
        assert_eq!(late.now, late.instance.create_time + 9 * HOUR);
        let pointer = late.history.iter().find(|row| row.pointer.id == "all/1/act").unwrap();
        assert!(!pointer.pointer.has(attributes::CLAIM_BY));
    }
}

#[test]
fn a_timeout_that_has_passed_before_the_retry_fires_at_once() {
    let whole = everywhere(|| {
        let builder = begin().parallel("all", |all| {
            all.branch(|b| ends(b, 1)).branch(|b| {
                b.activity("act", Activity::<u32, ()>::new("work"), |_| 7)
                    .on_timeout(|_| 2 * HOUR, |b| b.step("late", mark("late")))
            })
        });
        retried(5, world(builder))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("fails late", Some(Ending::Completed)));
    assert_eq!(whole.now, whole.instance.create_time + 5 * HOUR);
}

#[test]
fn a_user_task_goes_to_its_next_assignee_at_the_time_that_it_had() {
    // It is reassigned after 3 hours: after the retry, before the end, and between the two.
    for (fails, retry, expected) in [(1, 2, "bob//3"), (4, 5, "bob//3"), (1, 5, "bob//3")] {
        let whole = everywhere(|| {
            let builder = begin().parallel("all", |all| {
                all.branch(move |b| ends(b, fails)).branch(|b| {
                    b.user_task("ask", |_| "?")
                        .plain_option("yes")
                        .assignee(|_| "ann")
                        .reassign(|_| 3 * HOUR, |_| "bob")
                        .escalate(|_| 6 * HOUR, |b| b.step("escalated", mark("escalated")))
                })
            });
            let mut world = retried(retry, world(builder));
            world.plan(99 * HOUR, "nothing", "k", 0);
            world
        });
        assert_eq!(line(&whole), "fails escalated", "only once");
        let [wait] = &whole.waits[..] else { panic!("one task is open: {:?}", whole.waits) };
        let view = wait.subscription_data.as_ref().unwrap();
        let (_, number) = wait.id.rsplit_once("//").unwrap();
        assert_eq!(format!("{}//{number}", view["assignee"].as_str().unwrap()), expected);
        assert_eq!(whole.all_waits.len(), 3);
    }
}

/// A compensation that says whether the step has completed.
fn told(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>()
        .call(move |ctx, _| {
            let step = ctx.compensated().expect("it is a compensation");
            let sign = if step.failure.is_some() { '!' } else { '-' };
            Ok(format!("{sign}{word}:{}", step.pointer))
        })
        .output(|word, line| line.push(word))
}

#[test]
fn what_the_end_has_cut_short_in_a_saga_goes_on_and_is_compensated_once() {
    let whole = everywhere(|| {
        let builder = saga(|b| {
            b.parallel("both", |all| {
                all.branch(|b| ends(b, 1)).branch(|b| {
                    b.delay("long", |_| 9 * HOUR)
                        .compensate_even_if_failed(|undo| undo.step("un-long", told("long")))
                })
            })
            .step("x", broken())
        })
        .on_failure(OnFailure::Continue);
        retried(5, world(builder))
    });
    assert_eq!(line(&whole), "fails -long:saga/1/both/1/long");
}

#[test]
fn each_retry_of_a_saga_that_has_a_compensation_of_its_own_is_compensated() {
    // `inner` fails the instance in its first round, and then completes, fails, or is cut short.
    let play = |second: &'static str| {
        let whole = everywhere(|| {
            let builder = saga(|b| {
                b.parallel("both", |all| {
                    all.branch(move |b| {
                        b.saga("inner", move |b| {
                            does(b, "a")
                                .call("b", move |ctx, _| {
                                    let is_first = ctx.idempotency_key().contains("inner/1/");
                                    let fails = is_first || second == "fails";
                                    if fails { Err(StepError::fatal("no")) } else { Ok(()) }
                                })
                                .delay("d", move |_| if second == "is cut" { 9 * HOUR } else { HOUR })
                        })
                        .on_failure(OnFailure::Fail)
                        .compensate_even_if_failed(|undo| undo.step("un-inner", told("inner")))
                    })
                    .branch(|b| b.delay("pause", |_| 8 * HOUR))
                })
                .step("x", broken())
            })
            .on_failure(OnFailure::Continue);
            let mut world = retried(5, world(builder));
            if second == "is cut" {
                world.plan_ask(7 * HOUR, Control::Cancel);
            }
            world
        });
        line(&whole)
    };
    let inner = "inner:saga/1/both/0/inner";
    assert_eq!(play("completes"), format!("a -a a -{inner} !{inner}"));
    assert_eq!(play("is cut"), format!("a -a a !{inner} !{inner}"));
    assert_eq!(play("fails"), "a -a a -a");
}

#[test]
fn a_branch_of_a_race_that_was_retried_is_mended_by_an_operator() {
    let stuck = || {
        begin()
            .race("race", |first| {
                first
                    .branch(|b| {
                        late(ends(b, 1), 1, "a")
                            .step("x", broken())
                            .on_failure(OnFailure::Suspend)
                            .step("z", mark("z"))
                    })
                    .branch(|b| late(b, 99, "b"))
            })
            .step("after", mark("after"))
    };
    let skipped = everywhere(|| {
        let mut world = retried(3, world(stuck()));
        world.plan_intervention(9 * HOUR, Intervention::Skip);
        world
    });
    assert_eq!(line(&skipped), "fails a z after");
    let from = everywhere(|| {
        let mut world = retried(3, world(stuck()));
        world.plan_intervention(9 * HOUR, Intervention::ResumeFrom("a".to_owned()));
        world.plan_intervention(12 * HOUR, Intervention::Skip);
        world
    });
    assert_eq!(line(&from), "fails a a z after");
    let cancelled = everywhere(|| {
        let mut world = retried(3, world(stuck()));
        world.plan_ask(9 * HOUR, Control::Cancel);
        world.plan_retry(10 * HOUR);
        world.plan_intervention(12 * HOUR, Intervention::ResumeFrom("race".to_owned()));
        world.plan_ask(14 * HOUR, Control::Suspend);
        world.plan_intervention(15 * HOUR, Intervention::ResumeFrom("after".to_owned()));
        world
    });
    assert_eq!(line(&cancelled), "fails a fails after", "the race runs again");
    assert_eq!(cancelled.ending, Some(Ending::Completed));
}

#[test]
fn a_race_that_fails_as_a_whole_begins_again_with_all_its_branches() {
    let whole = everywhere(|| {
        let panics = |line: &Line| {
            assert!(line.len() != 2, "no");
            false
        };
        let twice = |b: Body| late(late(b, 1, "a"), 1, "b");
        let builder = begin().race("race", |first| first.branch(twice).branch(|b| late(b, 3, "c")));
        retried(20, world(builder.cancel_when(panics)))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b", Some(Ending::Failed)), "the data stays");
    assert_eq!(whole.failures.iter().filter(|f| f.step == "race").count(), 2);
    assert_eq!(outcome(&whole, "race#2"), None);
}

#[test]
fn a_go_to_out_of_a_race_after_a_retry_leaves_it() {
    let whole = everywhere(|| {
        let builder = begin()
            .step("first", mark("first"))
            .race("race", |first| {
                first
                    .branch(|b| ends(b, 1).if_("once", |line| line.len() < 3, |b| b.go_to("back", "first")))
                    .branch(|b| late(b, 9, "b"))
            })
            .step("after", mark("after"));
        retried(3, world(builder))
    });
    assert_eq!(line(&whole), "first fails first fails after");
}

#[test]
fn an_instance_that_had_nothing_left_to_do_when_it_was_cancelled_completes() {
    let whole = everywhere(|| {
        let mut world = retried(3, world(begin().delay("d", |_| HOUR).step("a", mark("a"))));
        world.plan_ask(HOUR, Control::Suspend);
        world.plan_ask(2 * HOUR, Control::Cancel);
        world
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a", Some(Ending::Completed)));
    let mut world = world(begin().step("a", mark("a")));
    world.open();
    world.ask(Control::Suspend);
    finish_all(&mut world);
    assert_eq!((line(&world).as_str(), world.instance.status), ("a", WorkflowStatus::Suspended));
    world.ask(Control::Cancel);
    world.retry().unwrap();
    world.play();
    assert_eq!((line(&world).as_str(), world.ending), ("a", Some(Ending::Completed)));
    assert_eq!(world.events.iter().filter(|e| **e == Lifecycle::Retried).count(), 1);
}

#[test]
fn an_instance_of_the_engine_itself_is_not_retried() {
    let mut world = world(begin().step("a", broken()));
    world.play();
    let mut loaded = world.loaded();
    loaded.instance.workflow_definition_id = "wfe.schedule:nightly".to_owned();
    for refused in [
        reopen(&loaded, &Surroundings::default(), world.now).map(drop),
        Surroundings::wanted(&loaded).map(drop),
    ] {
        let Err(WfeError::CannotRetry { id, reason: RetryRefusal::Engine }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(id, "it");
    }
}
