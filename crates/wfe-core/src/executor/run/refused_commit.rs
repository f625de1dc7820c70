//! A commit that the store will never accept, though the executor found nothing wrong with it. The store has narrower
//! limits than [`limits`](crate::limits), or does not offer what a step requires.
//!
//! The store does not say which value it refuses. So each wait that the commit opens is taken back, and begun again in
//! a commit of its own. If one of these is refused again, its step is at fault. What had finished is stored before
//! that.

use super::{Env, Run, bodies::RunningBodies, failure::step_failure};
use crate::{
    Result,
    definition::Definition,
    executor::Lifecycle,
    models::{StatusChange, WorkflowStatus},
    steps::StepError,
    traits::Loaded,
};

impl Run {
    /// Reports that the store refused [`pending_commit`](Self::pending_commit) and always will. `true`: something was
    /// taken back, or has failed; commit again. `false`: nothing can be taken back, and what came since the last commit
    /// is void; then open the instance again ([`open_suspended`](Self::open_suspended)).
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn refused(&mut self, reason: &StepError, env: &mut Env<'_>) -> Result<bool> {
        let began = self.pending.subscribers();
        let is_found = self.pending.enters_one() && began.len() == 1;
        let (mut can_begin_again, mut others) = (Vec::new(), Vec::new());
        for at in began {
            // If a body answered that it waits, the body must not run again for this.
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

    /// Like [`open`](Self::open), but suspends the instance for a reason that no step caused: nothing new begins until
    /// an operator resumes it. Bodies that an earlier `Run` has begun keep running, and their results are stored, as
    /// under any suspension. Bodies that had ended without a stored result run again after a resume.
    ///
    /// # Errors
    /// The stored state contradicts itself.
    pub fn open_suspended(
        definition: &Definition,
        loaded: Loaded,
        reason: &StepError,
        at_work: RunningBodies,
        env: &mut Env<'_>,
    ) -> Result<Self> {
        // An event may have caused what was refused. Events are delivered after the resume.
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
