//! Determines what must end before a saga is compensated.
//!
//! If the compensation of an inner saga has begun, an outer saga does not cut this compensation short. The outer saga
//! waits until the compensation of the inner saga has ended, and then compensates the remaining entries. The outer saga
//! also waits until the child workflows of its steps have ended. Each of these child workflows is requested to cancel,
//! and compensates its own steps.
//!
//! A go-to or a cancel condition, however, cancels the inner saga, even in the middle of its compensation. In this
//! case, the store contains the step that the compensation had reached. If an outer saga is compensated later, it continues the
//! compensation with the stored step. If this step is a container, the steps inside it start again. Side branches of
//! the compensation do not continue.

use std::collections::BTreeSet;

use super::state::Compensating;
use crate::{
    Result, WfeError,
    executor::run::{Env, Run},
    models::{attributes, pointer_id},
    traits::Control,
};

impl Run {
    /// The pointers inside `saga` that must end before `saga` is compensated. These are sagas in the middle of a
    /// compensation, and steps that wait for the end of a cancelled child workflow. If one of these pointers is inside
    /// another one, only the outer one is returned. A pointer that belongs to a compensation inside `saga` is left out.
    pub(super) fn awaited_below(&self, saga: &str) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for id in self.pointers.below(&pointer_id::inside(saga)) {
            let pointer = self.pointers.get(&id)?;
            if !pointer.active {
                continue;
            }
            let is_awaited = self.is_child_cancelled(&id)?
                || (self.node_of(&id)?.verb.is_saga()
                    && self
                        .saga_state(&id)?
                        .compensating
                        .is_some_and(|compensating| compensating.current.is_some()));
            if is_awaited && self.sagas_around(&id)?.iter().any(|around| around == saga) {
                found.insert(id);
            }
        }
        self.outermost(&found)
    }

    /// Requests the cancellation of each child workflow that a step inside `saga` waits for. From then on, the saga
    /// waits until the child workflow has ended.
    pub(super) fn cancel_children_below(&mut self, saga: &str) -> Result<()> {
        for id in self.pointers.below(&pointer_id::inside(saga)) {
            let Some(child) = self.child_of(&id)? else { continue };
            let is_inside = self.sagas_around(&id)?.iter().any(|around| around == saga);
            if is_inside && !self.is_child_cancelled(&id)? && !self.pending.is_new_child(&child) {
                self.clear_timer(&id)?;
                self.data.stop_observing(&id);
                self.pointers.edit(&id)?.set(attributes::CHILD_CANCELLED, true);
                self.pending.end_child(child, Control::Cancel);
            }
        }
        Ok(())
    }

    /// Whether the pointer only waits until its cancelled child workflow has ended, because an enclosing saga is being
    /// compensated.
    pub(in crate::executor) fn is_child_cancelled(&self, at: &str) -> Result<bool> {
        Ok(self.pointers.get(at)?.has(attributes::CHILD_CANCELLED))
    }

    /// Continues the compensation of the saga that encloses the pointer. The saga waited for the cancelled child
    /// workflow of the pointer. Now the child workflow has ended, or the saga need not wait for it any longer.
    pub(in crate::executor) fn cancelled_child_ended(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.pointers.edit(at)?.unset(attributes::CHILD_CANCELLED);
        if self.pointers.get(at)?.status.is_final() {
            self.deactivate(at, env)?;
        } else {
            self.cancel(at, env)?;
        }
        match self.compensating_saga_around(at)? {
            Some(saga) => self.pass_on(at, &saga, env),
            None => Err(WfeError::Invalid(format!(
                "the cancelled child of pointer {at:?} has ended, but no saga around the pointer is being compensated"
            ))),
        }
    }

    /// For each compensation in `at`, stores the step that the compensation has reached. The sagas that enclose `at`
    /// read it when they are compensated. This function is called before `at`, or the pointers inside `at`, are
    /// cancelled.
    pub(in crate::executor::run) fn note_cut_short(&mut self, at: &str) -> Result<()> {
        let path = pointer_id::inside(at);
        let sagas = self.pointers.below(&path).into_iter().chain([at.to_owned()]);
        for saga in sagas.collect::<Vec<_>>() {
            if !self.is_compensating(&saga)? {
                continue;
            }
            let (state, root) = (self.saga_state(&saga)?, self.root_of(&saga)?);
            let Some(Compensating { current: Some((compensated, since)), next, .. }) = state.compensating
            else {
                continue;
            };
            if root == saga || root.starts_with(&path) || root == at {
                continue; // the root is cancelled too
            }
            let own = self.pointers.below(&pointer_id::inside(&saga)).into_iter();
            let mut own = own.filter_map(|id| self.pointers.get(&id).ok().filter(|p| p.active));
            let reached = own.find(|p| p.scope.last() == Some(&saga) && !p.has(attributes::FORKED));
            let Some(step) = reached.and_then(|pointer| pointer.step_name.clone()) else {
                // Only side branches of the compensation are left.
                self.mark_compensated(&root, next, compensated, since)?;
                continue;
            };
            let mut state = self.saga_state(&root)?;
            state.cut_short.insert(next, step);
            self.keep_saga_state(&root, &state)?;
        }
        Ok(())
    }

    /// Removes and returns the step that the compensation of this entry had reached when the compensation was cut
    /// short.
    pub(super) fn take_cut_short(&mut self, saga: &str, number: u64) -> Result<Option<String>> {
        let root = self.root_of(saga)?;
        let mut state = self.saga_state(&root)?;
        let step = state.cut_short.remove(&number);
        if step.is_some() {
            self.keep_saga_state(&root, &state)?;
        }
        Ok(step)
    }

    /// The innermost of the sagas that enclose the pointer and are being compensated. Such a saga waits for pointers
    /// inside it.
    pub(super) fn compensating_saga_around(&self, at: &str) -> Result<Option<String>> {
        for around in self.sagas_around(at)? {
            if self.is_compensating(&around)? {
                return Ok(Some(around));
            }
        }
        Ok(None)
    }

    /// Continues the compensation of the saga `around` with the remaining entries, because the pointer `at` has ended.
    pub(super) fn pass_on(&mut self, at: &str, around: &str, env: &mut Env<'_>) -> Result<()> {
        self.cancel_inside(at, env)?;
        self.cancel(at, env)?;
        if self.awaited_below(around)?.is_empty() {
            self.cancel_inside(around, env)?;
            // The log includes the steps that completed during the wait.
            let log = self.saga_state(&self.root_of(around)?)?.log;
            let mut state = self.saga_state(around)?;
            if let Some(compensating) = &mut state.compensating {
                compensating.next = log;
            }
            self.keep_saga_state(around, &state)?;
        }
        self.compensate_next(around, env)
    }
}
