//! The data that the engine stores in the extension attributes of pointers.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wfe_core::{
    Result, WfeError,
    models::{ExecutionPointer, WorkflowInstance},
    redact,
    traits::{Ending, Finished, StepCommit, StepFailure, StoredFailure},
};

/// The attribute that stores the items of a container.
const ITEMS: &str = "wfe.items";
/// The attribute that stores the finished pointers of a container, in the order in which they finished. The
/// position of a pointer in this list, counted from 1, is its completion number.
const HISTORY: &str = "wfe.history";
/// The attribute that stores how and why the instance ended. The instance's first pointer has this attribute.
const END: &str = "wfe.end";

/// The attribute that stores the attributes of the instance. The first pointer of the live instance has this attribute.
const ATTRIBUTES: &str = "wfe.attributes";

/// The first part of the name of an attribute that stores items without a live pointer of their own. The
/// second part is the name of the items. The attribute belongs to the live pointer whose path is the longest prefix of
/// this name.
const BELOW: &str = "wfe.below:";

fn is_private(key: &str) -> bool {
    [ITEMS, HISTORY, END, ATTRIBUTES].contains(&key) || key.starts_with(BELOW)
}

#[derive(Serialize, Deserialize)]
struct End {
    ending: Option<Ending>,
    cause: Option<StoredFailure>,
}

/// Applies a commit to the instance.
pub(in crate::store::base_traits) fn apply(instance: &mut WorkflowInstance, step: &StepCommit) -> Result<()> {
    if let Some(next) = step.next_execution {
        instance.next_execution = next;
    }
    if let Some(data) = &step.data {
        instance.data = data.clone();
    }
    instance.complete_time = step.complete_time.or(instance.complete_time);
    let pointers = &mut instance.execution_pointers;
    // The pointer that has them may leave the live instance.
    let kept = pointers.iter_mut().find_map(|pointer| pointer.extension_attributes.remove(ATTRIBUTES));
    let places: HashMap<String, usize> =
        pointers.iter().enumerate().map(|(at, pointer)| (pointer.id.clone(), at)).collect();
    for pointer in &step.upserted {
        match places.get(&pointer.id) {
            Some(&at) => pointers[at] = with_private(pointer, &mut pointers[at]),
            None => pointers.push(pointer.clone()),
        }
    }
    for items in &step.items {
        let (holder, key) = place(pointers, &items.container).ok_or_else(|| missing(&items.container))?;
        pointers[holder].extension_attributes.insert(key, items.values.clone().into());
    }
    for pointer in &step.finished {
        let at = pointers.iter().position(|p| p.id == pointer.id);
        // A pointer that was created and finished between two commits was never stored as a live pointer.
        let pointer = match at {
            Some(at) => with_private(pointer, &mut pointers.remove(at)),
            None => pointer.clone(),
        };
        let container = match pointer.scope.last() {
            Some(container) => find_mut(pointers, container)?,
            None => pointers.first_mut().ok_or_else(|| missing("the first pointer"))?,
        };
        let row = serde_json::to_value(pointer)?;
        let history =
            container.extension_attributes.entry(HISTORY.to_owned()).or_insert_with(|| Value::Array(vec![]));
        if let Value::Array(rows) = history {
            rows.push(row);
        }
    }
    if let Some(status) = step.status {
        instance.status = status;
        let end =
            serde_json::to_value(End { ending: step.ending, cause: step.cause.clone().map(StoredFailure) })?;
        let first = pointers.first_mut().ok_or_else(|| missing("the first pointer"))?;
        first.extension_attributes.insert(END.to_owned(), end);
    }
    if let Some(attributes) = step.attributes.clone().map(Value::Object).or(kept) {
        let first = pointers.first_mut().ok_or_else(|| missing("the first pointer"))?;
        first.extension_attributes.insert(ATTRIBUTES.to_owned(), attributes);
    }
    Ok(())
}

/// The attributes of the instance.
pub(in crate::store::base_traits) fn of_instance(instance: &WorkflowInstance) -> Result<Map<String, Value>> {
    let mut pointers = instance.execution_pointers.iter();
    match pointers.find_map(|pointer| pointer.extension_attributes.get(ATTRIBUTES)) {
        None => Ok(Map::new()),
        Some(stored) => {
            Map::deserialize(stored).map_err(|error| corrupt(instance.id.clone(), ATTRIBUTES, error))
        }
    }
}

/// Removes the private attributes from a loaded instance. Returns how the instance ended, and the cause of its
/// end or suspension.
pub(in crate::store::base_traits) fn take_end(
    instance: &mut WorkflowInstance,
) -> Result<(Option<Ending>, Option<StepFailure>)> {
    let first = instance.execution_pointers.first();
    let end = match first.and_then(|first| first.extension_attributes.get(END)) {
        None => End { ending: None, cause: None },
        Some(end) => End::deserialize(end).map_err(|error| corrupt(instance.id.clone(), END, error))?,
    };
    for pointer in &mut instance.execution_pointers {
        pointer.extension_attributes.retain(|key, _| !is_private(key));
    }
    Ok((end.ending, end.cause.map(|cause| cause.0)))
}

pub(in crate::store::base_traits) fn history(
    instance: &WorkflowInstance,
    container: &str,
    after: u64,
    limit: usize,
) -> Vec<(u64, Result<Finished>)> {
    let Some(Value::Array(rows)) = attribute(instance, container, HISTORY) else { return Vec::new() };
    let skip = usize::try_from(after).unwrap_or(usize::MAX);
    let page = (1..).zip(rows).skip(skip).take(limit);
    page.map(|(number, row)| {
        let pointer = serde_json::from_value(row)
            .map_err(|error| corrupt(format!("{number} of {container} of {}", instance.id), HISTORY, error));
        (number, pointer.map(|pointer| Finished { number, pointer }))
    })
    .collect()
}

/// Returns the error for an attribute that does not decode.
fn corrupt(row: String, attribute: &str, error: serde_json::Error) -> WfeError {
    WfeError::Corrupt {
        table: "execution_pointers",
        column: "extension_attributes",
        row,
        message: format!("its attribute {attribute:?} does not decode"),
        source: Some(Box::new(redact(error))),
    }
}

pub(in crate::store::base_traits) fn items(
    instance: &WorkflowInstance,
    container: &str,
    from: u64,
    limit: usize,
) -> Vec<Value> {
    let found = match place(&instance.execution_pointers, container) {
        Some((at, key)) => instance.execution_pointers[at].extension_attributes.get(&key).cloned(),
        None => None,
    };
    let Some(Value::Array(items)) = found.or_else(|| attribute(instance, container, ITEMS)) else {
        return Vec::new();
    };
    items.into_iter().skip(usize::try_from(from).unwrap_or(usize::MAX)).take(limit).collect()
}

/// Returns the index of the live pointer in which items of this name are stored, and the key of their
/// attribute.
fn place(pointers: &[ExecutionPointer], name: &str) -> Option<(usize, String)> {
    let mut path = name;
    loop {
        if let Some(at) = pointers.iter().position(|p| p.id == path) {
            let key = if path == name { ITEMS.to_owned() } else { format!("{BELOW}{name}") };
            return Some((at, key));
        }
        path = path.rsplit_once('/')?.0;
    }
}

/// Returns an attribute of a live pointer, or of a pointer in the history of another pointer.
fn attribute(instance: &WorkflowInstance, pointer: &str, key: &str) -> Option<Value> {
    fn in_history(rows: &Value, pointer: &str, key: &str) -> Option<Value> {
        rows.as_array()?.iter().find_map(|row| {
            let attributes = row.get("extension_attributes")?;
            if row.get("id").and_then(Value::as_str) == Some(pointer) {
                return attributes.get(key).cloned();
            }
            in_history(attributes.get(HISTORY)?, pointer, key)
        })
    }
    let mut live = instance.execution_pointers.iter();
    live.find_map(|p| {
        if p.id == pointer {
            return p.extension_attributes.get(key).cloned();
        }
        in_history(p.extension_attributes.get(HISTORY)?, pointer, key)
    })
}

/// Returns the engine's pointer together with the private attributes of the stored pointer.
fn with_private(pointer: &ExecutionPointer, stored: &mut ExecutionPointer) -> ExecutionPointer {
    let mut pointer = pointer.clone();
    let private =
        std::mem::take(&mut stored.extension_attributes).into_iter().filter(|(key, _)| is_private(key));
    pointer.extension_attributes.extend(private);
    pointer
}

fn find_mut<'p>(pointers: &'p mut [ExecutionPointer], id: &str) -> Result<&'p mut ExecutionPointer> {
    pointers.iter_mut().find(|p| p.id == id).ok_or_else(|| missing(id))
}

fn missing(id: &str) -> WfeError {
    WfeError::Invalid(format!("the stored instance has no pointer {id:?}"))
}
