//! Attributes that bodies set.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    scenario::{Builder, begin, line, mark, world},
    world::World,
};
use crate::{
    definition::{OnFailure, Retry},
    limits::MOST_ATTRIBUTES,
    models::WorkflowStatus,
    steps::{Next, StepError},
    traits::Ending,
};

fn played<L>(builder: Builder<L>) -> World {
    let mut world = world(builder);
    world.open();
    world.play();
    world
}

/// What each commit stores of the attributes.
fn stored(world: &World) -> Vec<Option<Value>> {
    world.commits.iter().map(|commit| commit.attributes.clone().map(Value::Object)).collect()
}

#[test]
fn attributes_are_stored_with_the_result_of_the_body_and_only_if_they_change() {
    let world = played(
        begin()
            .then("set", async |ctx, _| {
                ctx.set_attribute("a", "text")?;
                ctx.set_attribute("b", 1)
            })
            .step("other", mark("other"))
            .then("same", async |ctx, _| {
                assert_eq!(ctx.attribute("b"), Some(json!(1)));
                ctx.set_attribute("b", 1)
            })
            .then("change", async |ctx, _| {
                ctx.set_attribute("a", Value::Null)?;
                ctx.set_attribute("c", true)?;
                assert_eq!((ctx.attribute("a"), ctx.attribute("c")), (None, Some(json!(true))));
                Ok(())
            }),
    );
    assert_eq!(world.ending, Some(Ending::Completed));
    let stored = stored(&world);
    let changes: Vec<_> = stored.iter().flatten().collect();
    assert_eq!(changes, [&json!({"a": "text", "b": 1}), &json!({"b": 1, "c": true})]);
    assert_eq!(Value::from(world.attributes.clone()), json!({"b": 1, "c": true}));
    // A commit stores them with the result that set them.
    let with_set = world.commits.iter().position(|commit| commit.attributes.is_some()).unwrap();
    let done = |commit: &crate::traits::StepCommit| {
        let pointers = commit.upserted.iter().chain(&commit.finished);
        pointers.filter(|p| p.status.is_final()).map(|p| p.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(done(&world.commits[with_set]), ["set"]);
}

#[test]
fn an_attempt_that_fails_sets_no_attribute_and_one_that_sleeps_does() {
    let world = played(
        begin()
            .then("again", async |ctx, _| {
                ctx.set_attribute("attempt", ctx.attempt())?;
                match (ctx.attempt(), ctx.state::<bool>()?) {
                    (1, _) => Err(StepError::retryable("not yet")),
                    (_, None) => Next::sleep(Duration::from_mins(1)).keeping(&true),
                    _ => Ok(Next::Done),
                }
            })
            .retry(Retry::every(Duration::from_secs(1)).attempts(2)),
    );
    assert_eq!(world.ending, Some(Ending::Completed));
    let stored = stored(&world);
    assert_eq!(stored.iter().flatten().collect::<Vec<_>>(), [&json!({"attempt": 2})]);
}

#[test]
fn branches_set_attributes_one_after_the_other_and_none_is_lost() {
    let world = played(begin().parallel("both", |both| {
        both.branch(|one| one.then("one", async |ctx, _| ctx.set_attribute("one", 1)))
            .branch(|other| other.then("other", async |ctx, _| ctx.set_attribute("other", 2)))
    }));
    assert_eq!(Value::from(world.attributes.clone()), json!({"one": 1, "other": 2}));
}

#[test]
fn a_step_that_sets_too_many_attributes_fails_and_sets_none() {
    let world = played(
        begin()
            .then("many", async |ctx, _| {
                (0..=MOST_ATTRIBUTES).try_for_each(|n| ctx.set_attribute(n.to_string(), true))
            })
            .on_failure(OnFailure::Continue)
            .step("after", mark("after")),
    );
    assert_eq!((world.ending, &*line(&world)), (Some(Ending::Completed), "after"));
    assert!(world.attributes.is_empty() && world.failures.len() == 1, "{:?}", world.failures);
    assert_eq!(world.instance.status, WorkflowStatus::Complete);
}

#[test]
fn a_step_whose_output_fails_sets_no_attribute() {
    let world = played(
        begin()
            .then("fails", async |ctx, _| ctx.set_attribute("a", 1))
            .output(|(), _| panic!("meant to happen"))
            .on_failure(OnFailure::Continue),
    );
    assert!(world.attributes.is_empty() && world.failures.len() == 1);
}
