//! Contradictions between the rows of an instance are reported. `World` checks the opposite case: at every commit of
//! every test, nothing that the executor stores is reported as a contradiction.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    scenario::{Builder, begin, broken, does, mark, world},
    world::World,
};
use crate::{
    WfeError,
    definition::{Awaits, Event, Every, OfEvent, OnFailure, WorkflowName},
    executor::{contradiction, lost_waits},
    models::{ExecutionPointer, PointerStatus, WorkflowStatus},
    traits::{Control, Loaded},
};

const HOUR: Duration = Duration::from_hours(1);

/// A workflow that waits, as the step `w`.
fn said() -> Builder<Awaits<(), OfEvent>> {
    begin().wait_for("w", Event::new("said"), |_| "k")
}

/// Makes this change to the stored instance, and returns the table, column and row of the contradiction that is then
/// reported.
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
    let mut world = world(begin().step("a", mark("a")).delay("d", |_| HOUR).step("b", mark("b")));
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
    let mut world = world(begin().step("a", mark("a")).step("b", mark("b")));
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
        all.branch(|b| b.step("a", mark("a")).delay("d", |_| HOUR)).branch(|b| b.delay("e", |_| HOUR))
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
    let mut world = world(said());
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
    for workflow in [
        begin().step("a", mark("a")).closed(),
        begin().delay("d", |_| HOUR).closed(),
        said().fail_after(|_| HOUR).closed(),
    ] {
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
    let mut waits = world(said());
    waits.open();
    assert_eq!((waits.instance.next_execution, told(&waits, |_| ())), (None, None), "the event wakes it");
}

#[test]
fn an_instance_that_waits_lacks_nothing_if_its_definition_was_given_a_deadline_meanwhile() {
    let mut waits = world(said());
    waits.open();
    waits.crash();
    let loaded = Loaded { owner: None, ..waits.loaded() };
    assert_eq!(loaded.instance.next_execution, None);
    let anew = world(said().deadline(HOUR)).definition;
    assert!(contradiction(&loaded, Some(&anew)).is_none());
}

#[test]
fn an_instance_that_has_not_begun_stands_nowhere() {
    let world = world(begin().step("a", mark("a")));
    let blank = |loaded: &mut Loaded| loaded.instance.execution_pointers = Vec::<ExecutionPointer>::new();
    assert_eq!(told(&world, blank), None, "whether it has, the store knows");
}

fn change(id: &str, change: impl FnOnce(&mut ExecutionPointer)) -> impl FnOnce(&mut Loaded) {
    move |loaded| change(loaded.instance.execution_pointers.iter_mut().find(|p| p.id == id).unwrap())
}

/// The expected report of a contradiction in the pointer `id`.
fn place(column: &'static str, id: &str) -> (&'static str, &'static str, String) {
    ("execution_pointers", column, format!("{id} of it"))
}

#[test]
fn a_step_that_the_instance_stands_at_is_in_no_status_in_which_nothing_goes_on() {
    use PointerStatus as Is;
    let waits = || said().closed();
    let sleeps = || begin().delay("w", |_| HOUR).closed();
    let asks = || begin().sub_workflow("w", WorkflowName::new("other"), |_| 0).version(1).closed();
    for make in [waits as fn() -> _, sleeps, asks] {
        let mut world = world(make());
        world.open();
        for status in [
            Is::Complete,
            Is::Skipped,
            Is::Compensated,
            Is::Cancelled,
            Is::PendingPredecessor,
            // Nothing is inside of it.
            Is::Running,
        ] {
            assert_eq!(
                told(&world, change("w", |w| w.status = status)),
                Some(place("status", "w")),
                "{status}"
            );
        }
        assert_eq!(told(&world, change("w", |w| w.active = false)), Some(place("active", "w")));
    }
    let mut sleeping = world(sleeps());
    sleeping.open();
    assert_eq!(told(&sleeping, change("w", |w| w.sleep_until = None)), Some(place("sleep_until", "w")));
    assert_eq!(told(&sleeping, change("w", |w| w.status = Is::WaitingForEvent)), Some(place("status", "w")));
    let mut two =
        world(begin().parallel("both", |all| {
            all.branch(|b| b.delay("d", |_| HOUR)).branch(|b| b.delay("e", |_| HOUR))
        }));
    two.open();
    assert_eq!(told(&two, change("both/0/d", |p| p.active = false)), Some(place("active", "both/0/d")));
    assert_eq!(told(&two, change("both", |p| p.children.clear())), Some(place("status", "both")));
}

#[test]
fn a_wait_that_is_another_one_than_its_pointer_says_is_told() {
    let mut world = world(said());
    world.open();
    for (column, spoil) in [
        (
            "event_name",
            (|wait| wait.event_name = "sung".to_owned()) as fn(&mut crate::models::EventSubscription),
        ),
        ("event_key", |wait| wait.event_key.clear()),
        ("execution_pointer_id", |wait| wait.execution_pointer_id = "other".to_owned()),
    ] {
        let row = Some(("event_subscriptions", column, "it//w//1".to_owned()));
        assert_eq!(told(&world, |loaded| spoil(&mut loaded.waits[0])), row);
    }
    assert_eq!(told(&world, change("w", |w| w.event_key = None)).unwrap().1, "event_key");
}

#[test]
fn an_instance_with_a_failed_step_that_waits_for_a_resume_is_suspended() {
    let mut world = world(begin().step("bad", broken()).on_failure(OnFailure::Suspend));
    world.open();
    finish_all(&mut world);
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    let runnable = |loaded: &mut Loaded| loaded.instance.status = WorkflowStatus::Runnable;
    assert_eq!(told(&world, runnable), Some(("workflows", "status", "it".to_owned())));
}

#[test]
fn what_a_container_keeps_that_does_not_decode_or_cannot_be_is_told() {
    let tick = Every::interval(HOUR);
    let cases = [
        (
            begin().while_("c", |_| true, |b| b.delay("d", |_| HOUR)).closed(),
            vec![json!({"begun": -1}), json!(7)],
        ),
        (
            begin().for_each("c", |_| vec![1], |b| b.delay("d", |_, _| HOUR)).closed(),
            vec![json!({"total": 1, "next": 2}), json!({"total": "1", "next": 1}), Value::Null],
        ),
        (
            begin().recur("c", tick, |_| false, |b| b.step("t", mark("t"))).delay("d", |_| HOUR).closed(),
            vec![json!({"count": -1, "next": null}), Value::Null],
        ),
        (begin().delay("c", |_| HOUR).closed(), vec![json!("tomorrow")]),
        (
            begin().saga("c", |b| does(b, "a").delay("d", |_| HOUR)).closed(),
            vec![json!({"round": 1}), json!({"round": 1, "from": 4_u64.pow(9), "log": -1, "undoing": null})],
        ),
        (
            begin()
                .saga("c", |b| {
                    b.step("a", mark("a"))
                        .compensate_with(|undo| undo.delay("d", |_| HOUR))
                        .step("bad", broken())
                })
                .closed(),
            vec![json!({"round": 1, "from": 1, "log": 1, "undoing":
                {"next": 0, "current": null, "covered": [], "why": null, "end": null}})],
        ),
    ];
    for (workflow, spoilt) in cases {
        let mut world = world(workflow);
        world.open();
        while !world.jobs.is_empty() {
            finish_all(&mut world);
        }
        for kept in spoilt {
            let spoil = |c: &mut ExecutionPointer| {
                c.persistence_data = Some(kept.clone()).filter(|kept| !kept.is_null());
            };
            assert_eq!(told(&world, change("c", spoil)), Some(place("persistence_data", "c")), "{kept}");
        }
    }
}

#[test]
fn a_counter_that_is_no_number_is_told() {
    let mut world = world(said());
    world.open();
    for (name, value) in
        [("waits", json!("1")), ("time", json!(-1)), ("kind", json!(7)), ("since", json!([]))]
    {
        let spoil = |w: &mut ExecutionPointer| {
            w.extension_attributes.insert(name.to_owned(), value.clone());
        };
        assert_eq!(told(&world, change("w", spoil)), Some(place("extension_attributes", "w")), "{name}");
    }
}
