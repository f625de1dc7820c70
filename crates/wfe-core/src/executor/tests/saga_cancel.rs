//! Instances that are ended early while some of their sagas are open.

use super::scenario::{HOUR, begin, broken, does, everywhere, line, mark, saga, unmark, world};
use crate::{
    definition::{Event, OnFailure, Retry},
    models::{PointerStatus, WorkflowStatus},
    steps::StepError,
    traits::{Control, Ending},
};

#[test]
fn cancel_undoes_open_sagas_before_the_end_and_terminate_does_not() {
    let make = |control| {
        move || {
            let mut world = world(begin().parallel("all", |all| {
                all.branch(|b| {
                    b.saga("one", |b| does(does(b, "a"), "b").delay("d1", |_| 9 * HOUR))
                        .step("n1", mark("n1"))
                })
                .branch(|b| {
                    b.if_(
                        "if",
                        |_| true,
                        |b| b.saga("two", |b| does(b, "c").wait_for("w", Event::<()>::new("e"), |_| "k")),
                    )
                })
                .branch(|b| b.delay("d2", |_| 9 * HOUR).step("n2", mark("n2")))
                .branch(|b| b.saga("over", |b| does(b, "o")).delay("d3", |_| 9 * HOUR))
            }));
            world.plan_ask(HOUR, control);
            world
        }
    };
    let cancelled = everywhere(make(Control::Cancel));
    assert_eq!(cancelled.ending, Some(Ending::Cancelled));
    let mut words: Vec<_> = line(&cancelled).split(' ').map(str::to_owned).collect();
    assert!(words.iter().position(|w| w == "-b") < words.iter().position(|w| w == "-a"));
    words.sort_unstable();
    assert_eq!(words, ["-a", "-b", "-c", "a", "b", "c", "o"]);
    assert!(cancelled.waits.is_empty() && cancelled.instance.next_execution.is_none());
    assert_eq!(cancelled.pointer("all").status, PointerStatus::Cancelled);
    let terminated = everywhere(make(Control::Terminate));
    assert_eq!((terminated.ending, line(&terminated).contains('-')), (Some(Ending::Terminated), false));
}

#[test]
fn a_cancelled_instance_that_stands_still_undoes_its_sagas_and_terminate_cuts_that_short() {
    let mut world =
        world(saga(|b| does(does(b, "a"), "b").step("x", broken()).on_failure(OnFailure::Suspend)));
    world.play();
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    world.ask(Control::Cancel);
    assert_eq!(world.instance.status, WorkflowStatus::Runnable, "it undoes");
    assert_eq!(world.waiting(), ["saga/undo1/un-b"]);
    world.ask(Control::Cancel);
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!(line(&world), "a b -b");
    world.ask(Control::Terminate);
    assert_eq!((line(&world).as_str(), world.ending), ("a b -b", Some(Ending::Terminated)));
}

#[test]
fn a_cancel_while_a_saga_is_being_undone_ends_the_instance_behind_that() {
    let whole = everywhere(|| {
        let mut world = world(
            saga(|b| {
                does(b, "a")
                    .step("b", mark("b"))
                    .compensate_with(|undo| undo.delay("d", |_| 2 * HOUR).step("un-b", unmark("b")))
                    .step("x", broken())
            })
            .retry(Retry::exponential().attempts(6))
            .step("after", mark("after")),
        );
        world.plan_ask(HOUR, Control::Cancel);
        world
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b -b -a", Some(Ending::Cancelled)));
}

#[test]
fn a_deadline_undoes_open_sagas_and_a_cancel_condition_its_own() {
    let late = everywhere(|| {
        world(
            begin()
                .deadline(HOUR)
                .saga("saga", |b| does(b, "a").delay("d", |_| 9 * HOUR))
                .step("n", mark("n")),
        )
    });
    assert_eq!((line(&late).as_str(), late.ending), ("a -a", Some(Ending::Failed)));
    assert_eq!(late.cause.as_ref().unwrap().code, StepError::DEADLINE);
    assert_eq!(late.failures.len(), 1, "it is met once");
    let whole = everywhere(|| {
        world(begin().parallel("all", |all| {
            all.branch(|b| {
                b.saga("saga", |b| does(b, "a").delay("d", |_| 9 * HOUR))
                    .cancel_when(|line| line.contains(&"stop".to_owned()))
                    .step("after", mark("after"))
            })
            .branch(|b| b.delay("d2", |_| HOUR).step("stop", mark("stop")))
        }))
    });
    assert_eq!(line(&whole), "a stop -a after");
}

#[test]
fn a_cancel_condition_does_not_cut_the_undoing_of_its_saga_short() {
    let whole = everywhere(|| {
        world(
            saga(|b| does(does(b, "a"), "b").step("x", broken()))
                .cancel_when(|line| line.contains(&"-b".to_owned()))
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "a b -b -a after");
    assert_eq!(whole.pointer("saga").status, PointerStatus::Compensated);
}

#[test]
fn a_cancel_lets_a_saga_inside_of_a_compensation_run_to_its_end() {
    let whole = everywhere(|| {
        let mut world = world(
            saga(|b| {
                does(b, "a")
                    .step("b", mark("b"))
                    .compensate_with(|undo| {
                        undo.saga("inner", |b| does(b, "i").delay("long", |_| 2 * HOUR).step("j", mark("j")))
                    })
                    .step("x", broken())
            })
            .step("after", mark("after")),
        );
        world.plan_ask(HOUR, Control::Cancel);
        world
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b i j -a", Some(Ending::Cancelled)));
}
