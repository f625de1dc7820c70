//! Go-tos and interventions inside a compensation. The container of a compensation's outermost steps is the saga, not
//! the step that is compensated.

use std::time::Duration;

use super::scenario::{Body, Builder, Line, broken, everywhere, line, mark, saga, world};
use crate::{
    definition::{Branch, Event, IntoStep, OnFailure, task},
    models::{PointerStatus, WorkflowStatus},
    steps::StepError,
    traits::{Control, Ending, Intervention},
};

const SOON: Duration = Duration::from_secs(1);

/// A saga with two steps that can be compensated. `undo` compensates the second step, which is compensated before the
/// first.
fn undone<B: Branch<Line>>(undo: impl FnOnce(Body) -> B) -> Builder<impl Sized> {
    let saga = saga(|b| {
        b.step("first", mark("first"))
            .compensate_with(|undo| undo.step("un-first", mark("-first")))
            .step("x", mark("x"))
            .compensate_with(undo)
            .step("f", broken())
    });
    saga.step("after", mark("after"))
}

fn few(line: &Line) -> bool {
    line.iter().filter(|word| *word == "u").count() < 3
}

/// Adds a go-to back to the first step of the compensation. The go-to is taken until the first step has run three
/// times.
fn back(body: Body) -> Body {
    body.if_("few", few, |b| b.go_to("back", "u")).closed()
}

fn on(body: Body) -> Body {
    body.if_("always", |_| true, |b| b.go_to("on", "last")).closed()
}

type Rest = fn(Body) -> Body;

/// The containers that a go-to leaves on its way back, each with its name.
const CONTAINERS: [(&str, Rest); 8] = [
    ("if", back),
    ("while", |undo| undo.while_("in", few, |b| b.go_to("back", "u")).closed()),
    ("for-each", |undo| {
        undo.for_each("in", |_| vec![1], |b| b.if_("few", |line, _| few(line), |b| b.go_to("back", "u")))
            .closed()
    }),
    ("parallel", |undo| {
        undo.parallel("in", |all| all.branch(back).branch(|b| b.delay("pause", |_| SOON))).closed()
    }),
    ("time limit", |undo| {
        undo.wait_for("in", Event::<()>::new("e"), |_| "k").on_timeout(|_| SOON, back).closed()
    }),
    ("fallback", |undo| undo.step("in", broken()).fallback(back).closed()),
    ("saga", |undo| undo.saga("in", back).closed()),
    ("in one of them", |undo| {
        undo.if_("in", |_| true, |b| b.parallel("all", |all| all.branch(back))).closed()
    }),
];

#[test]
fn a_go_to_leads_back_in_a_compensation_out_of_whatever_is_in_it() {
    for (what, rest) in CONTAINERS {
        let whole = everywhere(|| {
            world(undone(|undo| rest(undo.step("u", mark("u")).closed()).step("last", mark("last"))))
        });
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
        ("while", |undo| undo.while_("in", |_| true, |b| b.go_to("on", "last")).closed()),
        ("parallel", |undo| undo.parallel("in", |all| all.branch(on)).closed()),
        ("fallback", |undo| undo.step("in", broken()).fallback(on).closed()),
    ];
    for (what, rest) in all {
        let whole = everywhere(|| {
            world(undone(|undo| {
                rest(undo.step("u", mark("u")).closed())
                    .step("never", mark("never"))
                    .step("last", mark("last"))
            }))
        });
        assert_eq!(line(&whole), "first x u last -first after", "{what}");
    }
}

#[test]
fn a_step_of_a_compensation_that_is_visited_again_still_knows_what_it_undoes() {
    let whole = everywhere(|| {
        world(undone(|undo| {
            let tells = undo
                .call("u", |ctx, _| Ok(ctx.compensated().map(|undone| undone.step.clone())))
                .output(|step, line| {
                    line.push(format!("{}?", step.as_deref().unwrap_or("nothing")));
                    line.push("u".to_owned());
                });
            back(tells.closed())
        }))
    });
    assert_eq!(line(&whole), "first x x? u x? u x? u -first after");
}

/// A step that fails until the data contains the word `mended`.
fn fails(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>()
        .call(
            |_, line| {
                if line.iter().any(|word| word == "mended") {
                    Ok(())
                } else {
                    Err(StepError::fatal("broken"))
                }
            },
        )
        .output(move |(), line| line.push(word.to_owned()))
        .on_failure(OnFailure::Suspend)
}

#[test]
fn by_hand_a_compensation_goes_on_from_a_step_of_it_beside_or_around_the_failed_one() {
    let within: [Rest; 4] = [
        |undo| undo.step("w", fails("w")).closed(),
        |undo| undo.if_("in", |_| true, |b| b.step("w", fails("w"))).closed(),
        |undo| undo.parallel("in", |all| all.branch(|b| b.step("w", fails("w")))).closed(),
        |undo| undo.step("in", broken()).fallback(|b| b.step("w", fails("w"))).closed(),
    ];
    for within in within {
        for end in [None, Some(Control::Cancel)] {
            let make = |step: &str| {
                let saga = saga(|b| {
                    b.step("x", mark("x"))
                        .compensate_with(|undo| {
                            within(undo.step("u", mark("u")).closed()).step("last", mark("last"))
                        })
                        .delay("pause", |_| SOON)
                        .step("f", broken())
                });
                let mut world = world(saga.step("after", mark("after")));
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
