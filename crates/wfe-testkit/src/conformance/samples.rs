//! Values of the models for the cases: minimal values, and values in which every field is filled.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use wfe_core::{
    clock::Clock,
    models::{
        Event, EventSubscription, ExecutionError, ExecutionPointer, PointerStatus, WorkflowInstance,
        WorkflowStatus,
    },
    traits::{Consumed, StepCommit, StepFailure},
};

use crate::VirtualClock;

/// The id of the definition that every minimal instance runs. Its version is 1.
pub(super) const DEFINITION: &str = "ship-order";

pub(super) fn definitions() -> Vec<(String, u32)> {
    vec![(DEFINITION.to_owned(), 1)]
}

/// The time that is this many seconds after the initial time of a case's clock.
pub(super) fn second(seconds: i64) -> DateTime<Utc> {
    VirtualClock::default().now() + TimeDelta::seconds(seconds)
}

/// Like `second`, but in milliseconds since the Unix epoch.
pub(super) fn second_ms(seconds: i64) -> i64 {
    second(seconds).timestamp_millis()
}

/// A runnable instance that is due now and has no pointers. Its name equals its id.
pub(super) fn instance(id: &str) -> WorkflowInstance {
    let mut instance = WorkflowInstance::new(DEFINITION, 1, json!({ "of": id }));
    id.clone_into(&mut instance.id);
    id.clone_into(&mut instance.name);
    instance.create_time = second(0);
    instance
}

/// Like `instance`, but not scheduled: only an event or a request wakes it.
pub(super) fn parked(id: &str) -> WorkflowInstance {
    WorkflowInstance { next_execution: None, ..instance(id) }
}

/// Like `instance`, but with pointers that have these ids.
pub(super) fn instance_with(id: &str, pointers: &[&str]) -> WorkflowInstance {
    WorkflowInstance { execution_pointers: pointers.iter().map(|id| pointer(id)).collect(), ..instance(id) }
}

pub(super) fn pointer(id: &str) -> ExecutionPointer {
    let mut pointer = ExecutionPointer::new(0);
    id.clone_into(&mut pointer.id);
    pointer
}

/// A finished pointer inside these containers, of which the outermost comes first.
pub(super) fn finished_pointer(id: &str, scope: &[&str]) -> ExecutionPointer {
    ExecutionPointer {
        active: false,
        status: PointerStatus::Complete,
        start_time: Some(second(1)),
        end_time: Some(second(2)),
        outcome: Some(json!(id)),
        scope: texts(scope),
        ..pointer(id)
    }
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// A pointer with every field filled. A different `tag` gives different values.
pub(super) fn full_pointer(id: &str, tag: u32) -> ExecutionPointer {
    let time = |offset: i64| Some(second(offset) + TimeDelta::nanoseconds(i64::from(tag) + 1));
    ExecutionPointer {
        id: id.to_owned(),
        step_id: tag as usize + 7,
        active: tag.is_multiple_of(2),
        status: PointerStatus::Sleeping,
        sleep_until: time(1),
        persistence_data: Some(json!({ "kept": tag })),
        start_time: time(2),
        end_time: time(3),
        event_name: Some(format!("event {tag}")),
        event_key: Some(format!("key {tag}")),
        event_published: tag.is_multiple_of(2),
        event_data: Some(json!([tag, null, "x"])),
        step_name: Some(format!("step {tag}")),
        retry_count: tag + 3,
        children: vec![format!("c{tag}"), "b".to_owned(), "a".to_owned()],
        context_item: Some(json!(tag)),
        predecessor_id: Some(format!("before {tag}")),
        outcome: Some(json!({ "deep": [{ "er": tag }] })),
        scope: vec![format!("outer {tag}"), "inner".to_owned()],
        extension_attributes: [("a".to_owned(), json!(tag)), ("b".to_owned(), Value::Null)].into(),
    }
}

/// An instance in which every field is filled, with three pointers. A different `tag` gives different values.
pub(super) fn full_instance(id: &str, tag: u32) -> WorkflowInstance {
    WorkflowInstance {
        id: id.to_owned(),
        name: format!("name {tag} of {id}"),
        root_workflow_id: Some(format!("root {tag}")),
        workflow_definition_id: format!("definition {tag}"),
        version: tag + 2,
        description: Some(format!("description {tag}")),
        reference: Some(format!("reference {tag}")),
        execution_pointers: ["z", "m", "a"].map(|id| full_pointer(id, tag)).into(),
        next_execution: Some(i64::from(tag) + 12_345),
        status: WorkflowStatus::Suspended,
        data: json!({ "tag": tag, "list": [1, 2.5, "three", null, true] }),
        create_time: second(0) + TimeDelta::nanoseconds(i64::from(tag)),
        complete_time: Some(second(9) + TimeDelta::nanoseconds(i64::from(tag))),
    }
}

pub(super) fn event(id: &str, name: &str, key: &str, time: DateTime<Utc>) -> Event {
    Event { id: id.to_owned(), event_time: time, ..Event::new(name, key, json!({ "of": id })) }
}

/// An open subscription that belongs to the pointer `p` of an instance.
pub(super) fn wait(
    id: &str,
    workflow: &str,
    name: &str,
    key: &str,
    as_of: DateTime<Utc>,
) -> EventSubscription {
    EventSubscription { id: id.to_owned(), ..EventSubscription::new(workflow, 1, "p", name, key, as_of) }
}

/// A subscription with every field filled.
pub(super) fn full_wait(id: &str) -> EventSubscription {
    EventSubscription {
        step_id: 5,
        subscription_data: Some(json!({ "left": [null] })),
        external_token: Some("token".to_owned()),
        external_worker_id: Some("worker".to_owned()),
        external_token_expiry: Some(second(60) + TimeDelta::nanoseconds(1)),
        ..wait(id, "unknown instance", "name", "key", second(0) + TimeDelta::nanoseconds(7))
    }
}

pub(super) fn failure(workflow: &str, message: &str) -> StepFailure {
    StepFailure {
        error: ExecutionError {
            error_time: second(1) + TimeDelta::nanoseconds(1),
            ..ExecutionError::new(workflow, "p", message)
        },
        step: "charge".to_owned(),
        attempt: 3,
        code: "declined".to_owned(),
        causes: texts(&[message, "the card is blocked"]),
    }
}

/// A commit that changes nothing in an instance.
pub(super) fn commit(id: &str) -> StepCommit {
    StepCommit { instance_id: id.to_owned(), ..StepCommit::default() }
}

pub(super) fn consumed(subscription: &str, event: &str) -> Consumed {
    Consumed { subscription_id: subscription.to_owned(), event_id: event.to_owned() }
}
