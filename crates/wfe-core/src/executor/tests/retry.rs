use std::time::Duration;

use super::world::World;
use crate::{
    definition::{Definition, OnFailure, Retry, WorkflowBuilder},
    models::{PointerStatus, WorkflowStatus},
    steps::StepError,
    traits::{Control, Ending},
};

/// A definition with a step that fails in its first `failures` attempts.
fn failing(failures: u32, attempts: u32, then: OnFailure) -> Definition<u32> {
    WorkflowBuilder::<u32>::new("w", 1)
        .then(
            "flaky",
            async move |ctx, _| {
                if ctx.attempt() > failures { Ok(()) } else { Err(std::io::Error::other("no luck"))? }
            },
        )
        .retry(Retry::exponential().attempts(attempts).initial(Duration::from_secs(10)).jitter(0.5))
        .on_failure(then)
        .then("after", async |_, _| Ok(()))
        .build()
        .unwrap()
}

#[test]
fn a_failed_step_sleeps_is_tried_again_and_every_failure_is_stored() {
    let mut world = World::new(&failing(2, 6, OnFailure::Fail), &0_u32);
    let start = world.now;
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert!(world.run.is_none(), "an instance that only sleeps has no owner");
    assert_eq!(world.pointer("flaky").status, PointerStatus::Sleeping);
    let due = start + Duration::from_secs(10);
    assert_eq!(world.pointer("flaky").sleep_until, Some(due));
    assert_eq!(world.instance.next_execution, Some(due.timestamp_millis()));
    world.play();
    assert_eq!(world.instance.status, WorkflowStatus::Complete);
    assert_eq!(world.now, start + Duration::from_secs(30));
    let attempts: Vec<_> = world.failures.iter().map(|f| (f.attempt, f.error.message.as_str())).collect();
    assert_eq!(attempts, [(1, "no luck"), (2, "no luck")]);
}

#[test]
fn jitter_comes_from_the_injected_random_numbers() {
    let mut world = World::new(&failing(1, 2, OnFailure::Fail), &0_u32);
    world.random = Box::new(|| 0.4);
    let start = world.now;
    world.play();
    assert_eq!(world.now, start + Duration::from_secs(8));
}

#[test]
fn when_all_retries_failed_the_instance_ends_as_failed_with_the_cause() {
    let mut world = World::new(&failing(9, 3, OnFailure::Fail), &0_u32);
    world.play();
    assert_eq!((world.instance.status, world.ending), (WorkflowStatus::Terminated, Some(Ending::Failed)));
    let cause = world.cause.unwrap();
    assert_eq!((cause.step.as_str(), cause.attempt), ("flaky", 3));
    assert_eq!(world.failures.len(), 3);
}

#[test]
fn with_continue_the_error_is_the_outcome_and_the_next_step_runs() {
    let mut world = World::new(&failing(9, 1, OnFailure::Continue), &0_u32);
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.pointer("flaky").status, PointerStatus::Failed);
    assert_eq!(world.pointer("flaky").outcome.as_ref().unwrap()["causes"][0], "no luck");
    assert_eq!(world.pointer("after").status, PointerStatus::Complete);
}

#[test]
fn with_suspend_the_instance_waits_for_a_resume_and_then_has_all_its_retries_again() {
    let mut world = World::new(&failing(3, 2, OnFailure::Suspend), &0_u32);
    world.play();
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    assert_eq!(world.cause.as_ref().unwrap().attempt, 2);
    assert_eq!(world.instance.next_execution, None);
    world.ask(Control::Resume);
    assert!(world.cause.is_none());
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.failures.iter().map(|f| f.attempt).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_fatal_error_and_a_refused_one_are_not_tried_again() {
    for refused in [false, true] {
        let retry =
            Retry::exponential().attempts(6).only_if(move |error| !refused || error.code() != "refused");
        let definition = WorkflowBuilder::<u32>::new("w", 1)
            .call("a", move |_, _| {
                let error = if refused { StepError::retryable("no") } else { StepError::fatal("no") };
                Err::<(), _>(error.with_code("refused"))
            })
            .retry(retry)
            .build()
            .unwrap();
        let mut world = World::new(&definition, &0_u32);
        world.play();
        assert_eq!((world.ending, world.failures.len()), (Some(Ending::Failed), 1));
    }
}

#[test]
fn a_panicking_body_is_a_failure_with_the_code_panic() {
    let definition = WorkflowBuilder::<u32>::new("w", 1)
        .then("a", async |ctx, _| {
            assert!(ctx.attempt() > 1, "not at first");
            Ok(())
        })
        .retry(Retry::exponential().attempts(2))
        .build()
        .unwrap();
    let mut world = World::new(&definition, &0_u32);
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.failures[0].code, "panic");
    assert_eq!(world.failures[0].error.message, "the step panicked: not at first");
}
