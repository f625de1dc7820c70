//! The log of a saga: the completed steps that can be compensated.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Result,
    executor::{
        idempotency_key,
        run::{Run, subscriptions::last_subscription},
    },
    models::{ExecutionPointer, PointerStatus, attributes, pointer_id},
    steps::{Compensated, ItemFailure, StepError},
};

/// What the compensation of a cancelled step sees as the failure of the step.
pub(in crate::executor::run) const CUT_SHORT: &str = "the step was cancelled before it completed";

/// An entry of the log: one completed step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub step: Compensated,
    #[serde(default, with = "crate::limits::inside::optional")]
    pub item: Option<Value>,
    /// The length of the log when the step began. Only the entry of a container has this value. When the container is
    /// compensated, the entries of the steps inside it are not compensated separately. These entries have this number
    /// or a higher one.
    pub since: Option<u64>,
    /// Whether the step has been compensated.
    #[serde(rename = "undone")]
    pub is_compensated: bool,
}

/// The entries and bodies that the sagas of an instance wait for while they are being compensated.
#[derive(Default)]
pub(in crate::executor::run) struct SagaLog {
    /// The requested entries. An entry is stored like an item of a for-each. Each key of this map is the name of the
    /// container under which the entry is stored.
    reading: HashMap<String, Reading>,
    /// The sagas that wait because a body of the step that they compensate next is still running.
    held: BTreeSet<String>,
}

/// An entry that is being read. At most one read of an entry is in progress, however many sagas wait for the entry.
#[derive(Debug, Default)]
struct Reading {
    /// The sagas that wait for the entry. If a saga is cancelled while it waits, it is removed from this set.
    sagas: BTreeSet<String>,
    /// Whether the entry was marked as compensated after it was requested. In this case, the read may return the entry
    /// without the mark.
    is_stale: bool,
}

impl SagaLog {
    /// Whether no entry is being read.
    pub fn is_idle(&self) -> bool {
        self.reading.is_empty()
    }

    /// Whether this entry is being read.
    pub fn reads(&self, entry: &str) -> bool {
        self.reading.contains_key(entry)
    }

    /// Notes that the saga waits for this entry. Returns `true` if the entry must be requested from the store.
    pub fn await_entry(&mut self, entry: String, saga: &str) -> bool {
        let is_new = !self.reads(&entry);
        self.reading.entry(entry).or_default().sagas.insert(saga.to_owned());
        is_new
    }

    /// Notes that the entry has changed. A read of the entry that is in progress may therefore return an older state.
    pub fn change(&mut self, entry: &str) {
        if let Some(reading) = self.reading.get_mut(entry) {
            reading.is_stale = true;
        }
    }

    /// Notes that the entry was read. Returns `true` if the entry must be requested again, because it has changed since
    /// the request.
    pub fn received(&mut self, entry: &str) -> bool {
        let Some(reading) = self.reading.get_mut(entry) else { return false };
        let is_again = reading.is_stale && !reading.sagas.is_empty();
        reading.is_stale &= !is_again;
        is_again
    }

    /// Removes and returns the next saga that waits for the entry. If no saga waits for the entry any more, returns
    /// `None` and removes the read.
    pub fn next_saga(&mut self, entry: &str) -> Option<String> {
        let saga = self.reading.get_mut(entry).and_then(|reading| reading.sagas.pop_first());
        if saga.is_none() {
            self.reading.remove(entry);
        }
        saga
    }

    /// Removes the saga, because it no longer waits for an entry or a body.
    pub fn forget(&mut self, saga: &str) {
        self.held.remove(saga);
        for reading in self.reading.values_mut() {
            reading.sagas.remove(saga);
        }
    }

    /// Forgets all reads.
    pub fn stop(&mut self) {
        self.reading.clear();
    }

    /// Delays the next compensation of the saga until a body has ended.
    pub fn hold(&mut self, saga: &str) {
        self.held.insert(saga.to_owned());
    }

    /// The sagas that wait because a body is still running.
    pub fn held(&self) -> impl Iterator<Item = &String> {
        self.held.iter()
    }

    /// Removes and returns the sagas that wait because a body is still running.
    pub fn take_held(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.held)
    }
}

impl Run {
    /// Stores the current length of the log with the pointer of a container that has a compensation. This function is
    /// called when the container begins.
    pub(in crate::executor::run) fn note_log_start(&mut self, at: &str) -> Result<()> {
        if let Some(root) = self.sagas_around(at)?.pop() {
            let log = self.saga_state(&root)?.log;
            if !self.pointers.get(at)?.has(attributes::LOG_START) {
                self.pointers.edit(at)?.set(attributes::LOG_START, log);
            }
        }
        Ok(())
    }

    /// Stores the path for the idempotency key in a pointer that belongs to a compensation. It is the path that the
    /// pointer would have if the outermost saga compensated the step. So the idempotency key is the same, whichever of
    /// the enclosing sagas compensates the step.
    pub(in crate::executor::run) fn note_key(&mut self, at: &str) -> Result<()> {
        for container in self.pointers.get(at)?.scope.iter().rev() {
            if pointer_id::is_compensation(pointer_id::branch_key(container, at)) {
                let root = self.sagas_around(container)?.pop().unwrap_or_else(|| container.clone());
                let named = format!("{root}{}", &at[container.len()..]);
                let pointer = self.pointers.edit_quietly(at)?;
                pointer.set(attributes::KEY, named);
                break;
            }
        }
        Ok(())
    }

    /// Adds an entry to the log, because a step that has a compensation has completed.
    pub(in crate::executor) fn log(&mut self, at: &str) -> Result<()> {
        self.add_entry(at, None)
    }

    /// Adds an entry to the log for a step that has begun and did not complete, if the step is compensated in this case
    /// too. A pointer has one entry at most.
    pub(in crate::executor::run) fn log_unfinished(&mut self, at: &str, failure: ItemFailure) -> Result<()> {
        if !self.node_of(at)?.compensates_unfinished || self.pointers.get(at)?.has(attributes::LOGGED) {
            return Ok(());
        }
        self.pointers.edit(at)?.set(attributes::LOGGED, true);
        self.add_entry(at, Some(failure))
    }

    /// Like [`log_unfinished`](Self::log_unfinished), for a step that neither completed nor failed for good. Called
    /// before the pointer is cancelled.
    pub(in crate::executor::run) fn log_cut_short(&mut self, at: &str, why: &str) -> Result<()> {
        // An instance that ends is not compensated any more. Its definition may not even have the step.
        if !self.status.is_final() && self.node_of(at)?.compensates_unfinished && self.has_begun(at)? {
            let attempts = self.pointers.get(at)?.retry_count;
            let (code, causes) = (StepError::CANCELLED.to_owned(), vec![why.to_owned()]);
            self.log_unfinished(at, ItemFailure { code, causes, attempts })?;
        }
        Ok(())
    }

    /// Adds the entries of the steps in `saga` that the failure of the pointer `failed` is about to cut short. So the
    /// entry of the failed step comes after them, and is compensated first. The containers around the failed step are
    /// left out: their compensations replace that of the failed step, so their entries come last.
    pub(in crate::executor::run) fn log_cut_short_beside(&mut self, saga: &str, failed: &str) -> Result<()> {
        for id in self.pointers.below(&pointer_id::inside(saga)) {
            let is_around = pointer_id::is_inside(failed, &id) || id == failed;
            // A child that is requested to cancel may complete nevertheless. So may the step then.
            if !is_around && self.pointers.get(&id)?.active && self.child_of(&id)?.is_none() {
                self.log_cut_short(&id, CUT_SHORT)?;
            }
        }
        Ok(())
    }

    /// Whether the step of the pointer has begun, or may have begun before a crash.
    fn has_begun(&self, at: &str) -> Result<bool> {
        let pointer = self.pointers.get(at)?;
        let subscription = last_subscription(&self.id, pointer);
        // A wait has a start, too, and has begun only when it is stored.
        let has_body = self.node_of(at)?.verb.body().is_some();
        Ok((has_body && pointer.start_time.is_some())
            || pointer.retry_count > 0
            || matches!(pointer.status, PointerStatus::Running | PointerStatus::Sleeping)
            || subscription.is_some_and(|wait| !self.pending.is_new_wait(&wait))
            || self.bodies.may_have_begun(at))
    }

    fn add_entry(&mut self, at: &str, failure: Option<ItemFailure>) -> Result<()> {
        let Some(root) = self.sagas_around(at)?.pop() else { return Ok(()) };
        self.note_key(at)?;
        let node = self.node_of(at)?;
        let has_state = node.verb.body().is_some() && node.branches.is_empty();
        let pointer = self.pointers.get(at)?;
        let entry = Entry {
            step: Compensated {
                step: pointer.step_name.clone().unwrap_or_default(),
                pointer: at.to_owned(),
                idempotency_key: idempotency_key(&self.id, pointer),
                outcome: pointer
                    .outcome
                    .clone()
                    .or_else(|| pointer.event_data.clone())
                    .filter(|_| failure.is_none()),
                state: pointer.persistence_data.clone().filter(|_| has_state),
                failure,
            },
            item: pointer.context_item.clone(),
            since: pointer.number(attributes::LOG_START),
            is_compensated: false,
        };
        let mut state = self.saga_state(&root)?;
        self.put_entry(&root, state.log, &entry)?;
        state.log += 1;
        self.keep_saga_state(&root, &state)
    }

    /// Marks the log entry of this pointer as compensated. An entry that is marked in this way is never compensated
    /// again.
    pub(super) fn mark_compensated(
        &mut self,
        root: &str,
        number: u64,
        pointer: String,
        since: Option<u64>,
    ) -> Result<()> {
        let step = Compensated { pointer, ..Compensated::default() };
        self.put_entry(root, number, &Entry { step, item: None, since, is_compensated: true })
    }

    fn put_entry(&mut self, root: &str, number: u64, entry: &Entry) -> Result<()> {
        let (container, values) = (pointer_id::log_entry(root, number), vec![serde_json::to_value(entry)?]);
        self.saga_log.change(&container);
        self.pending.store_items(container, values);
        Ok(())
    }

    /// Requests the entry for the saga, unless a read of the entry is already under way.
    pub(super) fn request_entry(&mut self, saga: &str, number: u64) -> Result<()> {
        let container = pointer_id::log_entry(&self.root_of(saga)?, number);
        if self.saga_log.await_entry(container.clone(), saga) {
            self.pending.request_items(container, 0, 1);
        }
        Ok(())
    }
}

/// If the pointer belongs to a compensation, returns the id of the step that is compensated. Otherwise, returns `None`.
pub(in crate::executor::run) fn compensated_step(pointer: &ExecutionPointer) -> Option<&str> {
    pointer.attribute(attributes::COMPENSATES)?["step"].as_str()
}

/// If the pointer belongs to a compensation, returns the pointer of the step that is compensated. Otherwise, returns
/// `None`.
pub(in crate::executor::run) fn compensated_pointer(pointer: &ExecutionPointer) -> Option<&str> {
    pointer.attribute(attributes::COMPENSATES)?["pointer"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        executor::run::saga::state::{Compensating, SagaState},
        traits::Ending,
    };

    #[test]
    fn what_is_stored_of_a_saga_keeps_its_names() {
        let compensating = Compensating {
            next: 3,
            current: Some(("saga/1/a".to_owned(), Some(2))),
            covered: vec![("saga/1/b/".to_owned(), 1)],
            why: None,
            has_begun: false,
            end: Some((Ending::Cancelled, None)),
        };
        let state = SagaState {
            round: 2,
            from: 1,
            log: 4,
            cut_short: [(1, "x".to_owned())].into(),
            compensating: Some(compensating),
        };
        let stored = json!({
            "round": 2, "from": 1, "log": 4, "cut_short": { "1": "x" },
            "undoing": {
                "next": 3, "current": ["saga/1/a", 2], "covered": [["saga/1/b/", 1]], "why": null,
                "end": ["Cancelled", null],
            },
        });
        assert_eq!(serde_json::to_value(state).unwrap(), stored);
        let (pointer, idempotency_key) = ("saga/1/a".to_owned(), "i/saga/1/a".to_owned());
        let step = Compensated { step: "a".to_owned(), pointer, idempotency_key, ..Compensated::default() };
        let entry = Entry { step, item: None, since: Some(1), is_compensated: true };
        let stored = json!({
            "step": "a", "pointer": "saga/1/a", "idempotency_key": "i/saga/1/a", "outcome": null, "state": null,
            "item": null, "since": 1, "undone": true,
        });
        assert_eq!(serde_json::to_value(entry).unwrap(), stored);
    }
}
