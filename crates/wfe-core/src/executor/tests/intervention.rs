use std::time::Duration;

use serde_json::json;

use super::{
    scenario::{Body, Builder, Line, begin, broken, everywhere, line, mark, world},
    world::{Step, World},
};
use crate::{
    definition::{Event, IntoStep, Main, OnFailure, item_task, task},
    models::{PointerStatus, WorkflowStatus},
    steps::StepError,
    traits::{Control, Ending, Intervention},
};

const SOON: Duration = Duration::from_secs(1);

/// A step that fails until the data contains the word `mended`.
fn fails(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>()
        .call(
            |_, line| {
                if line.iter().any(|w| w == "mended") { Ok(()) } else { Err(StepError::fatal("broken")) }
            },
        )
        .output(move |(), line| line.push(word.to_owned()))
        .on_failure(OnFailure::Suspend)
}

fn does<L>(body: Body<Main, L>, word: &'static str, undo: &'static str) -> Body {
    body.step(word, mark(word)).compensate_with(|b| b.step(format!("un-{word}"), mark(undo))).closed()
}

/// A world in which an operator makes these interventions, one every second.
fn by_hand<L>(builder: Builder<L>, hands: &[Intervention]) -> World {
    let mut world = world(builder);
    for (at, hand) in (1..).zip(hands) {
        world.plan_intervention(SOON * at, hand.clone());
    }
    world
}

fn from(step: &str) -> Intervention {
    Intervention::ResumeFrom(step.to_owned())
}

fn stands_still(world: &World) -> bool {
    world.instance.status == WorkflowStatus::Suspended && world.ending.is_none() && world.run.is_none()
}

/// Returns the message of the last failure, which says why the intervention was refused.
fn refusal(world: &World) -> &str {
    let failure = world.failures.last().unwrap();
    assert_eq!((failure.code.as_str(), failure.step.as_str()), (StepError::INTERVENTION, ""));
    &failure.error.message
}

#[test]
fn a_skipped_step_is_gone_on_behind_as_if_it_had_ended_and_its_failure_stays_stored() {
    let whole = everywhere(|| {
        by_hand(
            begin().step("a", mark("a")).step("b", fails("b")).step("c", mark("c")),
            &[Intervention::Skip],
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a c", Some(Ending::Completed)));
    let skipped = whole.pointer("b");
    assert_eq!((skipped.status, &skipped.outcome), (PointerStatus::Skipped, &None));
    assert_eq!(whole.failures.len(), 1);
    assert_eq!(whole.failures[0].step, "b");
    assert_eq!((whole.cause, whole.control), (None, None));
}

#[test]
fn a_skipped_last_step_ends_its_sequence_and_the_instance() {
    let whole = everywhere(|| {
        by_hand(begin().if_("if", |_| true, |b| b.step("b", fails("b"))), &[Intervention::Skip])
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("", Some(Ending::Completed)));
}

#[test]
fn each_failed_step_is_skipped_and_what_is_at_work_beside_them_goes_on() {
    let whole = everywhere(|| {
        let builder = begin().parallel("all", |all| {
            all.branch(|b| b.step("a", fails("a")).step("after-a", mark("after-a")))
                .branch(|b| b.step("b", fails("b")).step("after-b", mark("after-b")))
                .branch(|b| b.delay("c", |_| Duration::from_secs(9)).step("after-c", mark("after-c")))
        });
        // If the process dies between the two failures, the second one comes after the first is skipped.
        by_hand(builder.step("end", mark("end")), &[Intervention::Skip, Intervention::Skip])
    });
    assert_eq!(
        (line(&whole).as_str(), whole.ending),
        ("after-a after-b after-c end", Some(Ending::Completed))
    );
}

#[test]
fn a_skipped_container_counts_as_ended_too() {
    let whole = everywhere(|| {
        let builder = begin()
            .if_("if", |line| if line.is_empty() { panic!("no") } else { true }, |b| b.step("in", mark("in")))
            .on_failure(OnFailure::Suspend)
            .step("after", mark("after"));
        by_hand(builder, &[Intervention::Skip])
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("after", Some(Ending::Completed)));
}

#[test]
fn a_failed_step_that_the_skipping_of_another_one_takes_away_stays_failed() {
    let builder = begin().parallel("all", |all| {
        all.branch(|b| {
            b.while_(
                "while",
                |line| if line.is_empty() { true } else { panic!("no") },
                |b| b.step("a", mark("a")).step("b", fails("b")),
            )
        })
        .branch(|b| b.if_("if", |_| true, |b| b.step("c", mark("c")).step("d", fails("d"))))
    });
    let mut world = world(builder);
    world.play_with(Step::Finish);
    assert!(stands_still(&world));
    world.intervene(Intervention::Skip);
    assert_eq!(world.ending, Some(Ending::Failed));
    let beside = world.instance.execution_pointers.iter().find(|p| p.step_name.as_deref() == Some("d"));
    assert_eq!(beside.unwrap().status, PointerStatus::Failed);
}

#[test]
fn for_its_saga_a_skipped_step_has_done_nothing() {
    let whole = everywhere(|| {
        let builder = begin()
            .saga("saga", |b| {
                does(b, "a", "-a")
                    .step("b", fails("b"))
                    .compensate_with(|undo| undo.step("un-b", mark("-b")))
                    .if_("if", |_| true, |b| does(b, "c", "-c").step("d", fails("d")).step("e", mark("e")))
                    .compensate_with(|undo| undo.step("un-if", mark("-if")))
                    .step("f", broken())
            })
            .step("after", mark("after"));
        by_hand(builder, &[Intervention::Skip, Intervention::Skip])
    });
    assert_eq!(line(&whole), "a c e -if -a after");
    assert_eq!(whole.pointer("saga").status, PointerStatus::Compensated);
}

#[test]
fn what_had_completed_in_a_skipped_container_is_undone_step_by_step() {
    let whole = everywhere(|| {
        let builder = begin()
            .saga("saga", |b| {
                b.while_(
                    "while",
                    |line| if line.is_empty() { true } else { panic!("no") },
                    |b| does(b, "a", "-a"),
                )
                .on_failure(OnFailure::Suspend)
                .compensate_with(|undo| undo.step("un-while", mark("-while")))
                .step("f", broken())
            })
            .step("after", mark("after"));
        by_hand(builder, &[Intervention::Skip])
    });
    assert_eq!(line(&whole), "a -a after");
}

#[test]
fn a_skipped_step_of_a_compensation_is_passed_over_and_the_undoing_goes_on() {
    let make = |hand: Option<Intervention>, end: Option<Control>| {
        let builder = begin()
            .saga("saga", |b| {
                does(b, "a", "-a")
                    .step("b", mark("b"))
                    .compensate_with(|undo| undo.step("un-b", fails("un-b")).step("un-b-2", mark("-b2")))
                    .delay("long", |_| SOON)
                    .step("c", broken())
            })
            .step("after", mark("after"));
        let mut world = world(builder);
        if let Some(control) = end {
            world.plan_ask(SOON / 2, control);
        }
        if let Some(hand) = hand {
            world.plan_intervention(SOON * 3, hand);
        }
        world
    };
    let whole = everywhere(|| make(Some(Intervention::Skip), None));
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b -b2 -a after", Some(Ending::Completed)));
    let whole = everywhere(|| make(Some(Intervention::Skip), Some(Control::Cancel)));
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b -b2 -a", Some(Ending::Cancelled)));

    // Nothing leaves it half compensated, also if the instance is on its way to its end.
    for end in [None, Some(Control::Cancel)] {
        let whole = everywhere(|| make(Some(from("after")), end));
        assert!(stands_still(&whole) && refusal(&whole).contains("half compensated"), "{}", refusal(&whole));
        assert_eq!(whole.pointer("saga").status, PointerStatus::Running);
        // A step of the compensation itself is beside the failed one.
        let whole = everywhere(|| make(Some(from("un-b-2")), end));
        assert_eq!(line(&whole), if end.is_none() { "a b -b2 -a after" } else { "a b -b2 -a" });
    }
}

#[test]
fn an_instance_without_a_failed_step_has_nothing_to_skip_and_stands_still_as_before() {
    let whole = everywhere(|| {
        let mut world = by_hand(begin().delay("d", |_| SOON * 9).step("a", mark("a")), &[]);
        world.plan_ask(SOON, Control::Suspend);
        world.plan_intervention(SOON * 2, Intervention::Skip);
        world
    });
    assert!(stands_still(&whole) && refusal(&whole).contains("nothing to skip"));
    assert_eq!(whole.pointer("d").status, PointerStatus::Sleeping);
}

#[test]
fn from_a_step_before_the_failed_one_all_is_visited_again() {
    let whole = everywhere(|| {
        let builder = begin()
            .step("a", mark("a"))
            .call("b", |ctx, _| Ok(ctx.idempotency_key()))
            .output(|key, line| line.push(key))
            .call("c", |ctx, line| {
                assert_eq!(ctx.attempt(), 1, "it begins anew");
                if line.len() > 3 { Ok(()) } else { Err(StepError::fatal("broken")) }
            })
            .on_failure(OnFailure::Suspend)
            .step("d", mark("d"));
        by_hand(builder, &[from("b"), from("a")])
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a it/b it/b#2 a it/b#3 d", Some(Ending::Completed)));
    assert_eq!(whole.pointer("a#2").predecessor_id.as_deref(), Some("c#2"));
    let mut left = whole.history_ids();
    left.sort_unstable();
    assert_eq!(left, ["a", "b", "b#2", "c", "c#2"]);
    assert_eq!(
        whole.history.iter().find(|row| row.pointer.id == "c").unwrap().pointer.status,
        PointerStatus::Failed
    );
}

#[test]
fn from_a_step_of_the_main_path_whatever_is_live_on_it_is_taken_away() {
    let whole = everywhere(|| {
        let builder = begin()
            .step("a", mark("a"))
            .after("side", |_| SOON * 60, |b| b.step("late", mark("late")))
            .parallel("all", |all| {
                all.branch(|b| b.wait_for("wait", Event::<()>::new("tick"), |_| "k"))
                    .branch(|b| b.saga("saga", |b| does(b, "c", "-c").step("d", fails("d"))))
            })
            .step("e", mark("e"));
        by_hand(builder, &[from("e")])
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a c e", Some(Ending::Completed)));
    assert!(whole.waits.is_empty());
    for id in ["side", "all"] {
        assert_eq!(whole.pointer(id).status, PointerStatus::Cancelled);
    }
    let failed = whole.history.iter().find(|row| row.pointer.id.ends_with("/d")).unwrap();
    assert_eq!(failed.pointer.status, PointerStatus::Failed);
    assert_eq!(
        whole.now,
        world(begin().step("a", mark("a"))).now + SOON,
        "nothing is slept through any more"
    );
}

#[test]
fn each_run_of_the_sequence_in_which_a_step_has_failed_goes_on_from_it_and_other_failed_steps_are_tried_again()
 {
    let writes = |prefix: &'static str| {
        item_task::<Line, u8>()
            .call(|_, _, n| Ok(*n))
            .output(move |n, line, _| line.push(format!("{prefix}{n}")))
    };
    let builder = begin().parallel("both", |both| {
        both.branch(|b| {
            b.for_each(
                "each",
                |_| vec![1, 2, 3],
                |b| {
                    b.step("a", writes("a"))
                        .call("b", |_, line, n| {
                            if *n == 2 || line.iter().any(|w| w == "mended") {
                                Ok(())
                            } else {
                                Err(StepError::fatal("no"))
                            }
                        })
                        .on_failure(OnFailure::Suspend)
                        .step("c", writes("c"))
                },
            )
            .concurrent(3)
        })
        .branch(|b| b.step("x", mark("x")).step("y", mark("y")).step("e", fails("e")))
    });
    let mut world = world(builder);
    world.sorted = true;
    world.play_with(Step::Finish);
    assert!(stands_still(&world));
    assert_eq!(line(&world), "x a1 a2 a3 y");
    world.instance.data.as_array_mut().unwrap().push("mended".into());
    world.intervene(from("a"));
    assert_eq!(world.pointer("both/1/e").status, PointerStatus::Pending);
    world.play_with(Step::Finish);
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(line(&world), "x a1 a2 a3 y mended a1 c2 a3 e c1 c3");
}

#[test]
fn a_step_that_is_unknown_or_not_around_a_failed_one_is_refused_and_nothing_is_lost() {
    for (step, why) in [("nowhere", "no such step"), ("in", "inside a container")] {
        let make = || {
            let builder = begin()
                .if_("if", |_| true, |b| b.step("in", mark("in")))
                .step("b", fails("b"))
                .step("c", mark("c"));
            by_hand(builder, &[from(step)])
        };
        let whole = everywhere(make);
        assert!(stands_still(&whole) && refusal(&whole).contains(why), "{}", refusal(&whole));
        assert_eq!(
            whole.cause.as_ref().map(|c| c.step.as_str()),
            Some("b"),
            "it still says why it stands still"
        );
        assert_eq!(whole.control, None, "it is answered");
        let whole = everywhere(|| {
            let mut world = make();
            world.plan_intervention(SOON * 2, Intervention::Skip);
            world
        });
        assert_eq!((line(&whole).as_str(), whole.ending), ("in c", Some(Ending::Completed)));
    }
}

#[test]
fn an_instance_that_runs_or_has_ended_does_not_change() {
    for hand in [Intervention::Skip, from("a")] {
        let whole = everywhere(|| {
            let builder = begin().step("a", mark("a")).delay("d", |_| SOON * 2).step("b", mark("b"));
            by_hand(builder, &[hand.clone(), hand.clone(), hand.clone()])
        });
        assert_eq!((line(&whole).as_str(), whole.ending), ("a b", Some(Ending::Completed)));
        assert_eq!((whole.failures.len(), whole.control), (0, None));
    }
}

#[test]
fn an_iteration_that_ended_beside_its_side_branch_and_is_run_again_has_one_result() {
    let whole =
        everywhere(|| {
            let builder =
                begin().for_each(
                    "each",
                    |_| vec![json!(1)],
                    |b| {
                        b.after(
                            "side",
                            |_, _| SOON,
                            |b| {
                                b.call("late", |_, line, _| {
                                    if line.len() > 1 { Ok(()) } else { Err(StepError::fatal("no")) }
                                })
                                .on_failure(OnFailure::Suspend)
                            },
                        )
                        .step("last", mark("last"))
                    },
                );
            by_hand(builder, &[Intervention::Skip, from("last")])
        });
    let results: Vec<_> = whole
        .history
        .iter()
        .filter(|row| row.pointer.has(crate::models::attributes::LAST))
        .map(|row| row.pointer.id.as_str())
        .collect();
    assert_eq!(results, ["each/0/last#2"]);
}
