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
    definition::{After, Branch, Event, Every, Main, OnFailure, Retry, WorkflowBuilder, WorkflowName},
    executor::USER_TASK,
    models::PointerStatus,
    steps::{Next, WorkerAnswer},
    traits::{Control, Ending},
};

const E: Event<()> = Event::new("e");

/// Adds a wait for an event. The event comes only after the container has started again.
fn waits<L>(body: Body<Main, L>) -> impl Branch<Line> {
    body.wait_for("w", E, |_| "k").step("done", mark("done"))
}

/// The containers, each with a cancel condition that panics. Each gets this retry policy; without one, its failure
/// suspends the instance.
const CONTAINERS: [fn(Body, Option<Retry>) -> Body; 7] = [
    |b, retry| {
        let all = b.parallel("c", |all| all.branch(waits).branch(|b| b.delay("d", |_| 9 * HOUR)));
        begins_anew(all, retry)
    },
    |b, retry| begins_anew(b.decide("c", |_| 1, |by| by.when(1, waits)), retry),
    |b, retry| begins_anew(b.if_("c", |_| true, waits), retry),
    |b, retry| begins_anew(b.while_("c", |line| !line.contains(&"done".to_owned()), waits), retry),
    |b, retry| {
        let split = b.call("c", |_, _| Next::branch([1, 2]));
        let each = split.each::<u8, _>(|b| b.wait_for("w", E, |_, _| "k").step("done", mark("done")));
        begins_anew(each.all_at_once(), retry)
    },
    |b, retry| {
        let late = b.wait_for("c", Event::<()>::new("never"), |_| "k").on_timeout(|_| HOUR / 2, waits);
        begins_anew(late, retry)
    },
    // The user task is answered after half an hour.
    |b, retry| begins_anew(b.user_task("c", |_| "?").option("yes", waits), retry),
];

fn begins_anew<L: After>(body: Body<Main, L>, retry: Option<Retry>) -> Body {
    let body = body.cancel_when(panics);
    match retry {
        Some(retry) => body.retry(retry),
        None => body.on_failure(OnFailure::Suspend),
    }
    .closed()
}

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
            let retry = Retry::exponential().attempts(4).initial(2 * HOUR).max(2 * HOUR).jitter(0.0);
            let mut world = world(begin().parallel("all", |all| {
                all.branch(|b| container(b, Some(retry)).step("after", mark("after"))).branch(|b| {
                    b.delay("d1", |_| HOUR)
                        .step("go", mark("go"))
                        .delay("d2", |_| HOUR)
                        .step("ok", mark("ok"))
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
            all.branch(|b| container(b, None).step("after", mark("after")))
                .branch(|b| b.delay("d1", |_| HOUR).step("go", mark("go")))
                .branch(|b| b.delay("d2", |_| HOUR).step("ok", mark("ok")))
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
            b.if_("c", |_| true, |b| b.sub_workflow("sub", WorkflowName::new("other"), |_| 0))
                .cancel_when(panics)
                .retry(Retry::exponential().attempts(2).initial(2 * HOUR).max(2 * HOUR).jitter(0.0))
        })
        .branch(|b| {
            b.delay("d1", |_| HOUR).step("go", mark("go")).delay("d2", |_| HOUR).step("ok", mark("ok"))
        })
    }));
    let other = WorkflowBuilder::<i32>::new("other", 1).delay("hour", |_| HOUR).build().unwrap();
    Rc::get_mut(&mut world.registry).unwrap().register(other).unwrap();
    world.play();
    let children: Vec<_> =
        world.commits.iter().flat_map(|c| &c.created).map(|child| child.id.as_str()).collect();
    assert_eq!(children, ["it//all/0/c/0/sub//1", "it//all/0/c/0#2/sub//1"]);
}

#[test]
fn a_user_task_whose_answer_could_not_be_taken_escalates_anew() {
    let whole = everywhere(|| {
        let mut world = world(
            begin()
                .user_task("ask", |_| "?")
                .option("yes", |yes| yes.step("y", mark("y")))
                .output(|_, line| {
                    assert!(line.len() >= 2, "not yet");
                    line.push("yes".to_owned());
                })
                .escalate(|_| HOUR, |b| waits(b.step("e", mark("e"))))
                .retry(Retry::exponential().attempts(4).jitter(0.0))
                .step("after", mark("after")),
        );
        answer(&mut world, 2 * HOUR, "it//ask//1");
        answer(&mut world, 4 * HOUR, "it//ask//2");
        world
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("e e yes y after", Some(Ending::Completed)));
    assert_eq!(whole.failures.len(), 1);
}

/// The step fails and its fallback begins to wait. Meanwhile, the step's cancel condition panics.
fn a_condition_panics_in_the_fallback<L: After>(body: impl Fn(Body) -> Body<Main, L>) -> World {
    let mut world = world(begin().parallel("all", |all| {
        all.branch(|b| {
            body(b)
                .cancel_when(panics)
                .retry(Retry::exponential().attempts(6))
                .fallback(waits)
                .step("after", mark("after"))
        })
        .branch(|b| b.delay("d1", |_| HOUR).step("go", mark("go")))
        .branch(|b| b.delay("d2", |_| HOUR).step("ok", mark("ok")))
    }));
    world.plan(5 * HOUR, "e", "k", ());
    world.sorted = true;
    world
}

#[test]
fn a_condition_that_panics_in_a_fallback_is_a_failure_of_the_fallback() {
    for mut world in [
        a_condition_panics_in_the_fallback(|b| b.step("x", broken())),
        a_condition_panics_in_the_fallback(|b| b.saga("x", |b| b.step("y", broken()))),
    ] {
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
                .step("x", broken())
                .cancel_when(|line| {
                    assert!(line.is_empty(), "no more");
                    false
                })
                .retry(Retry::exponential().attempts(2))
                .fallback(|f| f.step("a", mark("a")).step("b", mark("b")))
                .step("after", mark("after")),
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
                    .step("x", broken())
                    .cancel_when(|line| {
                        assert!(line.len() < 2, "no more");
                        false
                    })
                    .fallback(|f| does(f, "f").step("never", mark("never")))
                    .step("never-2", mark("never"))
            })
            .step("after", mark("after")),
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
                let b = b.step("a", mark("a")).compensate_with(|undo| {
                    undo.step("un-a", broken())
                        .cancel_when(|line| {
                            assert!(line.len() < 2, "no more");
                            false
                        })
                        .fallback(|f| f.step("f", mark("f")).step("never", mark("never")))
                        .step("rest", mark("rest"))
                });
                b.step("x", broken())
            })
            .step("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a f rest after", Some(Ending::Completed)));
}

#[test]
fn a_cancel_condition_takes_a_fallback_away_also_that_of_a_saga() {
    fn falls_back<L: After>(step: impl Fn(Body) -> Body<Main, L>) {
        let whole = everywhere(|| {
            world(begin().parallel("all", |all| {
                all.branch(|b| {
                    step(b)
                        .cancel_when(|line| !line.is_empty())
                        .fallback(|f| f.step("f", mark("f")).step("never", mark("never")))
                        .step("after", mark("after"))
                })
            }))
        });
        assert_eq!((line(&whole).as_str(), whole.ending), ("f after", Some(Ending::Completed)));
    }
    falls_back(|b| b.step("x", broken()));
    falls_back(|b| b.saga("x", |b| b.step("y", broken())));
}

#[test]
fn a_fallback_of_a_recur_whose_condition_panics_runs_to_its_end() {
    let every = Every::interval(HOUR);
    let whole = everywhere(|| {
        world(
            begin()
                .recur("r", every.clone(), |_| panic!("no idea"), |b| b.step("tick", mark("tick")))
                .fallback(|f| f.step("a", mark("a")).step("b", mark("b")))
                .step("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b after", Some(Ending::Completed)));
    assert_eq!(whole.failures.len(), 1);
}

#[test]
fn a_recur_whose_condition_panics_at_a_tick_ticks_no_more_in_its_fallback() {
    let every = Every::interval(HOUR);
    let whole = everywhere(|| {
        let until = |line: &Line| {
            assert!(line.len() < 2, "no idea");
            false
        };
        world(
            begin()
                .recur("r", every.clone(), until, |b| b.step("tick", mark("tick")))
                .fallback(|f| f.step("a", mark("a")).delay("d", |_| 3 * HOUR).step("b", mark("b")))
                .step("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("after tick a b", Some(Ending::Completed)));
    assert_eq!(whole.failures.len(), 1);
}
