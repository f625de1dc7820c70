//! Containers that begin anew after a failure: their branches have names that were never used before, so nothing inside
//! meets what was there the last time. That no wait is opened twice, the world checks by itself.

use std::{collections::BTreeSet, rc::Rc};

use serde_json::json;

use super::{
    scenario::{Body, HOUR, Line, begin, broken, everywhere, line, mark, world},
    world::World,
};
use crate::{
    definition::{Item, OnFailure, Retry, WorkflowBuilder, child, event, inline, user_task},
    executor::USER_TASK,
    models::WorkflowStatus,
    steps::{Next, UserAnswer, WorkerAnswer},
    traits::{Control, Ending},
};

/// The event comes once the container has begun anew.
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

/// A condition that panics as long as the last word is this one.
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
            let retry = Retry::up_to(3).first_pause(2 * HOUR).longest_pause(2 * HOUR).jitter(0.0);
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
                .retry(Retry::up_to(1).first_pause(2 * HOUR).longest_pause(2 * HOUR).jitter(0.0))
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

#[test]
fn a_fallback_that_is_run_twice_has_pointers_of_its_own_each_time() {
    let mut world = world(begin().parallel("all", |all| {
        all.branch(|b| {
            b.then("x", broken())
                .cancel_when(|line, _| panics(line))
                .fallback(waits)
                .then("after", mark("after"))
        })
        .branch(|b| b.delay("d1", |_, _| HOUR).then("go", mark("go")))
        .branch(|b| b.delay("d2", |_, _| HOUR).then("ok", mark("ok")))
    }));
    world.plan(5 * HOUR, "e", "k", ());
    world.sorted = true;
    world.play();
    assert_eq!((line(&world).as_str(), world.ending), ("go ok done after", Some(Ending::Completed)));
    assert_eq!(world.instance.status, WorkflowStatus::Complete);
}
