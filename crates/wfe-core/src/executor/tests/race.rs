//! Races: the first branch that ends cancels the others.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::{
    scenario::{
        Body, Builder, HOUR, Line, begin, broken, built, does, everywhere, line, mark, saga, unmark, world,
    },
    world::{Step, World},
};
use crate::{
    definition::{
        Activity, Block, Branches, Event, Main, OnFailure, Registry, WorkflowBuilder, WorkflowName,
    },
    executor::ACTIVITY,
    models::{self, PointerStatus, WorkflowStatus},
    steps::{StepError, WorkerAnswer},
    traits::{Control, Ending, Intervention},
};

const GO: Event<()> = Event::new("go");

/// A race, and a step after it.
fn race(branches: impl FnOnce(Branches<Line, Main, ()>) -> Branches<Line, Main, ()>) -> Builder<Block> {
    let all = begin().race("race", branches).step("after", mark("after"));
    all.block("end", |b| b.step("last", mark("last")))
}

/// Waits this many hours, then writes this word.
fn late(body: Body, hours: u32, word: &'static str) -> Body {
    body.delay(format!("wait-{word}"), move |_| hours * HOUR).step(word, mark(word)).closed()
}

fn winner(world: &World) -> Option<Value> {
    world.pointer("race").outcome.clone()
}

fn cancelled(world: &World, id: &str) -> bool {
    let row = world.history.iter().find(|row| row.pointer.id == id).expect("it is history");
    row.pointer.status == PointerStatus::Cancelled
}

fn activity(name: &'static str) -> Activity<(), ()> {
    Activity::new(name)
}

/// The answer of a worker to the open wait for this activity.
fn answer(world: &World, name: &str) -> models::Event {
    let wait = world.waits.iter().find(|w| w.event_name == format!("{ACTIVITY}{name}")).expect("it is open");
    let data = serde_json::to_value(WorkerAnswer::Success(json!(null))).unwrap();
    models::Event {
        id: format!("answer-{name}"),
        event_time: world.now,
        ..models::Event::new(wait.event_name.clone(), &wait.id, data)
    }
}

#[test]
fn the_first_branch_that_ends_cancels_the_others_and_the_instance_goes_on() {
    let whole = everywhere(|| {
        world(race(|first| {
            first.branch(|b| late(b, 3, "a")).branch(|b| late(b, 1, "b")).branch(|b| late(b, 2, "c"))
        }))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("b after last", Some(Ending::Completed)));
    assert_eq!(winner(&whole), Some(json!(2)), "branches are numbered from 1");
    assert!(cancelled(&whole, "race/0/wait-a") && cancelled(&whole, "race/2/wait-c"));
}

#[test]
fn a_branch_that_ends_where_it_begins_has_won_before_a_body_of_another_begins() {
    let nothing = |b: Body| b.if_("no", |_| false, |b| b.step("never", mark("never")));
    let whole = everywhere(|| world(race(|first| first.branch(|b| b.step("a", mark("a"))).branch(nothing))));
    assert_eq!((line(&whole).as_str(), winner(&whole)), ("after last", Some(json!(2))));
    assert_eq!(whole.commits.len(), 3, "the race takes no commit of its own");
}

#[test]
fn of_branches_that_end_in_one_commit_the_first_in_the_definition_wins() {
    let both = || {
        let mut world =
            world(race(|first| first.branch(|b| b.step("a", mark("a"))).branch(|b| b.step("b", mark("b")))));
        world.open();
        assert_eq!(world.waiting(), ["race/0/a", "race/1/b"]);
        world
    };
    let mut world = both();
    let jobs = world.jobs.drain(..).rev().collect();
    world.finish(jobs);
    assert_eq!((line(&world).as_str(), winner(&world)), ("b a", Some(json!(1))));
    let mut world = both();
    let last = world.jobs.pop().unwrap();
    world.finish(vec![last]);
    assert_eq!((line(&world).as_str(), winner(&world)), ("b", Some(json!(2))));
    assert!(world.jobs[0].token().is_cancelled());
    // An inner race that is decided in the same commit comes before the outer one.
    let inner = everywhere(|| {
        super::scenario::world(race(|first| {
            first
                .branch(|b| b.race("inner", |first| first.branch(|b| b.delay("d", |_| HOUR))))
                .branch(|b| b.delay("e", |_| HOUR))
        }))
    });
    assert_eq!((line(&inner).as_str(), winner(&inner)), ("after last", Some(json!(1))));
}

#[test]
fn the_waits_of_the_others_are_closed_and_their_children_are_asked_to_cancel() {
    let child = WorkflowName::<Line>::new("child");
    let mut registry = Registry::default();
    registry.register(built(WorkflowBuilder::<Line>::new("child", 1).step("c", mark("c")))).unwrap();
    let registry = std::rc::Rc::new(registry);
    let whole = everywhere(|| {
        let mut world = world(race(|first| {
            first
                .branch(|b| b.wait_for("event", GO, |_| "k"))
                .branch(|b| b.activity("work", activity("work"), |_| ()))
                .branch(|b| b.user_task("ask", |_| "?").plain_option("yes"))
                .branch(|b| b.sub_workflow("child", child.clone(), |_| Line::new()))
                .branch(|b| late(b, 1, "b"))
        }));
        world.registry = registry.clone();
        world
    });
    assert_eq!((line(&whole).as_str(), winner(&whole)), ("b after last", Some(json!(5))));
    assert!(whole.waits.is_empty());
    let requested: Vec<_> = whole.commits.iter().flat_map(|commit| &commit.requested).collect();
    assert_eq!(requested, [&("it//race/3/child//1".to_owned(), Control::Cancel)]);
}

#[test]
fn an_event_that_is_there_when_a_delay_is_over_wins_as_the_first_in_the_definition() {
    let mut world = world(race(|first| {
        first.branch(|b| b.wait_for("event", GO, |_| "k")).branch(|b| b.delay("d", |_| HOUR))
    }));
    world.open();
    assert!(world.run.is_none());
    world.pass(HOUR);
    world.publish(models::Event { event_time: world.now, ..models::Event::new("go", "k", json!(null)) });
    world.play();
    assert_eq!((line(&world).as_str(), winner(&world)), ("after last", Some(json!(1))));
}

/// A race between an activity and a body that is running.
fn asked() -> World {
    let mut world = world(race(|first| {
        first
            .branch(|b| b.activity("work", activity("work"), |_| ()))
            .branch(|b| b.step("slow", mark("slow")))
    }));
    world.open();
    assert_eq!(world.waiting(), ["race/1/slow"]);
    world
}

#[test]
fn an_answer_that_was_accepted_before_the_race_is_decided_counts() {
    let mut world = asked();
    let answer = answer(&world, "work");
    // The store accepts the answer, and the instance does not know of it when the other branch ends.
    world.stream.borrow_mut().publish(answer, world.now);
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!((line(&world).as_str(), winner(&world)), ("slow", Some(json!(1))), "it is the first");
    assert_eq!(world.pointer("after").status, PointerStatus::Pending);
    world.play();
    assert_eq!((line(&world).as_str(), world.ending), ("slow after last", Some(Ending::Completed)));
}

#[test]
fn no_answer_is_accepted_when_the_race_is_about_to_be_decided_and_a_crash_changes_nothing() {
    let (mut whole, mut killed) = (asked(), asked());
    for world in [&mut whole, &mut killed] {
        world.dies_after = Some(world.commits.len() + 1);
    }
    whole.dies_after = None;
    for world in [&mut whole, &mut killed] {
        let before = world.commits.len();
        let jobs = world.jobs.drain(..).collect();
        world.finish(jobs);
        let closing = &world.commits[before];
        assert_eq!(closing.unanswerable, ["it//race/0/work//1"]);
        assert!(!closing.release && closing.unsubscribed.is_empty(), "the race is not decided yet");
    }
    assert_eq!(winner(&whole), Some(json!(2)));
    assert!(killed.run.is_none());
    killed.open();
    assert_eq!(winner(&killed), Some(json!(2)));
    assert!(killed.waits.is_empty());
    killed.play();
    assert_eq!(line(&killed), "slow after last");
}

#[test]
fn a_suspended_instance_decides_its_race_when_it_is_resumed() {
    let mut world = asked();
    world.ask(Control::Suspend);
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!((world.instance.status, winner(&world)), (WorkflowStatus::Suspended, None));
    assert!(world.run.is_none());
    let answer = answer(&world, "work");
    world.publish(answer);
    world.ask(Control::Resume);
    world.play();
    assert_eq!((line(&world).as_str(), winner(&world)), ("slow after last", Some(json!(1))));
}

#[test]
fn an_answer_counts_too_if_the_instance_is_suspended_just_when_the_race_is_decided() {
    let mut world = world(race(|first| {
        first
            .branch(|b| b.activity("work", activity("work"), |_| ()))
            .branch(|b| b.step("slow", mark("slow")))
            .branch(|b| b.step("other", mark("other")))
    }));
    world.open();
    let answer = answer(&world, "work");
    world.stream.borrow_mut().publish(answer, world.now);
    let slow = world.jobs.remove(0);
    let end = slow.run(None).now_or_never().unwrap();
    world.with_run(|run, env| {
        run.ended("race/1/slow", end, env).unwrap();
        run.advance(env).unwrap(); // the store is about to refuse answers
    });
    world.ask(Control::Suspend);
    assert!(world.run.is_some(), "a body is running");
    assert_eq!(winner(&world), None);
    world.ask(Control::Resume);
    assert_eq!((line(&world).as_str(), winner(&world)), ("slow", Some(json!(1))));
}

#[test]
fn a_branch_that_fails_fails_the_race() {
    let fails = everywhere(|| {
        world(race(|first| first.branch(|b| late(b, 1, "a")).branch(|b| b.step("x", broken()))))
    });
    assert_eq!((line(&fails).as_str(), fails.ending), ("", Some(Ending::Failed)));
    // A failure that the instance goes on after is an end like any other.
    let goes_on = everywhere(|| {
        let x = |b: Body| b.step("x", broken()).on_failure(OnFailure::Continue);
        world(race(|first| first.branch(|b| late(b, 1, "a")).branch(x)))
    });
    assert_eq!((line(&goes_on).as_str(), winner(&goes_on)), ("after last", Some(json!(2))));
}

#[test]
fn what_the_losers_had_completed_is_compensated_with_the_saga_and_not_before() {
    let whole = everywhere(|| {
        world(
            saga(|b| {
                does(b, "before")
                    .race("race", |first| {
                        first
                            .branch(|b| does(does(b, "a").delay("long", |_| 9 * HOUR), "never"))
                            .branch(|b| does(b.delay("d", |_| HOUR), "b"))
                    })
                    .step("then", mark("then"))
                    .step("x", broken())
            })
            .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "before a b then -b -a -before after");
}

#[test]
fn a_saga_in_a_branch_that_loses_is_cancelled_and_not_compensated() {
    let open = |b: Body| b.saga("inner", |b| does(b, "a").delay("long", |_| 9 * HOUR));
    let plain = everywhere(|| world(race(|first| first.branch(open).branch(|b| late(b, 1, "b")))));
    assert_eq!(line(&plain), "a b after last");
    // An interrupted compensation continues when the saga around the race is compensated.
    let slow = |b: Body| {
        b.saga("inner", |b| {
            b.step("a", mark("a"))
                .compensate_with(|undo| {
                    undo.step("un-1", unmark("a1")).delay("long", |_| 9 * HOUR).step("un-2", unmark("a2"))
                })
                .step("x", broken())
        })
    };
    let interrupted = everywhere(|| {
        world(saga(|b| {
            b.race("race", |first| first.branch(slow).branch(|b| late(b, 1, "b"))).step("y", broken())
        }))
    });
    assert_eq!(line(&interrupted), "a -a1 b -a2");
    // A saga that wins has ended: its completed steps are not compensated either.
    let wins = everywhere(|| {
        let inner = |b: Body| b.saga("inner", |b| does(b, "a").step("x", broken()));
        world(race(|first| first.branch(inner).branch(|b| late(b, 1, "b"))))
    });
    assert_eq!((line(&wins).as_str(), winner(&wins)), ("a -a after last", Some(json!(1))));
}

#[test]
fn each_item_of_a_for_each_has_a_race_of_its_own() {
    let whole = everywhere(|| {
        let all = begin().for_each(
            "each",
            |_| vec![1_u32, 2, 3],
            |b| {
                b.race("race", |first| {
                    first
                        .branch(|b| {
                            b.delay("work", |_, n| *n * HOUR)
                                .call("done", |_, _, n| Ok(format!("done-{n}")))
                                .output(|word, line, _| line.push(word))
                        })
                        .branch(|b| {
                            b.delay("limit", |_, _| HOUR * 5 / 2)
                                .call("late", |_, _, n| Ok(format!("late-{n}")))
                                .output(|word, line, _| line.push(word))
                        })
                })
            },
        );
        world(all.all_at_once())
    });
    assert_eq!(line(&whole), "done-1 done-2 late-3");
    let outcomes: Vec<_> = (0..3)
        .map(|n| {
            let id = format!("each/{n}/race");
            whole.history.iter().find(|row| row.pointer.id == id).unwrap().pointer.outcome.clone()
        })
        .collect();
    assert_eq!(outcomes, [Some(json!(1)), Some(json!(1)), Some(json!(2))]);
}

#[test]
fn a_branch_ends_when_its_side_branches_have_ended() {
    let whole = everywhere(|| {
        let side = |b: Body| {
            b.after("side", |_| 3 * HOUR, |b| b.step("late", mark("late"))).step("soon", mark("soon"))
        };
        world(race(|first| first.branch(side).branch(|b| late(b, 1, "b"))))
    });
    assert_eq!((line(&whole).as_str(), winner(&whole)), ("soon b after last", Some(json!(2))));
}

#[test]
fn a_go_to_out_of_a_race_cancels_it() {
    let again = everywhere(|| {
        world(begin().step("first", mark("first")).race("race", |first| {
            first
                .branch(|b| {
                    b.delay("d", |_| HOUR).if_(
                        "once",
                        |line: &Line| line.len() < 2,
                        |b| b.go_to("back", "first"),
                    )
                })
                .branch(|b| late(b, 2, "b"))
        }))
    });
    assert_eq!((line(&again).as_str(), again.ending), ("first first", Some(Ending::Completed)));
    let out = everywhere(|| {
        world(
            race(|first| {
                first.branch(|b| b.delay("d", |_| HOUR).go_to("out", "last-step")).branch(|b| late(b, 2, "b"))
            })
            .step("last-step", mark("there")),
        )
    });
    assert_eq!(line(&out), "there");
}

#[test]
fn a_cancel_condition_of_a_race_cancels_all_its_branches() {
    let whole = everywhere(|| {
        world(
            begin()
                .parallel("both", |all| {
                    all.branch(|b| {
                        b.race("race", |first| first.branch(|b| late(b, 3, "a")).branch(|b| late(b, 2, "b")))
                            .cancel_when(|line| !line.is_empty())
                    })
                    .branch(|b| late(b, 1, "stop"))
                })
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "stop after");
}

/// A race whose first branch fails and waits for an operator, and whose second branch takes two hours.
fn stuck() -> Builder<Block> {
    let flaky = |b: Body| {
        b.step("a", mark("a"))
            .call("x", |_, line| {
                if line.iter().filter(|word| *word == "a").count() < 2 {
                    return Err(StepError::fatal("not yet"));
                }
                Ok(())
            })
            .on_failure(OnFailure::Suspend)
            .step("z", mark("z"))
    };
    race(|first| first.branch(flaky).branch(|b| late(b, 2, "b")))
}

#[test]
fn an_operator_mends_a_branch_of_a_race() {
    let skipped = everywhere(|| {
        let mut world = world(stuck());
        world.plan_intervention(HOUR, Intervention::Skip);
        world
    });
    assert_eq!((line(&skipped).as_str(), winner(&skipped)), ("a z after last", Some(json!(1))));
    let from = everywhere(|| {
        let mut world = world(stuck());
        world.plan_intervention(HOUR, Intervention::ResumeFrom("a".to_owned()));
        world
    });
    assert_eq!((line(&from).as_str(), winner(&from)), ("a a z after last", Some(json!(1))));
    let resumed = everywhere(|| {
        let mut world = world(stuck());
        world.plan_ask(HOUR, Control::Resume);
        world.plan_intervention(3 * HOUR, Intervention::ResumeFrom("after".to_owned()));
        world
    });
    assert_eq!(line(&resumed), "a after last", "the race is left");
}

#[test]
fn a_race_that_is_reached_again_is_another_race() {
    let whole = everywhere(|| {
        world(
            begin()
                .while_(
                    "again",
                    |line| line.len() < 3,
                    |b| {
                        b.race("race", |first| {
                            first.branch(|b| late(b, 1, "a")).branch(|b| b.delay("limit", |_| 2 * HOUR))
                        })
                    },
                )
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "a a a after");
}

#[test]
fn a_loser_that_ignores_its_token_delays_nothing() {
    let mut world = world(race(|first| {
        first
            .branch(|b| b.then("endless", async |_, _| std::future::pending::<Result<(), StepError>>().await))
            .branch(|b| b.step("b", mark("b")))
    }));
    world.play_with(Step::Finish);
    assert_eq!((line(&world).as_str(), world.ending), ("b after last", Some(Ending::Completed)));
}

#[test]
fn a_while_without_a_body_cannot_keep_a_race_from_being_decided() {
    let mut world = world(race(|first| {
        first
            .branch(|b| b.while_("for-ever", |_| true, |b| b.delay("none", |_| Duration::ZERO)))
            .branch(|b| b.delay("short", |_| Duration::ZERO))
    }));
    world.play();
    assert_eq!((line(&world).as_str(), winner(&world)), ("after last", Some(json!(2))));
}
