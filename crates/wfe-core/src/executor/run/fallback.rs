//! Fallbacks: the steps that run in place of a failed step.

use serde_json::Value;

use super::{Env, Run};
use crate::{
    Result,
    models::{PointerChange, attributes, pointer_id},
    program::Branch,
    steps::StepError,
    traits::StepFailure,
};

impl Run {
    /// Begins the fallback of the failed step `at`.
    pub(super) fn begin_fallback(&mut self, at: &str, fallback: Branch, failure: Value) -> Result<()> {
        let kept = self.pointers.get(at)?.persistence_data.clone();
        self.become_container(at, kept)?;
        self.pointers.no_branches(at)?;
        let pointer = self.pointers.edit(at)?;
        pointer.set(attributes::IN_FALLBACK, true);
        pointer.set(attributes::FAILURE, failure);
        self.begin_branch(at, pointer_id::FALLBACK, fallback, |_| {})
    }

    /// Continues after the step whose fallback has ended. The step stays failed, with its failure as its outcome. The
    /// outcome of the fallback is stored separately.
    pub(super) fn fallback_ended(
        &mut self,
        at: &str,
        result: std::result::Result<Option<Value>, Value>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        if let Ok(outcome) = result {
            let pointer = self.pointers.edit(at)?;
            pointer.set(attributes::RESCUED, outcome.unwrap_or_default());
        }
        self.end_fallback(at)?;
        self.proceed(at, env)
    }

    /// Marks the step as failed for good, with its failure as its outcome.
    pub(super) fn end_fallback(&mut self, at: &str) -> Result<()> {
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Fail)?;
        pointer.outcome = pointer.unset(attributes::FAILURE);
        pointer.unset(attributes::IN_FALLBACK);
        Ok(())
    }

    /// Whether the pointer has failed for good and its fallback is running.
    pub(super) fn is_in_fallback(&self, at: &str) -> Result<bool> {
        Ok(self.pointers.get(at)?.has(attributes::IN_FALLBACK))
    }

    /// Handles a failure of the step itself, that is, of its cancel condition, while its fallback is running.
    ///
    /// The step has no further retries and no other fallback. The effect is that of the failure of a step inside the
    /// fallback, if no failure behaviour is set for that step.
    pub(super) fn fallback_failed(
        &mut self,
        at: &str,
        failure: StepFailure,
        error: &StepError,
        env: &mut Env<'_>,
    ) -> Result<()> {
        self.cancel_inside(at, env)?;
        self.end_fallback(at)?;
        if let Some(saga) = self.sagas_around(at)?.into_iter().next() {
            self.deactivate(at, env)?;
            return self.saga_failed(&saga, failure, error, env);
        }
        if pointer_id::is_in_compensation(at) {
            return self.proceed(at, env);
        }
        self.deactivate(at, env)?;
        if self.node_of(at)?.verb.is_saga() {
            // If the instance is retried, the saga begins another round under the same pointer, and may begin its
            // fallback again.
            self.restart(at)?;
        }
        self.end_as_failed(at, failure, error, env)
    }
}
