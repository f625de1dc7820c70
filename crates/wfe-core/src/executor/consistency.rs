//! What the rows of an instance show to be impossible, because rows were removed or changed behind the engine's back.
//! Going on from there could run steps again that have finished, leave some out, or wait for ever.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::{Kept, run::subscriptions};
use crate::{
    WfeError,
    definition::Definition,
    models::{EventSubscription, ExecutionPointer, PointerStatus, WorkflowStatus, attributes, pointer_id},
    traits::Loaded,
};

/// What cannot be about a stored instance that has not ended: a [`Corrupt`](WfeError::Corrupt) that names the place.
/// `None`: nothing. With its definition, more is found.
///
/// A host asks it before it [opens](super::Run::open) an instance, and before it answers how one stands. What the store
/// has to be asked besides are its [`lost_waits`].
#[must_use]
pub fn contradiction(loaded: &Loaded, definition: Option<&Definition>) -> Option<WfeError> {
    let instance = &loaded.instance;
    if instance.status.is_final() {
        return None;
    }
    let pointers = &instance.execution_pointers;
    let active: Vec<&ExecutionPointer> = pointers.iter().filter(|pointer| pointer.active).collect();
    if active.is_empty() && !pointers.is_empty() && definition.is_some_and(|d| !may_be_over(pointers, d)) {
        return Some(corrupt(
            "execution_pointers",
            "workflow",
            instance.id.clone(),
            "the instance is not over, but it stands at no step: rows of it are gone",
        ));
    }
    pointers
        .iter()
        .find_map(|pointer| impossible(&instance.id, pointer, definition))
        .or_else(|| gone(&instance.id, pointers, &active))
        .or_else(|| mistaken(loaded, &active))
        .or_else(|| unresumed(loaded, &active))
        .or_else(|| overlooked(loaded, &active))
}

/// A pointer in which one column contradicts another, so that nothing would ever go on at it, or something would twice.
fn impossible(
    instance: &str,
    pointer: &ExecutionPointer,
    definition: Option<&Definition>,
) -> Option<WfeError> {
    use PointerStatus as Is;
    let corrupt_in = |column, message: &str, source| {
        let row = format!("{} of {instance}", pointer.id);
        let message = message.to_owned();
        Some(WfeError::Corrupt { table: "execution_pointers", column, row, message, source })
    };
    let attributes = &pointer.extension_attributes;
    let is_spoilt = |(name, value): (&String, &Value)| match name.as_str() {
        attributes::SUBSCRIPTIONS | attributes::START | attributes::FORGIVEN | attributes::LOG_START => {
            !value.is_u64()
        }
        attributes::KIND | attributes::CHILD => !value.is_string(),
        _ => false,
    };
    if attributes.iter().any(is_spoilt) {
        return corrupt_in("extension_attributes", "what the engine keeps there is of another type", None);
    }
    if !pointer.active {
        if pointer.status.is_final() {
            return None;
        }
        return corrupt_in("active", "the step has not ended, but nothing is to go on at it", None);
    }
    // What a step keeps that has become another one is reported as what does not fit the definition.
    let has_state = pointer.status == Is::Running || pointer.persistence_data.is_some();
    let step = pointer.step_name.as_deref().filter(|_| has_state);
    let node = definition.zip(step).and_then(|(all, step)| all.find(step));
    let is_same = |kind| {
        attributes.get(attributes::KIND).is_some_and(|was| was == kind)
            && !attributes.contains_key(attributes::IN_FALLBACK)
    };
    let goes_on = match node.filter(|node| is_same(node.verb.kind())) {
        Some(node) => match node.verb.primitive().check_kept(pointer) {
            Ok(kept) => kept == Kept::GoesOn,
            Err(spoilt) => {
                let message = "it is not what such a step keeps";
                return corrupt_in("persistence_data", message, spoilt.into_source());
            }
        },
        None => pointer.persistence_data.is_some() || pointer.sleep_until.is_some(),
    };
    match pointer.status {
        Is::Complete | Is::Skipped | Is::Compensated | Is::Cancelled | Is::PendingPredecessor => {
            corrupt_in("status", "the step is one to go on at, but in this status nothing goes on", None)
        }
        Is::Sleeping if pointer.sleep_until.is_none() => {
            corrupt_in("sleep_until", "the step sleeps, but until no time", None)
        }
        Is::WaitingForEvent if !attributes.contains_key(attributes::SUBSCRIPTIONS) => {
            corrupt_in("status", "the step waits, but has never begun to", None)
        }
        Is::Running
            if attributes.get(attributes::KIND).is_none() || (pointer.children.is_empty() && !goes_on) =>
        {
            corrupt_in("status", "the step waits for what is inside of it, and nothing is", None)
        }
        Is::Pending | Is::Running | Is::Sleeping | Is::WaitingForEvent | Is::Failed => None,
    }
}

/// A wait that is not what the pointer that stands at it waits for.
fn mistaken(loaded: &Loaded, active: &[&ExecutionPointer]) -> Option<WfeError> {
    let mut waiting = active.iter().filter(|p| p.status == PointerStatus::WaitingForEvent).peekable();
    waiting.peek()?;
    let open: HashMap<&str, &EventSubscription> =
        loaded.waits.iter().map(|wait| (wait.id.as_str(), wait)).collect();
    waiting.find_map(|pointer| {
        let wait = open.get(subscriptions::last_subscription(&loaded.instance.id, pointer)?.as_str())?;
        let column = if wait.execution_pointer_id != pointer.id {
            "execution_pointer_id"
        } else if pointer.event_name.as_ref() != Some(&wait.event_name) {
            "event_name"
        } else if pointer.event_key.as_ref() != Some(&wait.event_key) {
            "event_key"
        } else {
            return None;
        };
        let message = format!("it is not what the pointer {:?} says that waits there", pointer.id);
        Some(corrupt("event_subscriptions", column, wait.id.clone(), &message))
    })
}

/// An instance that is not suspended, although a step of it stands failed until a caller resumes it: a resume would do
/// nothing.
fn unresumed(loaded: &Loaded, active: &[&ExecutionPointer]) -> Option<WfeError> {
    let instance = &loaded.instance;
    if instance.status != WorkflowStatus::Runnable {
        return None;
    }
    let failed = active.iter().find(|pointer| pointer.status == PointerStatus::Failed)?;
    let message = format!("it is not suspended, although {:?} has failed and waits for a resume", failed.id);
    Some(corrupt("workflows", "status", instance.id.clone(), &message))
}

/// The waits of its pointers that are not among its open ones. A wait that a caller closed by hand
/// ([`terminate_subscription`](crate::traits::SubscriptionRepository::terminate_subscription)) is opened again when the
/// instance is; anything else is a fault of the store's rows, which
/// [`StepStore::check_closed_waits`](crate::traits::StepStore::check_closed_waits) distinguishes.
#[must_use]
pub fn lost_waits(loaded: &Loaded) -> Vec<String> {
    let instance = &loaded.instance;
    let is_waiting = |p: &&ExecutionPointer| p.active && p.status == PointerStatus::WaitingForEvent;
    let mut waits: Vec<String> = Vec::new();
    if !instance.status.is_final() {
        let waiting = instance.execution_pointers.iter().filter(is_waiting);
        waits.extend(waiting.filter_map(|pointer| subscriptions::last_subscription(&instance.id, pointer)));
    }
    if !waits.is_empty() {
        let open: HashSet<&str> = loaded.waits.iter().map(|wait| wait.id.as_str()).collect();
        waits.retain(|wait| !open.contains(wait.as_str()));
    }
    waits
}

/// Whether the main path has come to an end, or a saga was undone, behind which the instance may end. A suspended
/// instance in which that has happened stands at no step, and ends when it is resumed.
fn may_be_over(pointers: &[ExecutionPointer], definition: &Definition) -> bool {
    let is_undone = |pointer: &ExecutionPointer| pointer.status == PointerStatus::Compensated;
    let ends_the_path = |pointer: &ExecutionPointer| {
        let node = pointer.step_name.as_deref().and_then(|step| definition.find(step));
        // A step that is gone from the definition says nothing.
        pointer.scope.is_empty() && node.is_none_or(|node| node.next.is_none())
    };
    pointers.iter().any(|pointer| is_undone(pointer) || ends_the_path(pointer))
}

/// A pointer without its container, or a container without a branch that it waits for.
fn gone(instance: &str, pointers: &[ExecutionPointer], active: &[&ExecutionPointer]) -> Option<WfeError> {
    let is_nested = active.iter().any(|pointer| !(pointer.scope.is_empty() && pointer.children.is_empty()));
    if !is_nested {
        return None;
    }
    let pointers: HashSet<&str> = pointers.iter().map(|pointer| pointer.id.as_str()).collect();
    let at_work: BTreeSet<&str> = active.iter().map(|pointer| pointer.id.as_str()).collect();
    let lost = |id: &str, why: &str| {
        Some(corrupt(
            "execution_pointers",
            "id",
            format!("{id} of {instance}"),
            &format!("the row is gone: {why}"),
        ))
    };
    for pointer in active {
        if let Some(container) =
            pointer.scope.last().filter(|container| !pointers.contains(container.as_str()))
        {
            return lost(container, &format!("{:?} is inside of it", pointer.id));
        }
        if pointer.status != PointerStatus::Running {
            continue;
        }
        for child in &pointer.children {
            let Some(path) = pointer_id::branch_path(&pointer.id, child) else { continue };
            let next = at_work.range(path..).next();
            if !next.is_some_and(|id| id.starts_with(path)) {
                return lost(child, &format!("{:?} waits for the end of its branch", pointer.id));
            }
        }
    }
    None
}

/// An instance that no host would ever look at again, although time alone has something for it to do.
fn overlooked(loaded: &Loaded, active: &[&ExecutionPointer]) -> Option<WfeError> {
    let instance = &loaded.instance;
    let is_looked_at = loaded.owner.is_some()
        || loaded.control.is_some()
        || instance.next_execution.is_some_and(|at| at != i64::MAX);
    if instance.status != WorkflowStatus::Runnable || is_looked_at {
        return None;
    }
    let is_due = |pointer: &&ExecutionPointer| match pointer.status {
        PointerStatus::Pending | PointerStatus::Sleeping => true,
        PointerStatus::WaitingForEvent | PointerStatus::Running => pointer.sleep_until.is_some(),
        _ => false,
    };
    // A deadline of the definition says nothing: it may have come with a new one of the same version.
    let due = active.iter().find(|pointer| is_due(pointer))?;
    Some(corrupt(
        "workflows",
        "next_execution",
        instance.id.clone(),
        &format!(
            "no host would look at the instance again, although {:?} is due by time: set it to 0",
            due.id
        ),
    ))
}

fn corrupt(table: &'static str, column: &'static str, row: String, message: &str) -> WfeError {
    WfeError::Corrupt { table, column, row, message: message.to_owned(), source: None }
}
