//! What the rows of an instance tell to be impossible. That nothing which the executor stores is taken for it, the world looks
//! after, at every commit of every test.

use std::time::Duration;

use super::{
    scenario::{Line, begin, mark, world},
    world::World,
};
use crate::{
    WfeError,
    definition::event,
    executor::{contradiction, lost_waits},
    models::{ExecutionPointer, WorkflowStatus},
    traits::{Control, Loaded},
};

const HOUR: Duration = Duration::from_hours(1);

/// What is told of the instance once this is done to it: table, column and row.
fn told(world: &World, change: impl FnOnce(&mut Loaded)) -> Option<(&'static str, &'static str, String)> {
    let mut loaded = Loaded { owner: None, ..world.loaded() };
    assert!(contradiction(&loaded, Some(&world.definition)).is_none());
    change(&mut loaded);
    match contradiction(&loaded, Some(&world.definition))? {
        WfeError::Corrupt { table, column, row, .. } => Some((table, column, row)),
        other => panic!("{other:?}"),
    }
}

fn without(id: &str) -> impl FnOnce(&mut Loaded) {
    move |loaded| loaded.instance.execution_pointers.retain(|pointer| pointer.id != id)
}

fn finish_all(world: &mut World) {
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
}

#[test]
fn an_instance_that_stands_nowhere_before_its_end_has_lost_a_row() {
    let mut world = world(begin().then("a", mark("a")).delay("d", |_, ()| HOUR).then("b", mark("b")));
    world.open();
    finish_all(&mut world);
    let place = ("execution_pointers", "workflow", "it".to_owned());
    assert_eq!(told(&world, without("d")), Some(place.clone()));
    world.ask(Control::Suspend);
    assert_eq!(told(&world, without("d")), Some(place), "it would be over once it is resumed");
    world.ask(Control::Terminate);
    assert_eq!(told(&world, without("d")), None, "it has ended");
}

#[test]
fn a_suspended_instance_whose_last_step_has_ended_stands_nowhere_and_has_lost_nothing() {
    let mut world = world(begin().then("a", mark("a")).then("b", mark("b")));
    world.open();
    finish_all(&mut world);
    world.ask(Control::Suspend);
    finish_all(&mut world);
    assert!(world.instance.execution_pointers.iter().all(|pointer| !pointer.active));
    assert_eq!((world.instance.status, told(&world, |_| ())), (WorkflowStatus::Suspended, None));
}

#[test]
fn a_pointer_without_its_container_and_a_container_without_its_branch_have_lost_a_row() {
    let mut world = world(begin().parallel("both", |all| {
        all.branch(|b| b.then("a", mark("a")).delay("d", |_, ()| HOUR)).branch(|b| b.delay("e", |_, ()| HOUR))
    }));
    world.open();
    finish_all(&mut world);
    assert!(world.run.is_none(), "it sleeps");
    let row = |id: &str| Some(("execution_pointers", "id", format!("{id} of it")));
    assert_eq!(told(&world, without("both")), row("both"));
    assert_eq!(told(&world, without("both/0/d")), row("both/0/a"), "by which the branch is known");
    assert_eq!(told(&world, without("both/1/e")), row("both/1/e"));
    assert_eq!(told(&world, without("both/0/a")), None, "it has ended: the branch goes on without it");
}

#[test]
fn a_wait_that_is_not_open_any_more_is_found_by_the_pointer_that_stands_at_it() {
    let mut world = world(begin().wait_for("w", event("said", |_: &Line, ()| "k")));
    world.open();
    let mut loaded = world.loaded();
    assert_eq!(lost_waits(&loaded), Vec::<String>::new());
    let wait = loaded.waits.pop().unwrap();
    assert_eq!(lost_waits(&loaded), [wait.id]);
    loaded.instance.status = WorkflowStatus::Terminated;
    assert_eq!(lost_waits(&loaded), Vec::<String>::new());
}

#[test]
fn an_instance_that_is_due_by_time_alone_has_a_time_at_which_somebody_looks() {
    let place = Some(("workflows", "next_execution", "it".to_owned()));
    let hour = event("said", |_: &Line, ()| "k").fail_after(|_, ()| HOUR);
    for workflow in
        [begin().then("a", mark("a")), begin().delay("d", |_, ()| HOUR), begin().wait_for("w", hour)]
    {
        let mut world = world(workflow);
        world.open();
        world.crash();
        for lost in [None, Some(i64::MAX)] {
            let change = |loaded: &mut Loaded| loaded.instance.next_execution = lost;
            assert_eq!(told(&world, change), place);
            let owned = |loaded: &mut Loaded| {
                change(loaded);
                loaded.owner = Some(1);
            };
            assert_eq!(told(&world, owned), None, "its owner looks");
            let suspended = |loaded: &mut Loaded| {
                change(loaded);
                loaded.instance.status = WorkflowStatus::Suspended;
            };
            assert_eq!(told(&world, suspended), None, "nobody is to look");
        }
    }
    let mut waits = world(begin().wait_for("w", event("said", |_: &Line, ()| "k")));
    waits.open();
    assert_eq!((waits.instance.next_execution, told(&waits, |_| ())), (None, None), "the event wakes it");
}

#[test]
fn an_instance_that_waits_lacks_nothing_if_its_definition_was_given_a_deadline_meanwhile() {
    let wait = || event("said", |_: &Line, ()| "k");
    let mut waits = world(begin().wait_for("w", wait()));
    waits.open();
    waits.crash();
    let loaded = Loaded { owner: None, ..waits.loaded() };
    assert_eq!(loaded.instance.next_execution, None);
    let anew = world(begin().wait_for("w", wait()).deadline(HOUR)).definition;
    assert!(contradiction(&loaded, Some(&anew)).is_none());
}

#[test]
fn an_instance_that_has_not_begun_stands_nowhere() {
    let world = world(begin().then("a", mark("a")));
    let blank = |loaded: &mut Loaded| loaded.instance.execution_pointers = Vec::<ExecutionPointer>::new();
    assert_eq!(told(&world, blank), None, "whether it has, the store knows");
}
