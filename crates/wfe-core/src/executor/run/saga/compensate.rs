//! What a saga has done, and how it is undone.
//!
//! Each completed step that has a compensation gets an entry in the log of the outermost saga around it: the order of
//! completion over everything inside, however deep and however parallel. The log is as long as it wants: an entry is
//! stored like an item, and read when its turn comes, the last one first. A saga inside another one is undone by the
//! entries that lie below it.
//!
//! Only what is below the saga in the same round is in its part of the log; what was undone is marked so in the commit in
//! which its compensation ended, and is never undone again. What has to end before that is in [`awaiting`](super::awaiting).

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Result, WfeError,
    executor::{
        Kept, Spoilt,
        run::{Env, Run},
    },
    models::{ExecutionPointer, PointerChange, PointerStatus, attributes, pointer_id},
    program::Branch,
    redact,
    steps::{Compensated, StepError},
    traits::{Ending, StepFailure},
};

/// What the pointer of a saga keeps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::executor) struct SagaState {
    /// Which round this is, from 1.
    pub round: u32,
    /// How long the log was when the round began.
    from: u64,
    /// Of an outermost saga: how long the log is.
    pub log: u64,
    /// Of an outermost saga: entries whose compensation was cut short, and the step at which it stood.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut_short: BTreeMap<u64, String>,
    /// It is being undone.
    #[serde(rename = "undoing")]
    pub compensating: Option<Compensating>,
}

impl SagaState {
    /// While entries of its log are still to be undone, no pointer of its need be at work.
    pub fn check(&self) -> std::result::Result<Kept, Spoilt> {
        match &self.compensating {
            None => Ok(Kept::Waits),
            Some(compensating) if compensating.next < self.from => Err(Spoilt::Impossible),
            Some(compensating) => Ok(Kept::goes_on_if(compensating.next > self.from)),
        }
    }
}

/// How far a saga is undone.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::executor) struct Compensating {
    /// The entries below this number are still to be looked at.
    pub next: u64,
    /// What is being undone now: the pointer, and whether it stands for what is below it.
    pub current: Option<(String, Option<u64>)>,
    /// Entries below these paths and not below these numbers are undone by the container that stands for them.
    covered: Vec<(String, u64)>,
    /// Why. `None`: the saga was cancelled, by its condition or with the instance.
    why: Option<Why>,
    /// How the instance ends when all is undone; `None`: it goes on.
    end: Option<(Ending, Option<StepFailure>)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Why {
    failure: StepFailure,
    retryable: bool,
    /// The pause before the next round; `None`: there is none.
    pause: Option<Duration>,
}

/// One completed step.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    step: Compensated,
    #[serde(default, with = "crate::limits::inside::optional")]
    item: Option<Value>,
    /// Of a container: how long the log was when it began. It stands for what is below it.
    since: Option<u64>,
    /// It has been compensated.
    #[serde(rename = "undone")]
    is_compensated: bool,
}

impl Run {
    /// The sagas around a pointer, innermost first: those that undo what it does. One that is just being undone, and of
    /// whose undoing the pointer is a part, is none of them, nor is one that was undone and in whose fallback it is.
    pub(in crate::executor) fn sagas_around(&self, at: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for container in self.pointers.get(at)?.scope.iter().rev() {
            let branch = pointer_id::branch_key(container, at);
            if pointer_id::is_compensation(branch) {
                break;
            }
            if branch != pointer_id::FALLBACK && self.node_of(container)?.verb.is_saga() {
                found.push(container.clone());
            }
        }
        Ok(found)
    }

    /// The saga whose log holds what is done inside of `saga`.
    pub(super) fn root_of(&self, saga: &str) -> Result<String> {
        Ok(self.sagas_around(saga)?.pop().unwrap_or_else(|| saga.to_owned()))
    }

    pub(super) fn saga_state(&self, saga: &str) -> Result<SagaState> {
        match &self.pointers.get(saga)?.persistence_data {
            None => Ok(SagaState::default()),
            Some(kept) => Ok(SagaState::deserialize(kept)?),
        }
    }

    pub(super) fn keep_saga_state(&mut self, saga: &str, state: &SagaState) -> Result<()> {
        self.pointers.edit(saga)?.persistence_data = Some(serde_json::to_value(state)?);
        Ok(())
    }

    /// Whether there is anything that could be undone.
    pub(in crate::executor::run) fn is_open_saga(&self, at: &str) -> Result<bool> {
        Ok(self.pointers.get(at)?.status == PointerStatus::Running
            && self.saga_state(at)?.compensating.is_none()
            && !self.is_in_fallback(at)?)
    }

    /// A further round of the saga begins; gives its state.
    pub(in crate::executor) fn next_round(&mut self, saga: &str) -> Result<SagaState> {
        let mut state = self.saga_state(saga)?;
        let root = self.root_of(saga)?;
        state.round += 1;
        state.from = if root == saga { state.log } else { self.saga_state(&root)?.log };
        state.compensating = None;
        Ok(state)
    }

    /// A container that has a compensation of its own begins.
    pub(in crate::executor::run) fn note_log_start(&mut self, at: &str) -> Result<()> {
        if let Some(root) = self.sagas_around(at)?.pop() {
            let log = self.saga_state(&root)?.log;
            if !self.pointers.get(at)?.has(attributes::LOG_START) {
                self.pointers.edit(at)?.set(attributes::LOG_START, log);
            }
        }
        Ok(())
    }

    /// Notes with a pointer in a compensation what its key names: its place in the compensation of the outermost saga, which
    /// is the same whichever of the sagas around it does the undoing.
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

    /// A step that has a compensation has completed.
    pub(in crate::executor) fn log(&mut self, at: &str) -> Result<()> {
        let Some(root) = self.sagas_around(at)?.pop() else { return Ok(()) };
        let node = self.node_of(at)?;
        let has_state = node.verb.body().is_some() && node.branches.is_empty();
        let pointer = self.pointers.get(at)?;
        let entry = Entry {
            step: Compensated {
                step: pointer.step_name.clone().unwrap_or_default(),
                pointer: at.to_owned(),
                outcome: pointer.outcome.clone().or_else(|| pointer.event_data.clone()),
                state: pointer.persistence_data.clone().filter(|_| has_state),
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

    /// The entry of this pointer is undone, and never again.
    pub(super) fn mark_compensated(
        &mut self,
        root: &str,
        number: u64,
        pointer: String,
        since: Option<u64>,
    ) -> Result<()> {
        let step = Compensated { step: String::new(), pointer, outcome: None, state: None };
        self.put_entry(root, number, &Entry { step, item: None, since, is_compensated: true })
    }

    fn put_entry(&mut self, root: &str, number: u64, entry: &Entry) -> Result<()> {
        let (container, values) = (pointer_id::log_entry(root, number), vec![serde_json::to_value(entry)?]);
        self.saga_log.change(&container);
        self.pending.store_items(container, values);
        Ok(())
    }

    /// Something in the saga has failed for good.
    pub(in crate::executor::run) fn saga_failed(
        &mut self,
        saga: &str,
        failure: StepFailure,
        error: &StepError,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let policy = self.node_of(saga)?.policy.clone();
        let in_a_row = self.count_failure(saga)?;
        let pause = policy.retry.backoff(in_a_row, error, (env.random)());
        let why = Why { failure, retryable: error.is_retryable(), pause };
        self.begin_compensating(saga, Some(why), None, env)?;
        self.compensate_next(saga, env)
    }

    /// The cancel condition of the saga holds: it is undone, and the instance goes on behind it.
    pub(in crate::executor::run) fn cancel_saga(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        self.begin_compensating(saga, None, None, env)?;
        self.compensate_next(saga, env)
    }

    /// The saga ends the instance when it is undone.
    pub(super) fn compensate_then_end(
        &mut self,
        saga: &str,
        ending: Ending,
        cause: Option<StepFailure>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let mut state = self.saga_state(saga)?;
        let end = Some((ending, cause));
        match &mut state.compensating {
            // It is on its way already: only what comes after that changes.
            Some(compensating) => compensating.end = end,
            None => return self.begin_compensating(saga, None, end, env),
        }
        self.keep_saga_state(saga, &state)
    }

    /// What is at work in the saga is taken away, but for compensations of sagas inside of it, and children, which are
    /// cancelled; [`compensate_next`](Self::compensate_next) begins with its last entry when those have ended.
    fn begin_compensating(
        &mut self,
        saga: &str,
        why: Option<Why>,
        end: Option<(Ending, Option<StepFailure>)>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        self.cancel_children_below(saga)?;
        let awaited = self.awaited_below(saga)?;
        if awaited.is_empty() {
            self.cancel_inside(saga, env)?;
        } else {
            self.cancel_all_but(saga, &awaited, env)?;
        }
        self.clear_timer(saga)?;
        let root = self.root_of(saga)?;
        let next = self.saga_state(&root)?.log;
        let mut state = self.saga_state(saga)?;
        state.compensating = Some(Compensating { next, current: None, covered: Vec::new(), why, end });
        self.keep_saga_state(saga, &state)
    }

    /// Looks at the entry before, if there is one.
    pub(super) fn compensate_next(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        if !self.awaited_below(saga)?.is_empty() {
            return Ok(()); // the last of them goes on here
        }
        let state = self.saga_state(saga)?;
        let next = state.compensating.as_ref().map_or(0, |compensating| compensating.next);
        if next <= state.from {
            return self.saga_compensated(saga, env);
        }
        self.request_entry(saga, next - 1)
    }

    fn request_entry(&mut self, saga: &str, number: u64) -> Result<()> {
        let container = pointer_id::log_entry(&self.root_of(saga)?, number);
        if self.saga_log.look(container.clone(), saga) {
            self.pending.request_items(container, 0, 1);
        }
        Ok(())
    }

    /// An entry that was asked for is here.
    pub(in crate::executor::run) fn entry_read(
        &mut self,
        container: &str,
        values: Vec<Value>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        if self.saga_log.came(container) {
            self.pending.request_items(container.to_owned(), 0, 1);
            return Ok(());
        }
        let entry = values.into_iter().next();
        // One after the other: what follows from the first may take the others away.
        while let Some(saga) = self.saga_log.next_saga(container) {
            let entry = entry.clone().ok_or_else(|| {
                self.corrupt_items(container, "the entry of a saga's log is missing".to_owned(), None)
            })?;
            let entry = serde_json::from_value(entry).map_err(|e| {
                let message = "the entry of a saga's log does not decode".to_owned();
                self.corrupt_items(container, message, Some(Box::new(redact(e))))
            })?;
            self.compensate_entry(&saga, entry, env)?;
        }
        Ok(())
    }

    /// A saga that was being undone was opened from the store.
    pub(in crate::executor) fn reopen_saga(&mut self, saga: &str) -> Result<()> {
        match self.saga_state(saga)?.compensating {
            // What undoes the current entry, and what is awaited, are pointers of their own.
            Some(Compensating { current: None, next, .. }) if self.awaited_below(saga)?.is_empty() => {
                self.request_entry(saga, next.saturating_sub(1))
            }
            _ => Ok(()),
        }
    }

    /// The entry that was wanted is here: it is undone, or passed over.
    fn compensate_entry(&mut self, saga: &str, entry: Entry, env: &mut Env<'_>) -> Result<()> {
        let mut state = self.saga_state(saga)?;
        let Some(compensating) = &mut state.compensating else { return Ok(()) };
        compensating.next -= 1;
        let number = compensating.next;
        compensating.covered.retain(|(_, since)| *since <= number);
        let path = &entry.step.pointer;
        let is_inside = pointer_id::is_inside(path, saga);
        let is_covered = compensating.covered.iter().any(|(covered, _)| path.starts_with(covered));
        if is_inside && !is_covered && !entry.is_compensated && self.lingers_within(path) {
            // Nothing has changed yet: the entry is read again when a body has ended.
            self.saga_log.hold(saga);
            return Ok(());
        }
        if let Some(since) = entry.since {
            compensating.covered.push((pointer_id::inside(path), since));
        }
        if !is_inside || is_covered || entry.is_compensated {
            self.keep_saga_state(saga, &state)?;
            return self.compensate_next(saga, env);
        }
        compensating.current = Some((entry.step.pointer.clone(), entry.since));
        self.keep_saga_state(saga, &state)?;
        let undo =
            self.definition.find(&entry.step.step).and_then(|node| node.compensation).ok_or_else(|| {
                WfeError::Invalid(format!(
                    "step {:?} is to be undone, but the definition has no compensation for it any more",
                    entry.step.step
                ))
            })?;
        let stood = self.take_cut_short(saga, number)?.and_then(|step| self.definition.find(&step));
        let undo = match stood {
            Some(node) if node.sequence == self.definition.node(undo.first).sequence => {
                Branch { first: node.index }
            }
            _ => undo,
        };
        let (undoes, item) = (serde_json::to_value(&entry.step)?, entry.item);
        self.begin_branch(saga, &pointer_id::compensation(number), undo, |pointer| {
            pointer.context_item = item;
            pointer.set(attributes::COMPENSATES, undoes);
        })
    }

    /// The compensation of the current entry has ended.
    pub(in crate::executor) fn entry_compensated(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        let mut state = self.saga_state(saga)?;
        let Some(compensating) = &mut state.compensating else { return Ok(()) };
        let number = compensating.next;
        if let Some((pointer, since)) = compensating.current.take() {
            self.keep_saga_state(saga, &state)?;
            let root = self.root_of(saga)?;
            self.mark_compensated(&root, number, pointer, since)?;
        }
        match self.compensating_saga_around(saga)? {
            Some(around) => self.pass_on(saga, &around, env),
            None => self.compensate_next(saga, env),
        }
    }

    /// Everything that the saga has done is undone.
    fn saga_compensated(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        let mut state = self.saga_state(saga)?;
        let Some(Compensating { why, end, .. }) = state.compensating.take() else { return Ok(()) };
        self.keep_saga_state(saga, &state)?;
        if let Some((ending, cause)) = end {
            let pointer = self.pointers.edit(saga)?;
            let failed = pointer.status.after(PointerChange::Fail)?;
            pointer.status = failed.after(PointerChange::Compensate)?;
            self.deactivate(saga, env)?;
            return self.end_after_compensation(ending, cause, env);
        }
        let Some(Why { failure, retryable, pause }) = why else {
            self.cancel(saga, env)?;
            return self.proceed(saga, env);
        };
        if let Some(pause) = pause {
            self.note_retried_for(saga, &failure)?;
            return self.sleep(saga, pause, env);
        }
        let error = StepError::from_causes(failure.code.clone(), failure.causes.clone(), retryable);
        self.fail_for_good(saga, failure, &error, env)
    }
}

/// The step that the pointer's compensation compensates; `None`: the pointer is in no compensation.
pub(in crate::executor::run) fn compensated_step(pointer: &ExecutionPointer) -> Option<&str> {
    pointer.attribute(attributes::COMPENSATES)?["step"].as_str()
}

/// The pointer of that step.
pub(in crate::executor::run) fn compensated_pointer(pointer: &ExecutionPointer) -> Option<&str> {
    pointer.attribute(attributes::COMPENSATES)?["pointer"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_stored_of_a_saga_keeps_its_names() {
        let compensating = Compensating {
            next: 3,
            current: Some(("saga/1/a".to_owned(), Some(2))),
            covered: vec![("saga/1/b/".to_owned(), 1)],
            why: None,
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
        let step =
            Compensated { step: "a".to_owned(), pointer: "saga/1/a".to_owned(), outcome: None, state: None };
        let entry = Entry { step, item: None, since: Some(1), is_compensated: true };
        let stored = json!({
            "step": "a", "pointer": "saga/1/a", "outcome": null, "state": null, "item": null, "since": 1, "undone": true,
        });
        assert_eq!(serde_json::to_value(entry).unwrap(), stored);
    }
}
