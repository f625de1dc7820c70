//! Containers that start again after a failure. The names of their new branches were never used before. So nothing
//! inside a container is confused with anything from the container's earlier start. `World` checks that no wait is
//! opened twice.

use std::{collections::BTreeSet, rc::Rc};

use serde_json::json;

use super::{
    scenario::{Body, HOUR, Line, begin, broken, does, everywhere, line, mark, saga, world},
    world::World,
};
use crate::{
    definition::{Every, Item, OnFailure, Retry, WorkflowBuilder, child, event, inline, user_task},
    executor::USER_TASK,
    models::PointerStatus,
    steps::{Next, UserAnswer, WorkerAnswer},
    traits::{Control, Ending},
};

/// Adds a wait for an event. The event comes only after the container has started again.
fn waits<I: Item>(body: Body<I>) -> Body<I> {
    body.wait_for("w", event("e", |_: &Line, _| "k")).then("done", mark("done"))
}

const CONTAINERS: [fn(Body) -> Body; 7] = [
    |b| b.parallel("c", |all| all.branch(waits).branch(|b| b.delay("d", |_, _| 9 * HOUR))),
    |b| b.decide("c", |_, _| 1, |by| by.when(1, waits)),
    |b| b.if_("c", |_, _| true, waits),
    |b| b.while_("c", |line: &Line, _| !line.contains(&"done".to_owned()), waits),
    |b| b.then_each("c", inline(|_, _| async { Next::branch([1, 2]) }), |b: Body<u32>| waits(b)),
    |b| {
        let never = event("never", |_: &Line, _| "k");
        b.wait_for("c", never.timeout(|_, _| HOUR / 2, waits))
    },
    |b| {
        let answered_early = user_task(|_: &Line, _| "?").option("yes", waits);
        b.user_task("c", answered_early)
    },
];

/// A condition that panics as long as the last word written is `go`.
fn panics(line: &Line) -> bool {
    assert!(line.last().is_none_or(|word| word != "go"), "not yet");
    false
}

fn answer(world: &mut World, after: std::time::Duration, wait: &str) {
    let answer = WorkerAnswer::Success(json!({"option": "yes", "user": "bob", "data": null}));
    world.plan(after, USER_TASK, wait, &answer);
}

#[test]
fn a_container_that_is_tried_again_opens_new_waits() {
    for container in CONTAINERS {
        let whole = everywhere(|| {
            let retry = Retry::up_to(3).initial(2 * HOUR).max(2 * HOUR).jitter(0.0);
            let mut world = world(begin().parallel("all", |all| {
                all.branch(move |b| {
                    container(b).cancel_when(|line, _| panics(line)).retry(retry).then("after", mark("after"))
                })
                .branch(|b| {
                    b.delay("d1", |_, _| HOUR)
                        .then("go", mark("go"))
                        .delay("d2", |_, _| HOUR)
                        .then("ok", mark("ok"))
                })
            }));
            answer(&mut world, HOUR / 2, "it//all/0/c//1");
            answer(&mut world, 4 * HOUR, "it//all/0/c//2");
            world.plan(5 * HOUR, "e", "k", ());
            world
        });
        assert!(
            line(&whole).starts_with("go ok done") && line(&whole).ends_with("after"),
            "{}",
            line(&whole)
        );
        assert_eq!((whole.ending, whole.failures.len()), (Some(Ending::Completed), 1));
        let waits: BTreeSet<_> = whole.commits.iter().flat_map(|c| &c.subscribed).map(|w| &w.id).collect();
        assert!(waits.iter().filter(|id| id.contains("/w//")).count() >= 2, "{waits:?}");
    }
}

#[test]
fn a_container_that_is_resumed_opens_new_waits() {
    for container in CONTAINERS {
        let mut world = world(begin().parallel("all", |all| {
            all.branch(move |b| {
                container(b)
                    .cancel_when(|line, _| panics(line))
                    .on_failure(OnFailure::Suspend)
                    .then("after", mark("after"))
            })
            .branch(|b| b.delay("d1", |_, _| HOUR).then("go", mark("go")))
            .branch(|b| b.delay("d2", |_, _| HOUR).then("ok", mark("ok")))
        }));
        answer(&mut world, HOUR / 2, "it//all/0/c//1");
        answer(&mut world, 4 * HOUR, "it//all/0/c//2");
        world.plan(5 * HOUR, "e", "k", ());
        world.plan_ask(2 * HOUR, Control::Resume);
        world.sorted = true;
        world.play();
        assert!(
            line(&world).starts_with("go ok done") && line(&world).ends_with("after"),
            "{}",
            line(&world)
        );
        assert_eq!((world.ending, world.failures.len()), (Some(Ending::Completed), 1));
    }
}

#[test]
fn a_child_of_a_container_that_begins_anew_is_another_child() {
    let mut world = world(begin().parallel("all", |all| {
        all.branch(|b| {
            b.if_("c", |_, _| true, |b| b.sub_workflow("sub", child("other", |_: &Line, _| 0)))
                .cancel_when(|line, _| panics(line))
                .retry(Retry::up_to(1).initial(2 * HOUR).max(2 * HOUR).jitter(0.0))
        })
        .branch(|b| {
            b.delay("d1", |_, _| HOUR).then("go", mark("go")).delay("d2", |_, _| HOUR).then("ok", mark("ok"))
        })
    }));
    let other = WorkflowBuilder::<i32>::new("other", 1).delay("hour", |_, _| HOUR).build().unwrap();
    Rc::get_mut(&mut world.registry).unwrap().register(other).unwrap();
    world.play();
    let children: Vec<_> =
        world.commits.iter().flat_map(|c| &c.created).map(|child| child.id.as_str()).collect();
    assert_eq!(children, ["it//all/0/c/0/sub//1", "it//all/0/c/0#2/sub//1"]);
}

#[test]
fn a_user_task_whose_answer_could_not_be_taken_escalates_anew() {
    let whole = everywhere(|| {
        let task = user_task(|_: &Line, _| "?")
            .option("yes", |yes| yes.then("y", mark("y")))
            .output(|_: &UserAnswer, line: &mut Line| {
                assert!(line.len() >= 2, "not yet");
                line.push("yes".to_owned());
            })
            .escalate(|_, _| HOUR, |b| waits(b.then("e", mark("e"))));
        let mut world = world(
            begin().user_task("ask", task).retry(Retry::up_to(3).jitter(0.0)).then("after", mark("after")),
        );
        answer(&mut world, 2 * HOUR, "it//ask//1");
        answer(&mut world, 4 * HOUR, "it//ask//2");
        world
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("e e yes y after", Some(Ending::Completed)));
    assert_eq!(whole.failures.len(), 1);
}

/// The step fails and its fallback begins to wait. Meanwhile, the step's cancel condition panics.
fn a_condition_panics_in_the_fallback(body: impl Fn(Body) -> Body) -> World {
    let mut world = world(begin().parallel("all", |all| {
        all.branch(|b| {
            body(b)
                .cancel_when(|line, _| panics(line))
                .retry(Retry::up_to(5))
                .fallback(waits)
                .then("after", mark("after"))
        })
        .branch(|b| b.delay("d1", |_, _| HOUR).then("go", mark("go")))
        .branch(|b| b.delay("d2", |_, _| HOUR).then("ok", mark("ok")))
    }));
    world.plan(5 * HOUR, "e", "k", ());
    world.sorted = true;
    world
}

#[test]
fn a_condition_that_panics_in_a_fallback_is_a_failure_of_the_fallback() {
    let steps: [fn(Body) -> Body; 2] =
        [|b| b.then("x", broken()), |b| b.saga("x", |b| b.then("y", broken()))];
    for step in steps {
        let mut world = a_condition_panics_in_the_fallback(step);
        world.play();
        assert_eq!((line(&world).as_str(), world.ending), ("go", Some(Ending::Failed)));
        assert_eq!(world.cause.as_ref().unwrap().step, "x");
        assert_eq!(world.failures.len(), 2, "its own, and that of its fallback");
    }
}

#[test]
fn a_fallback_whose_steps_make_the_condition_panic_ends_and_is_not_begun_again() {
    let whole = everywhere(|| {
        world(
            begin()
                .then("x", broken())
                .cancel_when(|line: &Line, _| {
                    assert!(line.is_empty(), "no more");
                    false
                })
                .retry(Retry::up_to(1))
                .fallback(|f| f.then("a", mark("a")).then("b", mark("b")))
                .then("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a", Some(Ending::Failed)));
    assert_eq!(whole.failures.len(), 2);
}

#[test]
fn a_fallback_whose_condition_panics_has_the_saga_around_it_undone() {
    let whole = everywhere(|| {
        world(
            saga(|b| {
                does(b, "a")
                    .then("x", broken())
                    .cancel_when(|line: &Line, _| {
                        assert!(line.len() < 2, "no more");
                        false
                    })
                    .fallback(|f| does(f, "f").then("never", mark("never")))
                    .then("never-2", mark("never"))
            })
            .then("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a f -f -a after", Some(Ending::Completed)));
    assert_eq!(whole.pointer("saga").status, PointerStatus::Compensated);
}

#[test]
fn a_compensation_goes_on_behind_a_fallback_whose_condition_panics() {
    let whole = everywhere(|| {
        world(
            saga(|b| {
                let b = b.then("a", mark("a")).compensate_with(|undo| {
                    undo.then("un-a", broken())
                        .cancel_when(|line: &Line, _| {
                            assert!(line.len() < 2, "no more");
                            false
                        })
                        .fallback(|f| f.then("f", mark("f")).then("never", mark("never")))
                        .then("rest", mark("rest"))
                });
                b.then("x", broken())
            })
            .then("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a f rest after", Some(Ending::Completed)));
}

#[test]
fn a_cancel_condition_takes_a_fallback_away_also_that_of_a_saga() {
    let steps: [fn(Body) -> Body; 2] =
        [|b| b.then("x", broken()), |b| b.saga("x", |b| b.then("y", broken()))];
    for step in steps {
        let whole = everywhere(|| {
            let after = mark("after");
            world(begin().parallel("all", |all| {
                all.branch(|b| {
                    step(b)
                        .cancel_when(|line: &Line, _| !line.is_empty())
                        .fallback(|f| f.then("f", mark("f")).then("never", mark("never")))
                        .then("after", after)
                })
            }))
        });
        assert_eq!((line(&whole).as_str(), whole.ending), ("f after", Some(Ending::Completed)));
    }
}

#[test]
fn a_fallback_of_a_recur_whose_condition_panics_runs_to_its_end() {
    let every = Every::interval(HOUR);
    let whole = everywhere(|| {
        world(
            begin()
                .recur("r", every.clone(), |_: &Line, _| panic!("no idea"), |b| b.then("tick", mark("tick")))
                .fallback(|f| f.then("a", mark("a")).then("b", mark("b")))
                .then("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b after", Some(Ending::Completed)));
    assert_eq!(whole.failures.len(), 1);
}

#[test]
fn a_recur_whose_condition_panics_at_a_tick_ticks_no_more_in_its_fallback() {
    let every = Every::interval(HOUR);
    let whole = everywhere(|| {
        let until = |line: &Line, _: &()| {
            assert!(line.len() < 2, "no idea");
            false
        };
        world(
            begin()
                .recur("r", every.clone(), until, |b| b.then("tick", mark("tick")))
                .fallback(|f| f.then("a", mark("a")).delay("d", |_, _| 3 * HOUR).then("b", mark("b")))
                .then("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("after tick a b", Some(Ending::Completed)));
    assert_eq!(whole.failures.len(), 1);
}
