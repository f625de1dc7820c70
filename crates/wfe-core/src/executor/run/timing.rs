//! When something happens by itself.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Env, Run};
use crate::{
    Result,
    executor::Moved,
    limits::later,
    models::{PointerChange, PointerStatus, WorkflowStatus, pointer_id},
    program::TimeLimit,
    steps::StepError,
    traits::Ending,
};

impl TimeLimit {
    /// The pointer has begun to wait.
    pub(in crate::executor) fn begin(&self, run: &mut Run, at: &str, env: &Env<'_>) -> Moved {
        let after = run.ask(at, &self.after)?;
        Ok(run.set_timer(at, later(env.now, after))?)
    }

    /// The pointer has waited too long.
    pub(in crate::executor) fn over(&self, run: &mut Run, at: &str) -> Moved {
        run.wake(at)?;
        if !self.has_branch {
            let error = StepError::retryable("what the step waited for did not come in time");
            return Err(error.with_code(StepError::TIMEOUT).into());
        }
        let branch = super::branches::branch_of(run.node_of(at)?, 0)?;
        run.become_container(at, None)?;
        Ok(run.begin_branch(at, pointer_id::TIMEOUT, branch, |_| {})?)
    }
}

impl Run {
    /// When something happens by itself; `None`: nothing does.
    #[must_use]
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        let limit = self.bodies.next_limit();
        match self.status {
            WorkflowStatus::Runnable => {
                [limit, self.timers.next(), self.deadline()].into_iter().flatten().min()
            }
            // A running body may end, and may not take longer than ever.
            WorkflowStatus::Suspended => limit,
            WorkflowStatus::Complete | WorkflowStatus::Terminated => None,
        }
    }

    /// When the whole instance has had its time; `None`: never, or it is on its way to its end.
    fn deadline(&self) -> Option<DateTime<Utc>> {
        let limit = self.definition.deadline()?;
        (!self.is_closing()).then(|| later(self.created, limit))
    }

    /// Whether the time of a wait is over, so that the next [`deliver`](Self::deliver) ends it if it gets nothing by that.
    /// Events that have become due need their positions
    /// ([`position_due_events`](crate::traits::StepStore::position_due_events)) before the instance is read for it: one that
    /// came in time would be missed otherwise.
    #[must_use]
    pub fn has_overdue(&self) -> bool {
        self.status == WorkflowStatus::Runnable && self.timers.has_overdue()
    }

    /// Does what is due. The limit of a wait only becomes [overdue](Self::meet_limits).
    pub(super) fn wake_due(&mut self, env: &mut Env<'_>) -> Result<()> {
        while !self.status.is_final()
            && let Some(id) = self.bodies.take_timed_out(env.now)
        {
            self.stop_waiting(&id)?;
            let error = StepError::retryable("the attempt took longer than it may");
            self.fail(&id, &error.with_code(StepError::TIMEOUT), env)?;
        }
        if self.status == WorkflowStatus::Runnable && self.deadline().is_some_and(|at| at <= env.now) {
            return self.meet_deadline(env);
        }
        while self.status == WorkflowStatus::Runnable
            && let Some((at, id)) = self.timers.take_due(env.now)
        {
            let pointer = self.pointers.edit_quietly(&id)?;
            match pointer.status {
                PointerStatus::WaitingForEvent => self.timers.add_overdue(id, at),
                PointerStatus::Sleeping => {
                    pointer.sleep_until = None;
                    pointer.status = pointer.status.after(PointerChange::Wake)?;
                    self.pending.enqueue(id);
                }
                _ => self.timer_fired(&id, env)?,
            }
        }
        Ok(())
    }

    /// What the store has for the waits that have lasted too long was delivered: those that still wait get nothing in
    /// time. One that somebody may answer first takes no answer any more, and is overdue until it was looked at once more
    /// after that. Whether anything has changed.
    pub(super) fn meet_limits(&mut self, env: &mut Env<'_>) -> Result<bool> {
        let (mut changed, mut later) = (false, Vec::new());
        while self.status == WorkflowStatus::Runnable
            && let Some((at, id)) = self.timers.take_overdue()
        {
            if self.waits_until(&id) != Some(at) {
                continue;
            }
            changed = true;
            if self.may_be_answered(&id, env)? {
                later.push((at, id));
            } else {
                self.timer_fired(&id, env)?;
            }
        }
        for (at, id) in later {
            self.timers.add_overdue(id, at);
        }
        Ok(changed)
    }

    /// If so, not any more after the next commit.
    fn may_be_answered(&mut self, id: &str, env: &Env<'_>) -> Result<bool> {
        let Some(wait) = self.subscription_of(id)?.filter(|wait| self.waits.is_answerable(wait)) else {
            return Ok(false);
        };
        let closes = self.verb_of(id)?.primitive().takes_no_answer_after(self, id, env)?;
        if closes {
            self.pending.accept_no_answer(wait);
        }
        Ok(closes)
    }

    /// Forgets those that wait no longer, or have another limit by now.
    pub(super) fn check_overdue(&mut self) {
        for (at, id) in self.timers.take_all_overdue() {
            if self.waits_until(&id) == Some(at) {
                self.timers.add_overdue(id, at);
            }
        }
    }

    /// Until when the pointer waits for an event, at most.
    pub(super) fn waits_until(&self, id: &str) -> Option<DateTime<Utc>> {
        let pointer = self.pointers.get(id).ok().filter(|p| p.status == PointerStatus::WaitingForEvent)?;
        pointer.sleep_until
    }

    fn timer_fired(&mut self, id: &str, env: &mut Env<'_>) -> Result<()> {
        self.pointers.edit_quietly(id)?.sleep_until = None;
        let verb = self.verb_of(id)?;
        self.guard(id, env, |run, env| verb.primitive().timer_fired(run, id, env))
    }

    fn meet_deadline(&mut self, env: &mut Env<'_>) -> Result<()> {
        let error =
            StepError::fatal("the workflow was not over at its deadline").with_code(StepError::DEADLINE);
        let failure = self.record_failure("", String::new(), 1, &error, env);
        self.close(Ending::Failed, Some(failure), env)
    }

    /// The pointer is looked at again after `pause`.
    pub(in crate::executor) fn sleep(&mut self, at: &str, pause: Duration, env: &Env<'_>) -> Result<()> {
        self.sleep_until(at, later(env.now, pause))
    }

    /// The pointer is entered again then.
    pub(in crate::executor) fn sleep_until(&mut self, at: &str, until: DateTime<Utc>) -> Result<()> {
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Sleep)?;
        pointer.sleep_until = Some(until);
        self.timers.set(at, until);
        Ok(())
    }

    /// The waiting or running pointer is looked at then.
    pub(in crate::executor) fn set_timer(&mut self, at: &str, until: DateTime<Utc>) -> Result<()> {
        self.clear_timer(at)?;
        self.pointers.edit(at)?.sleep_until = Some(until);
        self.timers.set(at, until);
        Ok(())
    }

    pub(in crate::executor) fn clear_timer(&mut self, at: &str) -> Result<()> {
        if let Some(until) = self.pointers.get(at)?.sleep_until {
            self.pointers.edit(at)?.sleep_until = None;
            self.timers.clear(at, until);
        }
        Ok(())
    }
}
