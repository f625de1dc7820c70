//! An instance that is to end, and undoes first what is open.

use serde_json::json;

use super::{
    scenario::{Body, Builder, HOUR, Line, begin, broken, does, everywhere, line, mark, saga, unmark, world},
    world::World,
};
use crate::{
    definition::{Every, Item, each, event, user_task},
    executor::USER_TASK,
    steps::WorkerAnswer,
    traits::{Control, Ending},
};

/// Cancelled after an hour.
fn cancelled(builder: Builder) -> World {
    let mut world = world(builder);
    world.plan_ask(HOUR, Control::Cancel);
    world
}

/// A saga that has done `a` and then `b`, and then waits for long.
fn waits(body: Body) -> Body {
    body.saga("s", |b| does(does(b, "a"), "b").delay("long", |_, _| 9 * HOUR))
}

#[test]
fn a_saga_that_has_nothing_to_undo_does_not_end_the_instance_before_the_others_are_undone() {
    for deadline in [false, true] {
        let whole = everywhere(|| {
            let begin = if deadline { begin().deadline(HOUR) } else { begin() };
            let mut world = world(begin.parallel("all", |all| {
                all.branch(|b| b.saga("empty", |b| b.wait_for("w", event("e", |_: &Line, _| "k"))))
                    .branch(|b| b.saga("full", |b| does(b, "a").delay("d", |_, _| 9 * HOUR)))
                    .branch(|b| b.saga("last", |b| b.delay("d2", |_, _| 9 * HOUR)))
            }));
            if !deadline {
                world.plan_ask(HOUR, Control::Cancel);
            }
            world
        });
        let ending = if deadline { Ending::Failed } else { Ending::Cancelled };
        assert_eq!((line(&whole).as_str(), whole.ending), ("a -a", Some(ending)));
    }
}

#[test]
fn a_saga_in_the_fallback_of_another_one_is_open_too() {
    let whole = everywhere(|| {
        cancelled(saga(|b| b.then("x", broken())).fallback(waits).then("after", mark("after")))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b -b -a", Some(Ending::Cancelled)));
    let late = everywhere(|| {
        world(begin().deadline(HOUR).saga("outer", |b| {
            does(b, "o").saga("inner", |b| does(b, "i").then("x", broken())).fallback(waits)
        }))
    });
    assert_eq!((line(&late).as_str(), late.ending), ("o i -i a b -b -a -o", Some(Ending::Failed)));
}

/// A saga whose undoing takes two hours.
fn slow<I: Item>(body: Body<I>) -> Body<I> {
    body.saga("s", |b| {
        b.then("a", mark("a"))
            .compensate_with(|undo| undo.delay("slow", |_, _| 2 * HOUR).then("un-a", unmark("a")))
            .delay("long", |_, _| 9 * HOUR)
    })
}

#[test]
fn a_cancel_condition_around_a_saga_that_is_undone_for_a_cancel_takes_nothing_away() {
    let whole = everywhere(|| {
        cancelled(
            begin()
                .if_("c", |_, _| true, waits)
                .cancel_when(|line: &Line, _| line.contains(&"-b".to_owned()))
                .then("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b -b -a", Some(Ending::Cancelled)));
}

#[test]
fn a_recurring_branch_around_a_saga_that_is_undone_for_a_cancel_ticks_no_more() {
    let whole = everywhere(|| {
        let mut world = world(begin().recur(
            "tick",
            Every::interval(HOUR),
            |_: &Line, _| false,
            |b| slow(b.then("t", mark("t"))),
        ));
        world.plan_ask(HOUR + HOUR / 2, Control::Cancel);
        world
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("t a -a", Some(Ending::Cancelled)));
    assert_eq!(whole.instance.next_execution, None);
}

#[test]
fn a_for_each_around_a_saga_that_is_undone_for_a_cancel_begins_no_iteration_any_more() {
    let make = || {
        world(begin().for_each("each", each(|_: &Line| (0..70_u32).collect()).parallel(2), |b| {
            b.if_("one", |_, n| *n == 60, slow).if_("others", |_, n| *n != 60, |b| b.then("o", mark("o")))
        }))
    };
    for dies in [false, true] {
        let mut world = make();
        world.reads_slowly = true;
        world.open();
        while !world.jobs.is_empty() {
            let jobs = world.jobs.drain(..).collect();
            world.finish(jobs);
        }
        assert_eq!(line(&world).matches('o').count(), 65, "the items at hand are used up");
        if dies {
            world.crash();
        }
        world.ask(Control::Cancel);
        assert!(dies || !world.reading.is_empty());
        world.reads_slowly = false;
        world.read();
        world.play();
        assert_eq!(line(&world).matches('o').count(), 65);
        assert!(line(&world).ends_with("a o o o o o -a"), "{}", line(&world));
        assert_eq!(world.ending, Some(Ending::Cancelled));
    }
}

#[test]
fn a_user_task_around_a_saga_that_is_undone_for_a_cancel_takes_no_answer_any_more() {
    let whole = everywhere(|| {
        let task = user_task(|_: &Line, _| "?")
            .option("yes", |yes| yes.then("y", mark("y")))
            .escalate(|_, _| HOUR / 2, slow);
        let mut world = cancelled(begin().user_task("ask", task).then("after", mark("after")));
        let answer = WorkerAnswer::Success(json!({"option": "yes", "user": "bob", "data": null}));
        world.plan(2 * HOUR, USER_TASK, "it//ask//1", &answer);
        world
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a -a", Some(Ending::Cancelled)));
    assert!(whole.waits.is_empty());
}
