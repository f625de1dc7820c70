//! An instance that is to end, and undoes first what is open.

use super::{
    scenario::{Body, Builder, HOUR, Line, begin, broken, does, everywhere, line, mark, saga, unmark, world},
    world::World,
};
use crate::{
    definition::{OnFailure, each, event, inline, user_task},
    models::{PointerStatus, WorkflowStatus},
    steps::StepError,
    traits::{Control, Ending, Intervention},
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
                all.branch(|b| {
                    b.saga("empty", |b| b.wait_for("w", event("e", |_: &Line, _| "k")))
                })
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
    let whole =
        everywhere(|| cancelled(saga(|b| b.then("x", broken())).fallback(waits).then("after", mark("after"))));
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b -b -a", Some(Ending::Cancelled)));
    let late = everywhere(|| {
        world(begin().deadline(HOUR).saga("outer", |b| {
            does(b, "o").saga("inner", |b| does(b, "i").then("x", broken())).fallback(waits)
        }))
    });
    assert_eq!((line(&late).as_str(), late.ending), ("o i -i a b -b -a -o", Some(Ending::Failed)));
}
