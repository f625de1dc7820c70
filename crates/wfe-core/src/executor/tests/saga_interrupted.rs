//! Sagas that are already being compensated when something that encloses them is ended.

use std::collections::BTreeSet;

use super::{
    scenario::{Body, Builder, HOUR, Line, broken, does, everywhere, line, mark, saga, unmark, world},
    world::World,
};
use crate::{
    definition::{Block, Branch, Event, Main, OnFailure, Retry},
    executor::idempotency_key,
    steps::StepError,
    traits::{Control, Ending},
};

/// A saga that completes `a`, and then compensates it. In the middle of the compensation is a delay of two hours.
fn slow(body: Body) -> impl Branch<Line> {
    body.saga("inner", |b| {
        b.step("a", mark("a"))
            .compensate_with(|undo| {
                undo.step("first", unmark("a1")).delay("long", |_| 2 * HOUR).step("second", unmark("a2"))
            })
            .step("x", broken())
    })
}

/// Adds two parallel branches. The first runs the saga of [`slow`]. The second runs `other` after an hour.
fn beside<B: Branch<Line>>(body: Body, other: impl FnOnce(Body<Main, Block>) -> B) -> Body<Main, Block> {
    body.parallel("p", |all| all.branch(slow).branch(|b| other(b.delay("hour", |_| HOUR))))
}

fn cancelled<L>(builder: Builder<L>) -> World {
    let mut world = world(builder);
    world.plan_ask(HOUR, Control::Cancel);
    world
}

#[test]
fn a_saga_around_it_waits_for_its_end_and_undoes_what_is_left() {
    let cancel = everywhere(|| cancelled(saga(|b| slow(does(b, "before")))));
    assert_eq!(
        (line(&cancel).as_str(), cancel.ending),
        ("before a -a1 -a2 -before", Some(Ending::Cancelled))
    );
    let deadline = everywhere(|| world(saga(|b| slow(does(b, "before"))).deadline(HOUR)));
    assert_eq!(
        (line(&deadline).as_str(), deadline.ending),
        ("before a -a1 -a2 -before", Some(Ending::Failed))
    );
    let fails = everywhere(|| {
        world(saga(|b| beside(does(b, "before"), |b| b.step("y", broken()))).step("after", mark("after")))
    });
    assert_eq!(line(&fails), "before a -a1 -a2 -before after");
    let condition = everywhere(|| {
        let is_said = |line: &Line| line.iter().any(|word| word == "stop");
        world(
            saga(|b| beside(does(b, "before"), |b| b.step("stop", mark("stop"))))
                .cancel_when(is_said)
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&condition), "before a -a1 stop -a2 -before after");
    let end = everywhere(|| world(saga(|b| beside(b, |b| b.end("end")))));
    assert_eq!((line(&end).as_str(), end.ending), ("a -a1 -a2", Some(Ending::Completed)));
}

#[test]
fn a_saga_around_it_that_is_tried_again_does_so_when_all_is_undone() {
    let whole = everywhere(|| {
        let retry = Retry::exponential().attempts(2).initial(HOUR).max(HOUR).jitter(0.0);
        let sold_out =
            |b: Body<Main, Block>| b.call("y", |_, _| Err::<(), _>(StepError::retryable("sold out")));
        world(saga(|b| beside(b, sold_out)).retry(retry).step("after", mark("after")))
    });
    assert_eq!(line(&whole), "a -a1 -a2 a -a1 -a2 after");
}

#[test]
fn of_several_sagas_around_it_each_waits() {
    let whole = everywhere(|| {
        cancelled(saga(|b| {
            does(b, "o").parallel("q", |all| {
                all.branch(|b| b.saga("middle", |b| beside(does(b, "m"), |b| b.step("y", broken()))))
                    .branch(|b| b.saga("other", |b| slow_too(does(b, "n"))))
            })
        }))
    });
    let words: Line = whole.data();
    for (word, count) in [("-a1", 1), ("-a2", 1), ("-b1", 1), ("-b2", 1), ("-m", 1), ("-n", 1)] {
        assert_eq!(words.iter().filter(|w| *w == word).count(), count, "{word} in {words:?}");
    }
    assert_eq!(words.last().map(String::as_str), Some("-o"));
    assert_eq!(whole.ending, Some(Ending::Cancelled));
}

/// Like [`slow`], but with other names and a delay of three hours.
fn slow_too(body: Body) -> impl Branch<Line> {
    body.saga("inner-too", |b| {
        b.step("b", mark("b"))
            .compensate_with(|undo| {
                undo.step("b1", unmark("b1")).delay("b-long", |_| 3 * HOUR).step("b2", unmark("b2"))
            })
            .step("z", broken())
    })
}

#[test]
fn cut_short_by_something_else_it_goes_on_where_it_stood() {
    let jump = everywhere(|| {
        world(
            saga(|b| {
                beside(does(b, "before"), |b| b.go_to("out", "q")).step("q", mark("q")).step("y", broken())
            })
            .step("after", mark("after")),
        )
    });
    assert_eq!(line(&jump), "before a -a1 q -a2 -before after");
    let condition = everywhere(|| {
        let is_said = |line: &Line| line.iter().any(|word| word == "stop");
        world(
            saga(|b| {
                b.parallel("all", |all| {
                    all.branch(|b| b.parallel("some", |some| some.branch(slow)).cancel_when(is_said))
                        .branch(|b| b.delay("hour", |_| HOUR).step("stop", mark("stop")))
                })
                .step("y", broken())
            })
            .step("after", mark("after")),
        )
    });
    assert_eq!(line(&condition), "a -a1 stop -a2 after");
}

#[test]
fn of_one_of_which_only_side_branches_are_left_nothing_is_done_again() {
    let whole = everywhere(|| {
        let inner = |b: Body| {
            b.saga("inner", |b| {
                b.step("a", mark("a"))
                    .compensate_with(|undo| {
                        undo.step("first", unmark("a1")).after(
                            "side",
                            |_| 9 * HOUR,
                            |side| side.step("late", unmark("late")),
                        )
                    })
                    .step("x", broken())
            })
        };
        world(saga(|b| {
            b.parallel("p", |all| all.branch(inner).branch(|b| b.delay("hour", |_| HOUR).go_to("out", "y")))
                .step("y", broken())
        }))
    });
    assert_eq!(line(&whole), "a -a1");
}

#[test]
fn a_step_of_it_that_begins_again_has_the_same_idempotency_key() {
    let make = || {
        let mut world = world(saga(|b| {
            b.parallel("p", |all| {
                all.branch(|b| {
                    b.saga("inner", |b| {
                        b.step("a", mark("a"))
                            .compensate_with(|undo| {
                                undo.step("first", unmark("a1")).wait_for(
                                    "w",
                                    Event::<()>::new("go"),
                                    |_| "k",
                                )
                            })
                            .step("x", broken())
                    })
                })
                .branch(|b| b.delay("hour", |_| HOUR).go_to("out", "y"))
            })
            .step("y", broken())
        }));
        world.plan(2 * HOUR, "go", "k", 1);
        world
    };
    let whole = everywhere(make);
    assert_eq!(line(&whole), "a -a1");
    let visits = whole.history.iter().map(|row| &row.pointer).filter(|p| p.step_name.as_deref() == Some("w"));
    let visits: Vec<_> = visits.map(|p| (p.id.as_str(), idempotency_key("it", p))).collect();
    assert_eq!(visits.len(), 2, "{visits:?}");
    assert_eq!(visits.iter().map(|(_, key)| key).collect::<BTreeSet<_>>().len(), 1, "{visits:?}");
    assert!(visits[0].0 != visits[1].0);
}

#[test]
fn what_fails_in_it_follows_its_own_behaviour_and_the_saga_around_goes_on() {
    let whole = everywhere(|| {
        cancelled(saga(|b| {
            does(b, "before").saga("inner", |b| {
                b.step("a", mark("a"))
                    .compensate_with(|undo| {
                        undo.delay("long", |_| 2 * HOUR).step("no", broken()).on_failure(OnFailure::Continue)
                    })
                    .step("x", broken())
            })
        }))
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("before a -before", Some(Ending::Cancelled)));
}
