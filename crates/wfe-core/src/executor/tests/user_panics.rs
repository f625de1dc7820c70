//! Types of the program whose own code panics. Such a panic affects only the step.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::world::World;
use crate::{
    definition::{OnFailure, Retry, WorkflowBuilder},
    steps::StepError,
    traits::Ending,
};

#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Unspeakable {}

#[test]
fn an_error_that_cannot_be_displayed_fails_its_step_as_a_panic_does() {
    for (retryable, attempts) in [(true, 2), (false, 1)] {
        let definition = WorkflowBuilder::<u32>::new("w", 1)
            .then("a", async move |_, _| {
                let error =
                    if retryable { StepError::retryable(Unspeakable) } else { StepError::fatal(Unspeakable) };
                Err::<(), _>(error.with_code("mine"))
            })
            .retry(Retry::exponential().attempts(2))
            .on_failure(OnFailure::Continue)
            .build()
            .unwrap();
        let mut world = World::new(&definition, &0_u32);
        world.play();
        assert_eq!(world.ending, Some(Ending::Completed));
        let codes: Vec<_> = world.failures.iter().map(|failure| failure.code.as_str()).collect();
        assert_eq!(codes, vec![StepError::PANIC; attempts]);
        assert_eq!(world.failures[0].error.message, "the error's `Display` or `source` panicked: no words");
    }
}

/// A value whose destructor panics, unless the thread is already panicking.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Bomb {
    left: u32,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "bang");
    }
}

#[test]
fn data_that_panics_when_it_is_dropped_stops_nothing() {
    let definition = WorkflowBuilder::<Bomb>::new("w", 1)
        .then("a", async |_, _| Ok(1))
        .output(|n, bomb| bomb.left += n)
        .then("b", async |_, _| Ok(1))
        .output(|n, bomb| bomb.left += n)
        .build()
        .unwrap();
    let data = Bomb { left: 0 };
    let mut world = World::new(&definition, &data);
    std::mem::forget(data);
    world.play();
    assert_eq!((world.ending, world.failures.len()), (Some(Ending::Completed), 0));
    assert_eq!(world.instance.data, json!({ "left": 2 }));
}

#[test]
fn a_result_that_nobody_wants_any_more_and_that_panics_when_it_is_dropped_stops_nothing() {
    let definition = WorkflowBuilder::<u32>::new("w", 1)
        .then("slow", async |_, _| Ok(Some(Bomb { left: 1 })))
        .output(|bomb, sum| {
            *sum += bomb.as_ref().map_or(0, |bomb| bomb.left);
        })
        .timeout(Duration::from_secs(1))
        .on_failure(OnFailure::Continue)
        .then("after", async |_, _| Ok(()))
        .build()
        .unwrap();
    let mut world = World::new(&definition, &0_u32);
    world.open();
    let slow = world.jobs.remove(0);
    world.pass(Duration::from_secs(2));
    world.settle();
    assert_eq!(world.waiting(), ["after"]);
    world.finish(vec![slow]);
    world.play();
    assert_eq!((world.ending, world.instance.data.clone()), (Some(Ending::Completed), json!(0)));
    assert_eq!(world.failures[0].code, StepError::TIMEOUT);
}
