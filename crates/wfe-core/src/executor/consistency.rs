//! Finds contradictions in the stored rows of an instance. A contradiction means that something other than the engine
//! removed or changed rows. If the instance continued with contradictory rows, it could run finished steps again, skip
//! steps, or wait forever.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::{Kept, run::subscriptions};
use crate::{
    WfeError,
    definition::AnyDefinition,
    models::{EventSubscription, ExecutionPointer, PointerStatus, WorkflowStatus, attributes, pointer_id},
    traits::Loaded,
};

/// Looks for a contradiction in a stored instance that has not ended. Returns a [`Corrupt`](WfeError::Corrupt) that
/// names the row and the column, or `None` if there is no contradiction. If the caller passes the definition, more
/// contradictions can be found.
///
/// A host calls this function before it [opens](super::Run::open) an instance, and before it reports the status of an
/// instance. In addition, the host must query the store about the [`lost_waits`] of the instance.
#[must_use]
pub fn contradiction(loaded: &Loaded, definition: Option<&AnyDefinition>) -> Option<WfeError> {
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
            "the instance has not ended, but it has no active pointer: rows of it are missing",
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

/// Finds a contradiction between the columns of one pointer. With contradictory columns, the pointer would never
/// continue, or its work would be done twice.
fn impossible(
    instance: &str,
    pointer: &ExecutionPointer,
    definition: Option<&AnyDefinition>,
) -> Option<WfeError> {
    use PointerStatus as Is;
    let corrupt_in = |column, message: &str, source| {
        let row = format!("{} of {instance}", pointer.id);
        let message = message.to_owned();
        Some(WfeError::Corrupt { table: "execution_pointers", column, row, message, source })
    };
    let attributes = &pointer.extension_attributes;
    let is_spoilt = |(name, value): (&String, &Value)| match name.as_str() {
        attributes::SUBSCRIPTIONS
        | attributes::START
        | attributes::FORGIVEN
        | attributes::LOG_START
        | attributes::WINNER => !value.is_u64(),
        attributes::KIND | attributes::CHILD => !value.is_string(),
        _ => false,
    };
    if attributes.iter().any(is_spoilt) {
        return corrupt_in(
            "extension_attributes",
            "a value that the engine keeps there has the wrong type",
            None,
        );
    }
    if !pointer.active {
        if pointer.status.is_final() {
            return None;
        }
        return corrupt_in("active", "the step has not ended, but its pointer is not active", None);
    }
    // If the definition has changed the kind of the step, the state is reported as a mismatch with the definition, not
    // here.
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
                let message = "the state does not fit the kind of the step";
                return corrupt_in("persistence_data", message, spoilt.into_source());
            }
        },
        None => pointer.persistence_data.is_some() || pointer.sleep_until.is_some(),
    };
    match pointer.status {
        Is::Complete | Is::Skipped | Is::Compensated | Is::Cancelled | Is::PendingPredecessor => {
            corrupt_in("status", "the pointer is active, but no active pointer can have this status", None)
        }
        Is::Sleeping if pointer.sleep_until.is_none() => {
            corrupt_in("sleep_until", "the step sleeps, but has no time to wake up", None)
        }
        Is::WaitingForEvent if !attributes.contains_key(attributes::SUBSCRIPTIONS) => {
            corrupt_in("status", "the step waits for an event, but has never opened a wait", None)
        }
        Is::Running
            if attributes.get(attributes::KIND).is_none() || (pointer.children.is_empty() && !goes_on) =>
        {
            corrupt_in("status", "the step waits for its branches, but has none", None)
        }
        Is::Pending | Is::Running | Is::Sleeping | Is::WaitingForEvent | Is::Failed => None,
    }
}

/// Finds an open wait that does not match its pointer: the pointer's id, the event's name or the event's key differs.
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
        let message = format!("it differs from what the pointer {:?} waits for", pointer.id);
        Some(corrupt("event_subscriptions", column, wait.id.clone(), &message))
    })
}

/// Finds an instance that is not suspended, although one of its steps has failed and waits until a caller resumes the
/// instance. A resume would do nothing, because the instance is not suspended.
fn unresumed(loaded: &Loaded, active: &[&ExecutionPointer]) -> Option<WfeError> {
    let instance = &loaded.instance;
    if instance.status != WorkflowStatus::Runnable {
        return None;
    }
    let failed = active.iter().find(|pointer| pointer.status == PointerStatus::Failed)?;
    let message =
        format!("the instance is not suspended, although {:?} has failed and waits for a resume", failed.id);
    Some(corrupt("workflows", "status", instance.id.clone(), &message))
}

/// The ids of the lost waits: the instance's pointers need these waits, but the waits are not open in the store. If a
/// caller closed a wait explicitly
/// ([`terminate_subscription`](crate::traits::SubscriptionRepository::terminate_subscription)), the wait is opened
/// again when the instance is opened. Any other lost wait means that rows of the store are corrupt.
/// [`StepStore::check_closed_waits`](crate::traits::StepStore::check_closed_waits) checks whether a caller closed a
/// wait explicitly.
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

/// Whether the main path has ended or a saga was compensated. After either of them, the instance may end. If the
/// instance was suspended at that time, it has no active pointer, and ends when it is resumed.
fn may_be_over(pointers: &[ExecutionPointer], definition: &AnyDefinition) -> bool {
    let is_compensated = |pointer: &ExecutionPointer| pointer.status == PointerStatus::Compensated;
    let ends_the_path = |pointer: &ExecutionPointer| {
        let node = pointer.step_name.as_deref().and_then(|step| definition.find(step));
        let is_cancelled = pointer.status == PointerStatus::Cancelled;
        // A step that the definition no longer has proves nothing.
        pointer.scope.is_empty()
            && node.is_none_or(|node| node.next.is_none() || (is_cancelled && node.cancel_ends_branch()))
    };
    pointers.iter().any(|pointer| is_compensated(pointer) || ends_the_path(pointer))
}

/// Finds a pointer whose container is missing, or a container that waits for a missing branch.
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
            &format!("the row is missing: {why}"),
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

/// Finds an instance that no host would ever claim again, although one of its pointers needs nothing but time to
/// continue.
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
    // A deadline of the definition proves nothing: it may have been added by a new definition with the same version.
    let due = active.iter().find(|pointer| is_due(pointer))?;
    Some(corrupt(
        "workflows",
        "next_execution",
        instance.id.clone(),
        &format!(
            "no host would claim the instance again, although {:?} is due by time alone; set this column to 0",
            due.id
        ),
    ))
}

fn corrupt(table: &'static str, column: &'static str, row: String, message: &str) -> WfeError {
    WfeError::Corrupt { table, column, row, message: message.to_owned(), source: None }
}
