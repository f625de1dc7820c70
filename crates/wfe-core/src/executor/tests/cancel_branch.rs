//! Cancel conditions that also end the branch.

use super::{
    scenario::{Body, HOUR, Line, begin, broken, does, everywhere, line, mark, saga, unmark, world},
    world::World,
};
use crate::{
    definition::{Block, Main},
    models::{PointerStatus, WorkflowStatus, attributes},
    traits::{Control, Ending},
};

/// Whether this word was written.
fn says(word: &'static str) -> impl Fn(&Line) -> bool + Send + Sync + 'static {
    move |line| line.iter().any(|said| said == word)
}

/// Two branches at once. The second writes `stop` after an hour.
fn beside(body: Body, first: impl FnOnce(Body) -> Body) -> Body<Main, Block> {
    body.parallel("both", |all| {
        all.branch(first).branch(|b| b.delay("hour", |_| HOUR).step("stop", mark("stop")))
    })
}

fn status(world: &World, id: &str) -> PointerStatus {
    let live = world.instance.execution_pointers.iter();
    let mut all = world.history.iter().map(|row| &row.pointer).chain(live);
    all.find(|pointer| pointer.id == id).expect("it was reached").status
}

#[test]
fn the_step_is_cancelled_and_its_sequence_ends_as_after_its_last_step() {
    let whole = everywhere(|| {
        let first = |b: Body| {
            let b = b.step("a", mark("a")).delay("long", |_| 9 * HOUR).cancel_branch_when(says("stop"));
            b.step("never", mark("never")).closed()
        };
        world(beside(begin(), first).step("after", mark("after")))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a stop after", Some(Ending::Completed)));
    assert_eq!(status(&whole, "both/0/long"), PointerStatus::Cancelled);
}

#[test]
fn on_the_main_path_the_workflow_completes_when_its_side_branches_have_ended() {
    let whole = everywhere(|| {
        world(
            begin()
                .after(
                    "side",
                    |_| HOUR,
                    |b| b.step("stop", mark("stop")).delay("more", |_| HOUR).step("x", mark("x")),
                )
                .delay("long", |_| 9 * HOUR)
                .cancel_branch_when(says("stop"))
                .step("never", mark("never")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("stop x", Some(Ending::Completed)));
    assert_eq!(whole.now, World::new(&whole.definition, &Line::new()).now + 2 * HOUR);
}

#[test]
fn a_condition_that_holds_when_the_step_begins_ends_the_branch_before_the_step() {
    let whole = everywhere(|| {
        world(
            begin()
                .step("a", mark("a"))
                .step("b", mark("b"))
                .cancel_branch_when(says("a"))
                .step("never", mark("never")),
        )
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("a", Some(Ending::Completed)));
}

#[test]
fn in_a_loop_the_iteration_ends_and_the_loop_goes_on() {
    let items = everywhere(|| {
        let each = begin().for_each(
            "each",
            |_| vec![1_u32, 2, 3],
            |b| {
                b.call("a", |_, _, n| Ok(format!("a{n}")))
                    .output(|word, line, _| line.push(word))
                    .call("b", |_, _, n| Ok(format!("b{n}")))
                    .output(|word, line, _| line.push(word))
                    .cancel_branch_when(|_, n| *n == 2)
                    .call("c", |_, _, n| Ok(format!("c{n}")))
                    .output(|word, line, _| line.push(word))
            },
        );
        world(each.step("after", mark("after")))
    });
    assert_eq!(line(&items), "a1 b1 c1 a2 a3 b3 c3 after");
    let results = items.history.iter().filter(|row| row.pointer.has(attributes::LAST));
    let results: Vec<_> = results.map(|row| (row.pointer.id.as_str(), row.pointer.status)).collect();
    let cancelled = ("each/1/b", PointerStatus::Cancelled);
    assert_eq!(
        results,
        [("each/0/c", PointerStatus::Complete), cancelled, ("each/2/c", PointerStatus::Complete)]
    );
    let rounds = everywhere(|| {
        world(begin().while_(
            "while",
            |line| line.len() < 4,
            |b| {
                b.step("a", mark("a")).step("b", mark("b")).cancel_branch_when(says("c")).step("c", mark("c"))
            },
        ))
    });
    assert_eq!(line(&rounds), "a b c a");
}

#[test]
fn a_branch_of_a_race_that_its_condition_ends_has_won() {
    let whole = everywhere(|| {
        world(
            begin()
                .race("race", |first| {
                    first
                        .branch(|b| {
                            b.delay("long", |_| 9 * HOUR)
                                .cancel_branch_when(says("stop"))
                                .step("never", mark("never"))
                        })
                        .branch(|b| {
                            b.step("stop", mark("stop")).delay("d", |_| HOUR).step("lost", mark("lost"))
                        })
                })
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&whole), "stop after");
}

#[test]
fn a_saga_is_compensated_before_its_branch_ends() {
    let whole = everywhere(|| {
        let first = |b: Body| {
            b.saga("saga", |b| does(b, "a").delay("long", |_| 9 * HOUR))
                .cancel_branch_when(says("stop"))
                .step("never", mark("never"))
                .closed()
        };
        world(beside(begin(), first).step("after", mark("after")))
    });
    assert_eq!(line(&whole), "a stop -a after");
    let main = everywhere(|| {
        let saga = begin()
            .after("side", |_| HOUR, |b| b.step("stop", mark("stop")))
            .saga("saga", |b| does(b, "a").delay("long", |_| 9 * HOUR));
        world(saga.cancel_branch_when(says("stop")).step("never", mark("never")))
    });
    assert_eq!((line(&main).as_str(), main.ending), ("a stop -a", Some(Ending::Completed)));
    assert_eq!(status(&main, "saga"), PointerStatus::Cancelled);
    // Steps that completed in a branch before its condition ended it are in the log of the saga around.
    let around = everywhere(|| {
        world(saga(|b| {
            let first =
                |b: Body| does(b, "a").delay("long", |_| 9 * HOUR).cancel_branch_when(says("stop")).closed();
            beside(b, first).step("x", broken())
        }))
    });
    assert_eq!(line(&around), "a stop -a");
}

#[test]
fn fallbacks_and_compensations_are_sequences_too() {
    let fallback = everywhere(|| {
        let instead = |b: Body| b.step("b", mark("b")).cancel_branch_when(says("a")).step("c", mark("c"));
        world(begin().step("a", mark("a")).step("x", broken()).fallback(instead).step("after", mark("after")))
    });
    assert_eq!(line(&fallback), "a after");
    let compensation = everywhere(|| {
        world(saga(|b| {
            does(b, "a")
                .step("b", mark("b"))
                .compensate_with(|undo| {
                    undo.step("un-1", unmark("b1"))
                        .step("un-2", unmark("b2"))
                        .cancel_branch_when(says("-b1"))
                        .step("un-3", unmark("b3"))
                })
                .step("x", broken())
        }))
    });
    assert_eq!(line(&compensation), "a b -b1 -a", "the next entry is compensated");
}

#[test]
fn a_suspended_instance_ends_its_branch_when_it_is_resumed() {
    let mut world = world(
        begin()
            .after("side", |_| HOUR, |b| b.step("stop", mark("stop")))
            .delay("long", |_| 9 * HOUR)
            .cancel_branch_when(says("stop"))
            .step("never", mark("never")),
    );
    world.open();
    world.pass(HOUR);
    world.open();
    world.ask(Control::Suspend);
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    assert_eq!(world.pointer("long").status, PointerStatus::Sleeping);
    world.ask(Control::Resume);
    assert_eq!((line(&world).as_str(), world.ending), ("stop", Some(Ending::Completed)));
}

#[test]
fn a_compensation_that_ends_while_the_instance_is_suspended_ends_the_main_path() {
    let saga = saga(|b| {
        b.step("a", mark("a"))
            .compensate_with(|undo| undo.step("un-a", unmark("a")))
            .delay("long", |_| 9 * HOUR)
    });
    let mut world = world(saga.cancel_branch_when(says("a")).step("never", mark("never")));
    world.open();
    while world.waiting() != ["saga/undo0/un-a"] {
        let jobs = world.jobs.drain(..).collect();
        world.finish(jobs);
    }
    world.ask(Control::Suspend);
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    assert!(!world.instance.execution_pointers.iter().any(|pointer| pointer.active), "nothing is missing");
    world.crash();
    world.ask(Control::Resume);
    world.play();
    assert_eq!((line(&world).as_str(), world.ending), ("a -a", Some(Ending::Completed)));
}
