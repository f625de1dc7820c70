//! What a host can read from stored pointers.

use std::time::Duration;

use super::{
    scenario::{HOUR, Line, begin, broken, does, mark, world},
    world::World,
};
use crate::{
    definition::{Activity, Event, Retry, WorkflowName},
    executor::view::{self, Awaited, Sleep},
    steps::StepError,
    traits::{Control, Ending},
};

fn sleep(world: &World, pointer: &str) -> Option<Sleep> {
    Sleep::of(world.pointer(pointer))
}

#[test]
fn a_delay_sleeps_as_a_timer_and_a_failed_step_until_its_next_attempt() {
    let retry = Retry::exponential().attempts(4).initial(Duration::from_secs(10)).even_if_fatal(|_| true);
    let mut world = world(begin().parallel("all", |all| {
        all.branch(|b| b.delay("d", |_| HOUR)).branch(|b| b.step("x", broken()).retry(retry))
    }));
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!(sleep(&world, "all/0/d"), Some(Sleep::Timer));
    assert_eq!(sleep(&world, "all/1/x"), Some(Sleep::Retry { attempt: 2, cause: None }));
    assert!(view::has_failed_attempt(world.pointer("all/1/x")));
    assert_eq!(sleep(&world, "all"), None);
}

#[test]
fn a_saga_in_its_backoff_shows_the_failure_inside_it() {
    let retry = Retry::exponential().attempts(4).initial(Duration::from_secs(10)).even_if_fatal(|_| true);
    let mut world = world(begin().saga("saga", |b| b.step("x", broken())).retry(retry));
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    let Some(Sleep::Retry { attempt: 2, cause: Some(cause) }) = sleep(&world, "saga") else {
        panic!("{:?}", world.pointer("saga"))
    };
    assert_eq!((cause.step.as_str(), cause.code.as_str()), ("x", StepError::ERROR));
}

#[test]
fn each_kind_of_wait_shows_what_it_waits_for() {
    let mut world = world(begin().parallel("all", |all| {
        all.branch(|b| b.wait_for("e", Event::<()>::new("said"), |_| "k"))
            .branch(|b| b.activity("a", Activity::<_, ()>::new("pack"), |_| 7))
            .branch(|b| b.user_task("u", |_| "well?").option("yes", |b| b.step("y", mark("y"))))
            .branch(|b| b.sub_workflow("c", WorkflowName::new("child"), |_| Line::new()).version(1))
    }));
    world.open();
    let awaited = |pointer: &str| Awaited::of(world.pointer(pointer)).unwrap();
    assert_eq!(awaited("all/0/e"), Awaited::Event { name: "said".to_owned(), key: "k".to_owned() });
    let id = "it//all/1/a//1".to_owned();
    assert_eq!(awaited("all/1/a"), Awaited::Activity { name: "pack".to_owned(), id });
    assert_eq!(awaited("all/2/u"), Awaited::UserTask { id: "it//all/2/u//1".to_owned() });
    assert_eq!(awaited("all/3/c"), Awaited::Child { id: "it//all/3/c//1".to_owned() });
    let wait = |pointer: &str| world.waits.iter().find(|w| w.execution_pointer_id == pointer).unwrap();
    assert_eq!(view::activity_input(wait("all/1/a")), 7);
    assert_eq!(view::user_task(wait("all/2/u")).unwrap().options, ["yes"]);
    assert!(view::user_task(wait("all/1/a")).is_err());
}

#[test]
fn an_instance_that_is_cancelled_shows_how_it_ends_after_its_compensation() {
    let mut world = world(begin().saga("saga", |b| {
        does(b, "a")
            .step("b", mark("b"))
            .compensate_with(|undo| undo.delay("long", |_| HOUR))
            .delay("d", |_| HOUR)
    }));
    world.open();
    while !world.jobs.is_empty() {
        let jobs = world.jobs.drain(..).collect();
        world.finish(jobs);
    }
    assert_eq!(view::closing(&world.instance.execution_pointers), None);
    world.ask(Control::Cancel);
    assert_eq!(view::closing(&world.instance.execution_pointers), Some(Ending::Cancelled));
}
