//! Instances that are to end, and that compensate their open sagas first.

use serde_json::json;

use super::{
    scenario::{Body, Builder, HOUR, Line, begin, broken, does, everywhere, line, mark, saga, unmark, world},
    world::{Step, World},
};
use crate::{
    definition::{Block, Branch, Event, Every, IntoStep, Main, OnFailure},
    executor::USER_TASK,
    models::WorkflowStatus,
    steps::{StepError, WorkerAnswer},
    traits::{Control, Ending, Intervention},
};

/// Cancelled after an hour.
fn cancelled<L>(builder: Builder<L>) -> World {
    let mut world = world(builder);
    world.plan_ask(HOUR, Control::Cancel);
    world
}

/// A saga that runs `a` and then `b`, and then sleeps for nine hours.
fn waits(body: Body) -> impl Branch<Line> {
    body.saga("s", |b| does(does(b, "a"), "b").delay("long", |_| 9 * HOUR))
}

#[test]
fn a_saga_that_has_nothing_to_undo_does_not_end_the_instance_before_the_others_are_undone() {
    for deadline in [false, true] {
        let whole = everywhere(|| {
            let begin = if deadline { begin().deadline(HOUR) } else { begin() };
            let mut world = world(begin.parallel("all", |all| {
                all.branch(|b| b.saga("empty", |b| b.wait_for("w", Event::<()>::new("e"), |_| "k")))
                    .branch(|b| b.saga("full", |b| does(b, "a").delay("d", |_| 9 * HOUR)))
                    .branch(|b| b.saga("last", |b| b.delay("d2", |_| 9 * HOUR)))
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
        cancelled(saga(|b| b.step("x", broken())).fallback(waits).step("after", mark("after")))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b -b -a", Some(Ending::Cancelled)));
    let late = everywhere(|| {
        world(begin().deadline(HOUR).saga("outer", |b| {
            does(b, "o").saga("inner", |b| does(b, "i").step("x", broken())).fallback(waits)
        }))
    });
    assert_eq!((line(&late).as_str(), late.ending), ("o i -i a b -b -a -o", Some(Ending::Failed)));
}

/// A saga whose compensation takes two hours.
fn slow<P, L>(body: Body<P, L>) -> Body<P, Block> {
    body.saga("s", |b| {
        b.step("a", mark("a"))
            .compensate_with(|undo| undo.step("slow", pause(2)).step("un-a", unmark("a")))
            .step("long", pause(9))
    })
}

fn pause(hours: u32) -> impl IntoStep<Line> {
    begin().delay("pause", move |_| hours * HOUR)
}

#[test]
fn a_cancel_condition_around_a_saga_that_is_undone_for_a_cancel_takes_nothing_away() {
    let whole = everywhere(|| {
        cancelled(
            begin()
                .if_("c", |_| true, waits)
                .cancel_when(|line| line.contains(&"-b".to_owned()))
                .step("after", mark("after")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a b -b -a", Some(Ending::Cancelled)));
}

#[test]
fn a_recurring_branch_around_a_saga_that_is_undone_for_a_cancel_ticks_no_more() {
    let whole = everywhere(|| {
        let mut world =
            world(begin().recur("tick", Every::interval(HOUR), |_| false, |b| slow(b.step("t", mark("t")))));
        world.plan_ask(HOUR + HOUR / 2, Control::Cancel);
        world
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("t a -a", Some(Ending::Cancelled)));
    assert_eq!(whole.instance.next_execution, None);
}

#[test]
fn a_for_each_around_a_saga_that_is_undone_for_a_cancel_begins_no_iteration_any_more() {
    let make = || {
        world(
            begin()
                .for_each(
                    "each",
                    |_| (0..70).collect(),
                    |b| {
                        b.if_("one", |_, n| *n == 60, slow).if_(
                            "others",
                            |_, n| *n != 60,
                            |b| b.step("o", mark("o")),
                        )
                    },
                )
                .concurrent(2),
        )
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
        let mut world = cancelled(
            begin()
                .user_task("ask", |_| "?")
                .option("yes", |yes| yes.step("y", mark("y")))
                .escalate(|_| HOUR / 2, slow)
                .step("after", mark("after")),
        );
        let answer = WorkerAnswer::Success(json!({"option": "yes", "user": "bob", "data": null}));
        world.plan(2 * HOUR, USER_TASK, "it//ask//1", &answer);
        world
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a -a", Some(Ending::Cancelled)));
    assert!(whole.waits.is_empty());
}

/// A saga that completes `a`, and then fails at once. The compensation of `a` takes two hours.
fn half_compensated(body: Body) -> Body<Main, Block> {
    body.saga("s", |b| {
        b.step("a", mark("a"))
            .compensate_with(|undo| undo.delay("slow", |_| 2 * HOUR).step("un-a", unmark("a")))
            .step("x", broken())
    })
}

fn ends(inside: fn(Body) -> Body<Main, Block>) -> Builder<impl Sized> {
    begin()
        .parallel("all", |all| {
            all.branch(|b| inside(b).step("next", mark("next")))
                .branch(|b| b.delay("d", |_| HOUR).end("end"))
                .branch(|b| b.recur("tick", Every::interval(HOUR), |_| false, |b| b.step("t", mark("t"))))
        })
        .step("after", mark("after"))
}

#[test]
fn an_end_waits_for_a_saga_that_is_being_undone_and_leaves_an_open_one_done() {
    let whole = everywhere(|| world(ends(half_compensated)));
    assert_eq!((line(&whole).as_str(), whole.ending), ("a -a", Some(Ending::Completed)));
    let inside = everywhere(|| world(ends(|b| b.saga("outer", |b| half_compensated(does(b, "o"))))));
    assert_eq!((line(&inside).as_str(), inside.ending), ("o a -a", Some(Ending::Completed)));
    let nested = everywhere(|| {
        world(ends(|b| {
            b.saga("outer", |b| {
                b.step("o", mark("o"))
                    .compensate_with(|undo| half_compensated(undo).step("un-o", unmark("o")))
                    .step("y", broken())
            })
        }))
    });
    assert_eq!((line(&nested).as_str(), nested.ending), ("o a -a -o", Some(Ending::Completed)));
    let open = everywhere(|| world(ends(slow)));
    assert_eq!((line(&open).as_str(), open.ending), ("a", Some(Ending::Completed)));
}

#[test]
fn an_end_that_waits_for_a_saga_is_an_end_whatever_is_asked_then() {
    for (control, expected) in [
        (Control::Cancel, ("a -a", Some(Ending::Completed))),
        (Control::Terminate, ("a", Some(Ending::Terminated))),
        (Control::Suspend, ("a", None)),
    ] {
        let mut world = world(ends(half_compensated).deadline(HOUR + HOUR / 2));
        world.plan_ask(HOUR + HOUR / 4, control);
        world.play();
        assert_eq!((line(&world).as_str(), world.ending), expected);
        if control == Control::Suspend {
            world.ask(Control::Resume);
            world.play();
            assert_eq!((line(&world).as_str(), world.ending), ("a -a", Some(Ending::Completed)));
        }
    }
}

#[test]
fn an_end_whose_last_saga_is_undone_while_the_instance_stands_still_comes_with_the_resume() {
    let mut world = world(ends(half_compensated));
    let at = world.now + 2 * HOUR;
    while world.jobs.iter().all(|job| !job.pointer().ends_with("un-a")) {
        if !world.act(&mut |_| Step::Finish(1)) {
            world.now = world.next_time().expect("something is to come");
        }
        if world.now >= at {
            world.settle();
        }
    }
    world.ask(Control::Suspend);
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!((line(&world).as_str(), world.instance.status), ("a -a", WorkflowStatus::Suspended));
    world.ask(Control::Resume);
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
}

#[test]
fn an_instance_that_is_suspended_in_the_middle_of_a_compensation_goes_on_with_it() {
    for control in [None, Some(Control::Cancel)] {
        let mut world = world(
            saga(|b| does(does(does(b, "a"), "b"), "c").step("x", broken())).step("after", mark("after")),
        );
        world.open();
        while line(&world) != "a b c -c" {
            let jobs = world.jobs.drain(..1).collect();
            world.finish(jobs);
        }
        if let Some(control) = control {
            world.ask(control);
        }
        assert_eq!(world.waiting(), ["saga/undo1/un-b"]);
        world.ask(Control::Suspend);
        let jobs = world.jobs.drain(..).collect();
        world.finish(jobs);
        assert_eq!(line(&world), "a b c -c -b", "the step that runs may end");
        assert!(world.jobs.is_empty() && world.run.is_none() && world.instance.next_execution.is_none());
        world.play();
        assert_eq!(world.instance.status, WorkflowStatus::Suspended);
        world.ask(Control::Resume);
        world.play();
        let expected = match control {
            None => ("a b c -c -b -a after", Some(Ending::Completed)),
            Some(_) => ("a b c -c -b -a", Some(Ending::Cancelled)),
        };
        assert_eq!((line(&world).as_str(), world.ending), expected);
    }
}

#[test]
fn a_deadline_during_a_compensation_lets_it_end_and_then_the_instance_has_failed() {
    let whole = everywhere(|| {
        world(begin().deadline(HOUR).if_("i", |_| true, half_compensated).step("after", mark("after")))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a -a", Some(Ending::Failed)));
}

#[test]
fn a_cancel_while_a_compensation_stands_failed_is_met_by_resume_skip_or_terminate() {
    let make = || {
        let mut world = world(saga(|b| {
            does(b, "a")
                .step("b", mark("b"))
                .compensate_with(|undo| undo.step("un-b", broken()).on_failure(OnFailure::Suspend))
                .delay("long", |_| 9 * HOUR)
        }));
        world.plan_ask(HOUR, Control::Cancel);
        world.play();
        assert_eq!(world.instance.status, WorkflowStatus::Suspended);
        world.ask(Control::Cancel);
        assert_eq!(world.instance.status, WorkflowStatus::Suspended, "it has been cancelled already");
        world
    };
    let mut skipped = make();
    skipped.intervene(Intervention::Skip);
    skipped.play();
    assert_eq!((line(&skipped).as_str(), skipped.ending), ("a b -a", Some(Ending::Cancelled)));
    let mut resumed = make();
    resumed.ask(Control::Resume);
    resumed.play();
    assert_eq!((resumed.instance.status, resumed.failures.len()), (WorkflowStatus::Suspended, 2));
    resumed.ask(Control::Terminate);
    assert_eq!((line(&resumed).as_str(), resumed.ending), ("a b", Some(Ending::Terminated)));
    let mut from = make();
    from.intervene(Intervention::ResumeFrom("saga".to_owned()));
    assert_eq!(from.instance.status, WorkflowStatus::Suspended, "it would be left half undone");
    assert_eq!(from.failures.last().unwrap().code, StepError::INTERVENTION);
}
