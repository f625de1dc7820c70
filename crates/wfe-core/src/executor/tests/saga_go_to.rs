//! Go-tos and interventions inside a compensation. The container of a compensation's outermost steps is the saga, not
//! the step that is compensated.

use std::{sync::Arc, time::Duration};

use super::{
    scenario::{Body, Builder, Line, broken, everywhere, line, mark, saga, world},
    world::World,
};
use crate::{
    definition::{Inline, Item, OnFailure, Sequence, Task, each, event, inline},
    models::{PointerStatus, WorkflowStatus},
    steps::{Ctx, StepError},
    traits::{Control, Ending, Intervention},
};

const SOON: Duration = Duration::from_secs(1);

/// A saga with two steps that can be compensated. `undo` compensates the second step, which is compensated before the
/// first.
fn undone(undo: impl FnOnce(Body) -> Body) -> Builder {
    let saga = saga(|b| {
        b.then("first", mark("first"))
            .compensate_with(|undo| undo.then("un-first", mark("-first")))
            .then("x", mark("x"))
            .compensate_with(undo)
            .then("f", broken())
    });
    saga.then("after", mark("after"))
}

fn few(line: &Line) -> bool {
    line.iter().filter(|word| *word == "u").count() < 3
}

/// Adds a go-to back to the first step of the compensation. The go-to is taken until the first step has run three
/// times.
fn back<I: Item>(body: Sequence<Line, I>) -> Sequence<Line, I> {
    body.if_("few", |line: &Line, _| few(line), |b| b.go_to("back", "u"))
}

fn on(body: Body) -> Body {
    body.if_("always", |_, _| true, |b| b.go_to("on", "last"))
}

type Rest = fn(Body) -> Body;

/// The containers that a go-to leaves on its way back, each with its name.
const CONTAINERS: [(&str, Rest); 8] = [
    ("if", back),
    ("while", |undo| undo.while_("in", |line, _| few(line), |b| b.go_to("back", "u"))),
    ("for-each", |undo| undo.for_each("in", each(|_: &Line| vec![1_u8]), back)),
    ("parallel", |undo| {
        undo.parallel("in", |all| all.branch(back).branch(|b| b.delay("pause", |_, _| SOON)))
    }),
    ("time limit", |undo| undo.wait_for("in", event("e", |_: &Line, _| "k").timeout(|_, _| SOON, back))),
    ("fallback", |undo| undo.then("in", broken()).fallback(back)),
    ("saga", |undo| undo.saga("in", back)),
    ("in one of them", |undo| undo.if_("in", |_, _| true, |b| b.parallel("all", |all| all.branch(back)))),
];

#[test]
fn a_go_to_leads_back_in_a_compensation_out_of_whatever_is_in_it() {
    for (what, rest) in CONTAINERS {
        let whole =
            everywhere(|| world(undone(|undo| rest(undo.then("u", mark("u"))).then("last", mark("last")))));
        assert_eq!(line(&whole), "first x u u u last -first after", "{what}");
        assert_eq!(whole.ending, Some(Ending::Completed), "{what}");
        let history = whole.history_ids();
        for visit in ["saga/undo1/u", "saga/undo1/u#2", "saga/undo1/u#3"] {
            assert!(history.contains(&visit), "{what}: {history:?}");
        }
    }
}

#[test]
fn a_go_to_leads_forward_in_a_compensation_past_steps_of_it() {
    let all: [(&str, Rest); 4] = [
        ("if", on),
        ("while", |undo| undo.while_("in", |_, _| true, |b| b.go_to("on", "last"))),
        ("parallel", |undo| undo.parallel("in", |all| all.branch(on))),
        ("fallback", |undo| undo.then("in", broken()).fallback(on)),
    ];
    for (what, rest) in all {
        let whole = everywhere(|| {
            let undo = |undo: Body| {
                rest(undo.then("u", mark("u"))).then("never", mark("never")).then("last", mark("last"))
            };
            world(undone(undo))
        });
        assert_eq!(line(&whole), "first x u last -first after", "{what}");
    }
}

#[test]
fn a_step_of_a_compensation_that_is_visited_again_still_knows_what_it_undoes() {
    let whole = everywhere(|| {
        let tells =
            inline(|ctx: Ctx, _| async move { Ok(ctx.compensated().map(|undone| undone.step.clone())) })
                .output(|step: &Option<String>, line: &mut Line| {
                    line.push(format!("{}?", step.as_deref().unwrap_or("nothing")));
                    line.push("u".to_owned());
                });
        world(undone(|undo| back(undo.then("u", tells))))
    });
    assert_eq!(line(&whole), "first x x? u x? u x? u -first after");
}

/// A step that fails until the data contains the word `mended`.
fn fails(word: &'static str) -> Task<(), Line, (), Inline<(), Line, ()>> {
    inline(move |_, line: Arc<Line>| async move {
        if line.iter().any(|word| word == "mended") { Ok(()) } else { Err(StepError::fatal("broken")) }
    })
    .output(move |(), line: &mut Line| line.push(word.to_owned()))
    .on_failure(OnFailure::Suspend)
}

#[test]
fn by_hand_a_compensation_goes_on_from_a_step_of_it_beside_or_around_the_failed_one() {
    let within: [Rest; 4] = [
        |undo| undo.then("w", fails("w")),
        |undo| undo.if_("in", |_, _| true, |b| b.then("w", fails("w"))),
        |undo| undo.parallel("in", |all| all.branch(|b| b.then("w", fails("w")))),
        |undo| undo.then("in", broken()).fallback(|b| b.then("w", fails("w"))),
    ];
    for within in within {
        for end in [None, Some(Control::Cancel)] {
            let make = |step: &str| {
                let undo = |undo: Body| within(undo.then("u", mark("u"))).then("last", mark("last"));
                let saga = saga(|b| {
                    b.then("x", mark("x"))
                        .compensate_with(undo)
                        .delay("pause", |_, _| SOON)
                        .then("f", broken())
                });
                let mut world: World = world(saga.then("after", mark("after")));
                if let Some(control) = end {
                    world.plan_ask(SOON / 2, control);
                }
                world.plan_intervention(SOON * 2, Intervention::ResumeFrom(step.to_owned()));
                world
            };
            let whole = everywhere(|| make("last"));
            assert_eq!(line(&whole), if end.is_none() { "x u last after" } else { "x u last" });
            let again = everywhere(|| make("u"));
            assert_eq!((line(&again).as_str(), again.instance.status), ("x u u", WorkflowStatus::Suspended));
            let failed =
                again.instance.execution_pointers.iter().filter(|p| p.status == PointerStatus::Failed);
            assert_eq!(failed.filter(|p| p.step_name.as_deref() == Some("w")).count(), 1);
        }
    }
}
