//! A commit that the store will never take, though the executor found nothing wrong with it: a store with narrower limits than
//! [`limits`](crate::limits) tells of, or one that does not offer what a step asks for.
//!
//! The store does not say which value it means. So what began to wait in that commit is taken back and begun again, each in a
//! commit of its own: one that is refused again tells which step is at fault. What had finished is stored before that.

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
    /// The store refused what [`pending_commit`](Self::pending_commit) gave, and always will. `true`: commit again, something was taken back,
    /// or has failed. `false`: nothing can be; what came since the last commit is void. Then open the instance anew
    /// ([`open_suspended`](Self::open_suspended)).
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn refused(&mut self, reason: &StepError, env: &mut Env<'_>) -> Result<bool> {
        let began = self.pending.subscribers();
        let is_found = self.pending.enters_one() && began.len() == 1;
        let (mut can_begin_again, mut others) = (Vec::new(), Vec::new());
        for at in began {
            // A body has answered that it waits: it must not run again for this.
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

    /// As [`open`](Self::open), but suspended for a reason that is none of a step's: nothing new begins until somebody resumes
    /// the instance. Bodies that an earlier `Run` has begun are still at work: what comes of them is stored, as under any
    /// suspension. What had ended and was not stored runs again after a resume.
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
        // What follows from events may be what was refused. They are delivered after the resume.
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
