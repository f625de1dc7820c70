//! Handles a commit that the store will never accept, although the executor found no error in the commit. The store has
//! stricter limits than [`limits`](crate::limits), or does not support a feature that a step requires.
//!
//! The store does not report which value it refuses. So the executor reverts each subscription that the commit opens,
//! and opens it again in a commit of its own. If the store refuses such a commit too, the step that opens the
//! subscription is at fault. The finished work is stored before these commits.

use super::{Env, Run, bodies::RunningBodies, failure::step_failure};
use crate::{
    Result,
    definition::AnyDefinition,
    executor::Lifecycle,
    models::{StatusChange, WorkflowStatus},
    steps::StepError,
    traits::Loaded,
};

impl Run {
    /// Reports that the store refused the [commit](Self::take_commit) and will always refuse it. Returns
    /// `true` if subscriptions were reverted or steps have failed. In this case, commit again. Returns `false` if there
    /// is no subscription to revert. Then all changes since the last commit are void, and you must open the instance
    /// again with [`open_suspended`](Self::open_suspended).
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn refused(&mut self, reason: &StepError, env: &mut Env<'_>) -> Result<bool> {
        let began = self.pending.subscribers();
        let is_found = self.pending.enters_one() && began.len() == 1;
        let (mut can_begin_again, mut others) = (Vec::new(), Vec::new());
        for at in began {
            // If a body returned the wait, the wait is not reverted, because the body must not run again for this.
            if self.verb_of(&at)?.body().is_none() { can_begin_again.push(at) } else { others.push(at) }
        }
        if can_begin_again.is_empty() || is_found {
            let is_over = others.is_empty() && can_begin_again.is_empty();
            for at in others.iter().chain(&can_begin_again) {
                self.fail(at, reason, env)?;
            }
            return Ok(!is_over);
        }
        for at in can_begin_again {
            self.cancel_inside(&at, env)?;
            self.wake(&at)?;
            self.pending.enqueue(at);
        }
        self.pending.enter_one_by_one();
        Ok(true)
    }

    /// Opens a stored instance like [`open`](Self::open), but suspends the instance for a reason that no step caused.
    /// No step begins until an operator resumes the instance. If a body that an earlier `Run` began is still running,
    /// it keeps running. Its result is stored, as in any suspension. Bodies that ended without a stored result run
    /// again after a resume.
    ///
    /// # Errors
    /// The stored state contradicts itself.
    pub fn open_suspended(
        definition: &AnyDefinition,
        loaded: Loaded,
        reason: &StepError,
        at_work: RunningBodies,
        env: &mut Env<'_>,
    ) -> Result<Self> {
        // An event may have caused the refused commit. So events are delivered only after the resume.
        let mut run = Self::open_without_events(definition, loaded, at_work, env)?;
        if run.status != WorkflowStatus::Runnable {
            return Ok(run);
        }
        let failure = step_failure(&run.id, "", String::new(), 1, reason, env.now);
        run.pending.record_failure(failure.clone());
        run.set_status(StatusChange::Suspend, Some(failure.clone()))?;
        run.notify(Lifecycle::Error(Box::new(failure)), env);
        run.notify(Lifecycle::Suspended, env);
        Ok(run)
    }
}
