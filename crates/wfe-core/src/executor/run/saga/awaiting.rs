//! What has to come to its end before a saga is undone.
//!
//! A compensation that has begun is not cut short by a saga around it: that one waits until it has ended, and goes on with
//! what is left then. So it does for children in it: they are asked to cancel, and undo what they have done themselves.
//!
//! Where something else takes the inner saga away (a go-to, a cancel condition), it is noted at which step the compensation
//! stood, and a saga around it that is undone later goes on with that step. What is inside of the step begins anew, and side
//! branches of the compensation end there.

use std::collections::BTreeSet;

use super::state::Compensating;
use crate::{
    Result, WfeError,
    executor::run::{Env, Run},
    models::{attributes, pointer_id},
    traits::Control,
};

impl Run {
    /// The outermost of what is inside of `saga` and has to come to its end before that is undone: sagas in the midst of a
    /// compensation, and children that were cancelled. What is a part of a compensation of its own is none of them.
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

    /// The children that are at work for steps inside of `saga` are cancelled, and their ends awaited.
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

    /// Whether the pointer only waits for the end of its child, because a saga around it is undone.
    pub(in crate::executor) fn is_child_cancelled(&self, at: &str) -> Result<bool> {
        Ok(self.pointers.get(at)?.has(attributes::CHILD_CANCELLED))
    }

    /// The child of the pointer, which was cancelled, has ended; or nobody waits for it any more.
    pub(in crate::executor) fn cancelled_child_ended(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.pointers.edit(at)?.unset(attributes::CHILD_CANCELLED);
        if self.pointers.get(at)?.status.is_final() {
            self.deactivate(at, env)?;
        } else {
            self.cancel(at, env)?;
        }
        match self.compensating_saga_around(at)? {
            Some(saga) => self.pass_on(at, &saga, env),
            None => Err(WfeError::Invalid(format!("{at:?} leaves a saga that is not undone"))),
        }
    }

    /// What is inside of `at` is taken away: notes for the sagas around it where the compensations in it stand.
    pub(in crate::executor::run) fn note_cut_short(&mut self, at: &str) -> Result<()> {
        let path = pointer_id::inside(at);
        let sagas = self.pointers.below(&path).into_iter().chain([at.to_owned()]);
        for saga in sagas.collect::<Vec<_>>() {
            if !self.is_compensating(&saga)? {
                continue;
            }
            let (state, root) = (self.saga_state(&saga)?, self.root_of(&saga)?);
            let Some(Compensating { current: Some((undone, since)), next, .. }) = state.compensating else {
                continue;
            };
            if root == saga || root.starts_with(&path) || root == at {
                continue; // it goes too
            }
            let own = self.pointers.below(&pointer_id::inside(&saga)).into_iter();
            let mut own = own.filter_map(|id| self.pointers.get(&id).ok().filter(|p| p.active));
            let stands = own.find(|p| p.scope.last() == Some(&saga) && !p.has(attributes::FORKED));
            let Some(step) = stands.and_then(|pointer| pointer.step_name.clone()) else {
                // Only side branches are left of it.
                self.mark_compensated(&root, next, undone, since)?;
                continue;
            };
            let mut state = self.saga_state(&root)?;
            state.cut_short.insert(next, step);
            self.keep_saga_state(&root, &state)?;
        }
        Ok(())
    }

    /// The step at which the compensation of this entry stood when it was cut short. It is forgotten.
    pub(super) fn take_cut_short(&mut self, saga: &str, number: u64) -> Result<Option<String>> {
        let root = self.root_of(saga)?;
        let mut state = self.saga_state(&root)?;
        let step = state.cut_short.remove(&number);
        if step.is_some() {
            self.keep_saga_state(&root, &state)?;
        }
        Ok(step)
    }

    /// The innermost saga around the pointer that is undone, and waits for what is inside of it.
    pub(super) fn compensating_saga_around(&self, at: &str) -> Result<Option<String>> {
        for around in self.sagas_around(at)? {
            if self.is_compensating(&around)? {
                return Ok(Some(around));
            }
        }
        Ok(None)
    }

    /// This has come to its end, and the saga around it is undone: what is left is undone there.
    pub(super) fn pass_on(&mut self, at: &str, around: &str, env: &mut Env<'_>) -> Result<()> {
        self.cancel_inside(at, env)?;
        self.cancel(at, env)?;
        if self.awaited_below(around)?.is_empty() {
            self.cancel_inside(around, env)?;
            // With what has completed while it was awaited.
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
