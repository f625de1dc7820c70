//! What a saga has done, and how it is undone.
//!
//! Each completed step that has a compensation gets an entry in the log of the outermost saga around it: the order of
//! completion over everything inside, however deep and however parallel. The log is as long as it wants: an entry is
//! stored like an item, and read when its turn comes, the last one first. A saga inside another one is undone by the
//! entries that lie below it.
//!
//! Only what is below the saga in the same round is in its part of the log; what was undone is marked so in the commit in
//! which its compensation ended, and is never undone again. What has to end before that is in [`awaiting`](super::awaiting).

use serde_json::Value;

use super::{
    log::Entry,
    state::{Compensating, Why},
};
use crate::{
    Result, WfeError,
    executor::run::{Env, Run},
    models::{PointerChange, attributes, pointer_id},
    program::Branch,
    redact,
    steps::StepError,
    traits::{Ending, StepFailure},
};

impl Run {
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
