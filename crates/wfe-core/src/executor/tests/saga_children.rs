//! Child workflows that are still running in a saga when the saga is compensated.

use std::{rc::Rc, time::Duration};

use serde_json::json;

use super::{
    scenario::{Body, Builder, HOUR, Line, broken, does, everywhere, line, mark, saga, unmark, world},
    world::World,
};
use crate::{
    definition::{Block, Branch, Main, Registry, Retry, WorkflowName},
    executor::ChildEnd,
    models::{Event, PointerStatus},
    steps::StepError,
    traits::{Control, Ending},
};

const PART: WorkflowName<Line> = WorkflowName::new("part");

const CHILD: &str = "it//saga/1/p/0/sub//1";

/// Adds two parallel branches. The first starts a child workflow, and has a compensation for it. The second runs
/// `other` after an hour.
fn beside<B: Branch<Line>>(body: Body, other: impl FnOnce(Body<Main, Block>) -> B) -> Body<Main, Block> {
    body.parallel("p", |all| {
        all.branch(|b| {
            b.sub_workflow("sub", PART, |_| Line::new())
                .output(|part, line| line.extend(part))
                .compensate_with(|undo| undo.step("un-sub", unmark("sub")))
                .step("never", mark("never"))
        })
        .branch(|b| other(b.delay("hour", |_| HOUR)))
    })
}

/// Plans the end of the child workflow with this id, and returns the world. The child ends when the duration `after`
/// has passed.
fn ends(mut world: World, after: Duration, child: &str, ending: Ending) -> World {
    let at = world.now + after;
    let data = json!(["sub"]);
    let end = ChildEnd { ending, data, cause: None, retryable: false }.event(child);
    world.registry = registry();
    world.planned.push((at, Event { event_time: at, ..end }));
    world
}

fn registry() -> Rc<Registry> {
    let mut registry = Registry::default();
    registry.register(PART.define(1).step("x", mark("x")).build().unwrap()).unwrap();
    Rc::new(registry)
}

/// The control requests that the instance has sent to its child workflows.
fn asked(world: &World) -> Vec<(String, Control)> {
    world.commits.iter().flat_map(|commit| commit.requested.clone()).collect()
}

fn failing() -> Builder<impl Sized> {
    saga(|b| beside(does(b, "before"), |b| b.step("y", broken()))).step("after", mark("after"))
}

#[test]
fn it_is_cancelled_and_its_end_is_awaited_before_anything_is_undone() {
    let whole = everywhere(|| ends(world(failing()), 5 * HOUR, CHILD, Ending::Cancelled));
    assert_eq!(line(&whole), "before -before after");
    assert_eq!(asked(&whole), [(CHILD.to_owned(), Control::Cancel)]);
    let sub = whole.history.iter().find(|row| row.pointer.step_name.as_deref() == Some("sub")).unwrap();
    assert_eq!(sub.pointer.status, PointerStatus::Cancelled);
    let mut waiting = ends(world(failing()), 5 * HOUR, CHILD, Ending::Cancelled);
    waiting.planned.clear();
    waiting.play();
    assert_eq!((line(&waiting).as_str(), waiting.ending), ("before", None), "it waits as long as it takes");
    // A deadline, or a cancel of the instance, waits for it too; a terminate does not.
    waiting.ask(Control::Cancel);
    assert_eq!(waiting.ending, None);
    waiting.ask(Control::Terminate);
    assert_eq!((waiting.ending, waiting.waits.len()), (Some(Ending::Terminated), 0));
    assert_eq!(asked(&waiting)[1..], [(CHILD.to_owned(), Control::Terminate)]);
}

#[test]
fn one_that_had_completed_before_it_heard_is_undone_like_the_others() {
    let whole = everywhere(|| ends(world(failing()), 5 * HOUR, CHILD, Ending::Completed));
    assert_eq!(line(&whole), "before sub -sub -before after");
}

#[test]
fn a_cancel_of_the_instance_waits_for_children_in_its_sagas() {
    let whole = everywhere(|| {
        let mut world = world(saga(|b| beside(does(b, "before"), |b| b)));
        world.plan_ask(HOUR / 2, Control::Cancel);
        ends(world, 5 * HOUR, CHILD, Ending::Cancelled)
    });
    assert_eq!((line(&whole).as_str(), whole.ending), ("before -before", Some(Ending::Cancelled)));
}

#[test]
fn the_next_round_of_a_saga_begins_when_the_children_of_the_last_one_have_ended() {
    let whole = everywhere(|| {
        let retry = Retry::exponential().attempts(2).initial(HOUR).max(HOUR).jitter(0.0);
        let sold_out =
            |b: Body<Main, Block>| b.call("y", |_, _| Err::<(), _>(StepError::retryable("sold out")));
        let builder = saga(|b| beside(does(b, "before"), sold_out)).retry(retry);
        let world = ends(world(builder), 5 * HOUR, CHILD, Ending::Cancelled);
        ends(world, 20 * HOUR, "it//saga/2/p/0/sub//1", Ending::Cancelled)
    });
    assert_eq!(line(&whole), "before -before before -before");
}

#[test]
fn a_saga_around_that_fails_meanwhile_waits_for_it_too() {
    let whole = everywhere(|| {
        let builder = saga(|b| {
            does(b, "o").parallel("p", |all| {
                all.branch(|b| {
                    b.saga("inner", |b| {
                        b.parallel("q", |all| {
                            all.branch(|b| b.sub_workflow("sub", PART, |_| Line::new()))
                                .branch(|b| does(b, "i").delay("hour", |_| HOUR).step("y", broken()))
                        })
                    })
                })
                .branch(|b| b.delay("hours", |_| 2 * HOUR).step("z", broken()))
            })
        });
        ends(world(builder), 5 * HOUR, "it//saga/1/p/0/inner/1/q/0/sub//1", Ending::Cancelled)
    });
    assert_eq!(line(&whole), "o i -i -o");
}

#[test]
fn nothing_of_the_step_acts_while_it_is_awaited() {
    let whole = everywhere(|| {
        let builder = saga(|b| {
            does(b, "before").parallel("p", |all| {
                all.branch(|b| {
                    b.sub_workflow("sub", PART, |_| Line::new())
                        .on_timeout(|_| 2 * HOUR, |late| late.step("late", mark("late")))
                        .cancel_when(|line| line.len() > 1)
                        .step("never", mark("never"))
                })
                .branch(|b| b.delay("hour", |_| HOUR).step("y", broken()))
            })
        });
        ends(world(builder), 5 * HOUR, CHILD, Ending::Cancelled)
    });
    assert_eq!(line(&whole), "before -before");
}
