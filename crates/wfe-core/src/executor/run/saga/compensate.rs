//! The compensation of a saga.
//!
//! Each completed step that has a compensation gets an entry in the log of the outermost saga that encloses the step.
//! The log lists the steps in the order in which they completed, at all depths and in all parallel branches. Each entry
//! is stored like an item of a for-each, and is read only when it is the next entry to compensate. So the length of the
//! log need not be limited. The last entry is compensated first.
//!
//! A saga inside another saga has no log of its own. To compensate the inner saga, the engine compensates those entries
//! of the outermost saga's log that belong to steps inside the inner saga. Entries of earlier rounds of a saga are not
//! compensated. When the compensation of an entry ends, the same commit marks the entry as compensated. The entry is
//! never compensated again. The module [`awaiting`](super::awaiting) determines what must end before a saga is
//! compensated.

use serde_json::Value;

use super::{
    log::Entry,
    state::{Compensating, Why},
};
use crate::{
    Result, WfeError,
    executor::{
        reopening::Stopped,
        run::{Env, Run},
    },
    models::{PointerChange, attributes, pointer_id},
    program::Branch,
    redact,
    steps::StepError,
    traits::{Ending, StepFailure, StoredFailure},
};

impl Run {
    /// Compensates the saga because a step in it has failed for good, or because the saga itself has failed.
    pub(in crate::executor::run) fn saga_failed(
        &mut self,
        saga: &str,
        failure: StepFailure,
        error: &StepError,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let policy = self.node_of(saga)?.policy.clone();
        let in_a_row = self.count_failure(saga)?;
        let backoff = policy.retry.backoff(in_a_row, error, (env.random)());
        let why = Why { failure: StoredFailure(failure), retryable: error.is_retryable(), backoff };
        self.begin_compensating(saga, Some(why), None, env)?;
        self.compensate_next(saga, env)
    }

    /// Compensates the saga because its cancel condition holds. The instance then continues after the saga.
    pub(in crate::executor::run) fn cancel_saga(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        self.begin_compensating(saga, None, None, env)?;
        self.compensate_next(saga, env)
    }

    /// Compensates the saga, and ends the instance after the compensation.
    pub(super) fn compensate_then_end(
        &mut self,
        saga: &str,
        ending: Ending,
        cause: Option<StepFailure>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let mut state = self.saga_state(saga)?;
        let end = Some((ending, cause.map(StoredFailure)));
        match &mut state.compensating {
            // The compensation has already begun. Only the action that follows the compensation changes.
            Some(compensating) => compensating.end = end,
            None => return self.begin_compensating(saga, None, end, env),
        }
        self.keep_saga_state(saga, &state)
    }

    /// Begins the compensation, and cancels the active pointers in the saga.
    ///
    /// If a saga inside this saga is already being compensated, its compensation continues. The child workflows of the
    /// steps inside this saga are requested to cancel. When these compensations and child workflows have ended,
    /// [`compensate_next`](Self::compensate_next) begins with the last entry of this saga.
    fn begin_compensating(
        &mut self,
        saga: &str,
        why: Option<Why>,
        end: Option<(Ending, Option<StoredFailure>)>,
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
        state.compensating =
            Some(Compensating { next, current: None, covered: Vec::new(), why, has_begun: false, end });
        self.keep_saga_state(saga, &state)
    }

    /// Requests the log entry that precedes the entry examined last. If no entry is left, the compensation of the saga
    /// ends.
    pub(super) fn compensate_next(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        if !self.awaited_below(saga)?.is_empty() {
            return Ok(()); // the last awaited pointer calls this function again
        }
        let state = self.saga_state(saga)?;
        let next = state.compensating.as_ref().map_or(0, |compensating| compensating.next);
        if next <= state.from {
            return self.saga_compensated(saga, env);
        }
        self.request_entry(saga, next - 1)
    }

    /// Handles a log entry that was requested, and that the store has now returned.
    pub(in crate::executor::run) fn entry_read(
        &mut self,
        container: &str,
        values: Vec<Value>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        if self.saga_log.received(container) {
            self.pending.request_items(container.to_owned(), 0, 1);
            return Ok(());
        }
        let entry = values.into_iter().next();
        // The sagas continue one after the other, because the effects of the first saga may cancel the others.
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

    /// Continues the compensation of a saga after the instance was opened from the store.
    pub(in crate::executor) fn reopen_saga(&mut self, saga: &str) -> Result<()> {
        match self.saga_state(saga)?.compensating {
            // A current entry and awaited pointers need no request, because they have live pointers of their own.
            Some(Compensating { current: None, next, .. }) if self.awaited_below(saga)?.is_empty() => {
                self.request_entry(saga, next.saturating_sub(1))
            }
            _ => Ok(()),
        }
    }

    /// Compensates the entry that was read, or skips the entry if nothing is to be done for it.
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
            // The changed state is not stored here, so the entry is read again when a body has ended.
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
        compensating.has_begun = true;
        self.keep_saga_state(saga, &state)?;
        let compensation =
            self.definition.find(&entry.step.step).and_then(|node| node.compensation).ok_or_else(|| {
                WfeError::Invalid(format!(
                    "step {:?} must be compensated, but the definition no longer has a compensation for it",
                    entry.step.step
                ))
            })?;
        let reached = self.take_cut_short(saga, number)?.and_then(|step| self.definition.find(&step));
        let compensation = match reached {
            Some(node) if node.sequence == self.definition.node(compensation.first).sequence => {
                Branch { first: node.index }
            }
            _ => compensation,
        };
        let (compensated, item) = (serde_json::to_value(&entry.step)?, entry.item);
        self.begin_branch(saga, &pointer_id::compensation(number), compensation, |pointer| {
            pointer.context_item = item;
            pointer.set(attributes::COMPENSATES, compensated);
        })
    }

    /// Marks the current entry as compensated, because its compensation has ended, and continues with the next entry.
    /// If an enclosing saga is being compensated, the compensation of the enclosing saga continues instead.
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
            Some(around) => {
                let mut state = self.saga_state(&around)?;
                if let Some(compensating) = &mut state.compensating {
                    compensating.has_begun = true;
                }
                self.keep_saga_state(&around, &state)?;
                self.pass_on(saga, &around, env)
            }
            None => self.compensate_next(saga, env),
        }
    }

    /// Ends the compensation of the saga, because all entries of the saga are compensated.
    fn saga_compensated(&mut self, saga: &str, env: &mut Env<'_>) -> Result<()> {
        let mut state = self.saga_state(saga)?;
        let Some(Compensating { why, has_begun, end, .. }) = state.compensating.take() else { return Ok(()) };
        self.keep_saga_state(saga, &state)?;
        if let Some((ending, cause)) = end {
            let pointer = self.pointers.edit(saga)?;
            let failed = pointer.status.after(PointerChange::Fail)?;
            pointer.status = failed.after(PointerChange::Compensate)?;
            self.deactivate(saga, env)?;
            // If the instance is retried, the saga begins another round, like a saga that has failed.
            self.keep_stopped(saga, &Stopped { closing: true, compensated: has_begun, ..Stopped::failed() })?;
            return self.end_after_compensation(ending, cause.map(|cause| cause.0), env);
        }
        let Some(Why { failure: StoredFailure(failure), retryable, backoff }) = why else {
            return self.cancel_and_proceed(saga, env);
        };
        if let Some(backoff) = backoff {
            self.note_retried_for(saga, &failure)?;
            return self.sleep(saga, backoff, env);
        }
        let error = StepError::from_causes(failure.code.clone(), failure.causes.clone(), retryable);
        self.fail_for_good(saga, failure, &error, env)
    }
}
