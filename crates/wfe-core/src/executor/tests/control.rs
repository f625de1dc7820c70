use std::time::Duration;

use super::{
    scenario::{self, begin, broken, line, mark},
    world::World,
};
use crate::{
    definition::{Definition, Event, OnFailure, Retry, WorkflowBuilder},
    executor::Lifecycle,
    models::{self, PointerStatus, WorkflowStatus},
    steps::StepError,
    traits::{Control, ControlRequest, Ending, Intervention},
};

const NEVER: Event<()> = Event::new("never");

fn two_steps() -> Definition<u32> {
    WorkflowBuilder::<u32>::new("w", 1)
        .then("a", async |_, _| Ok(()))
        .then("b", async |_, _| Ok(()))
        .build()
        .unwrap()
}

#[test]
fn suspend_lets_the_running_step_end_and_begins_no_other_until_resume() {
    let mut world = World::new(&two_steps(), &0_u32);
    world.open();
    world.ask(Control::Suspend);
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    assert!(world.run.is_some(), "the running step's result is still awaited");
    assert!(!world.jobs[0].token().is_cancelled());
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert!(world.run.is_none() && world.jobs.is_empty());
    assert_eq!(world.pointer("a").status, PointerStatus::Complete);
    assert_eq!(world.pointer("b").status, PointerStatus::Pending);
    world.ask(Control::Resume);
    assert_eq!(world.waiting(), ["b"]);
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    let told: Vec<_> = world
        .events
        .iter()
        .filter(|e| matches!(e, Lifecycle::Suspended | Lifecycle::Resumed | Lifecycle::Completed))
        .collect();
    assert_eq!(told, [&Lifecycle::Suspended, &Lifecycle::Resumed, &Lifecycle::Completed]);
}

#[test]
fn an_instance_whose_last_step_ended_while_it_was_suspended_completes_when_it_is_resumed() {
    let mut world = World::new(&two_steps(), &0_u32);
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    world.ask(Control::Suspend);
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    world.ask(Control::Resume);
    assert_eq!((world.instance.status, world.ending), (WorkflowStatus::Complete, Some(Ending::Completed)));
}

#[test]
fn a_cancel_condition_that_came_true_while_the_instance_stood_still_takes_effect_when_it_is_resumed() {
    // With the process alive all the while, and with one that died in between.
    for dies in [false, true] {
        let mut world = scenario::world(begin().parallel("both", |all| {
            all.branch(|b| b.step("a", mark("a"))).branch(|b| {
                b.wait_for("w", NEVER, |_| "k")
                    .output(|(), _| ())
                    .cancel_when(|line| !line.is_empty())
                    .step("c", mark("c"))
            })
        }));
        world.open();
        world.ask(Control::Suspend);
        let jobs = world.jobs.drain(..).collect();
        world.finish(jobs);
        assert_eq!((line(&world).as_str(), world.run.is_none()), ("a", true), "stored, and given back");
        if dies {
            world.crash();
        }
        world.ask(Control::Resume);
        world.play();
        assert_eq!((line(&world).as_str(), world.ending), ("a c", Some(Ending::Completed)));
    }
    // An operator goes on by hand behind a failed step.
    let mut world = scenario::world(begin().parallel("both", |all| {
        all.branch(|b| b.step("x", broken()).on_failure(OnFailure::Suspend))
            .branch(|b| b.step("a", mark("a")))
            .branch(|b| {
                b.wait_for("w", NEVER, |_| "k").output(|(), _| ()).cancel_when(|line| !line.is_empty())
            })
    }));
    world.play();
    assert_eq!((line(&world).as_str(), world.instance.status), ("a", WorkflowStatus::Suspended));
    world.intervene(Intervention::Skip);
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
}

#[test]
fn a_request_that_waits_when_the_instance_is_opened_comes_before_the_events_that_do() {
    for (control, after) in [
        (Control::Terminate, (Some(Ending::Terminated), "")),
        (Control::Cancel, (Some(Ending::Cancelled), "")),
        (Control::Suspend, (None, "")),
        // It has nothing to change, and must not keep the event away.
        (Control::Resume, (Some(Ending::Completed), "hello")),
    ] {
        let mut world = scenario::world(
            begin().wait_for("w", Event::<String>::new("said"), |_| "k").output(|word, line| line.push(word)),
        );
        world.open();
        world.control = Some(ControlRequest { number: 1, control, intervention: None });
        let said = models::Event { event_time: world.now, ..models::Event::new("said", "k", "hello".into()) };
        world.stream.borrow_mut().publish(said, world.now);
        world.play();
        assert_eq!((world.ending, line(&world).as_str()), after, "{control:?}");
    }
}

#[test]
fn cancel_and_terminate_fire_the_token_of_a_running_step_and_end_the_instance_at_once() {
    for (control, ending) in [(Control::Cancel, Ending::Cancelled), (Control::Terminate, Ending::Terminated)]
    {
        let mut world = World::new(&two_steps(), &0_u32);
        world.open();
        world.ask(control);
        assert!(world.jobs[0].token().is_cancelled());
        assert_eq!((world.instance.status, world.ending), (WorkflowStatus::Terminated, Some(ending)));
        assert_eq!(world.pointer("a").status, PointerStatus::Cancelled);
        assert!(world.commits.last().unwrap().release);
    }
}

#[test]
fn a_request_after_the_end_changes_nothing() {
    let mut world = World::new(&two_steps(), &0_u32);
    world.play();
    let before = world.instance.clone();
    world.ask(Control::Terminate);
    assert_eq!((world.instance, world.ending), (before, Some(Ending::Completed)));
}

#[test]
fn requests_work_on_a_sleeping_instance_and_a_resumed_one_keeps_its_pause() {
    let definition = WorkflowBuilder::<u32>::new("w", 1)
        .then("a", async |_, _| Err::<(), _>(StepError::retryable("no")))
        .retry(Retry::exponential().attempts(2).initial(Duration::from_mins(1)).jitter(0.0))
        .build()
        .unwrap();
    let mut world = World::new(&definition, &0_u32);
    let start = world.now;
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    let due = world.instance.next_execution;
    world.ask(Control::Suspend);
    assert_eq!(world.instance.next_execution, None);
    assert!(world.run.is_none());
    world.pass(Duration::from_secs(20));
    world.ask(Control::Resume);
    assert_eq!(world.instance.next_execution, due);
    world.play();
    assert_eq!(world.now, start + Duration::from_mins(1));
    assert_eq!(world.ending, Some(Ending::Failed));
}
