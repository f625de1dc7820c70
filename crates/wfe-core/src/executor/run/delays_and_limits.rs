//! Timers, time limits and the deadline.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Env, Run};
use crate::{
    Result,
    executor::{Closes, Moved},
    limits::later,
    models::{PointerChange, PointerStatus, WorkflowStatus, pointer_id},
    program::TimeLimit,
    steps::StepError,
    traits::Ending,
};

impl TimeLimit {
    /// Starts the time limit of a pointer that has begun to wait.
    pub(in crate::executor) fn start(&self, run: &mut Run, at: &str, env: &Env<'_>) -> Moved {
        let after = run.evaluate(at, &self.after)?;
        Ok(run.set_timer(at, later(env.now, after))?)
    }

    /// Handles a wait whose time limit has passed: the step fails, or its timeout branch begins.
    pub(in crate::executor) fn expire(&self, run: &mut Run, at: &str) -> Moved {
        run.wake(at)?;
        if !self.has_branch {
            let error =
                StepError::retryable("the step reached its time limit before its event or result arrived");
            return Err(error.with_code(StepError::TIMEOUT).into());
        }
        let branch = super::branches::branch_of(run.node_of(at)?, 0)?;
        run.become_container(at, None)?;
        Ok(run.begin_branch(at, pointer_id::TIMEOUT, branch, |_| {})?)
    }
}

impl Run {
    /// The next time at which something is due, or `None` if nothing is scheduled.
    #[must_use]
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        let limit = self.bodies.next_limit();
        match self.status {
            WorkflowStatus::Runnable => {
                [limit, self.timers.next(), self.deadline()].into_iter().flatten().min()
            }
            // During a suspension, running bodies still end, and their time limits still apply.
            WorkflowStatus::Suspended => limit,
            WorkflowStatus::Complete | WorkflowStatus::Terminated => None,
        }
    }

    /// The deadline of the whole instance, or `None` if the instance has no deadline or is already closing. After a
    /// retry, the time counts from the retry.
    fn deadline(&self) -> Option<DateTime<Utc>> {
        let limit = self.definition.deadline()?;
        (!self.is_closing()).then(|| later(self.retried.unwrap_or(self.created), limit))
    }

    /// Whether a wait has reached its time limit. If the next call of [`deliver`](Self::deliver) brings no event for
    /// the wait, the wait times out. Before you read the instance for this call, assign positions to the events that
    /// have become due ([`position_due_events`](crate::traits::StepStore::position_due_events)). Otherwise, an event
    /// that came in time would be missed.
    #[must_use]
    pub fn has_overdue(&self) -> bool {
        self.status == WorkflowStatus::Runnable && self.timers.has_overdue()
    }

    /// Carries out everything that is due: time limits of bodies, the deadline, and timers. If a wait has reached its
    /// time limit, it does not end here, but becomes [overdue](Self::meet_limits).
    pub(super) fn wake_due(&mut self, env: &mut Env<'_>) -> Result<()> {
        while !self.status.is_final()
            && let Some(id) = self.bodies.take_timed_out(env.now)
        {
            self.stop_waiting(&id)?;
            let error = StepError::retryable("the attempt exceeded its time limit");
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

    /// Called after a delivery. Times out the overdue waits that are still open: the store had no event for them in
    /// time. If a worker or a user may still answer a wait, the wait does not time out yet. It stops accepting answers,
    /// and stays overdue until the store was checked once more for an answer. If only the claim limit of the wait has
    /// passed, the store closes the wait only if no worker has claimed it, and [`decided`](Self::decided) reports whether
    /// it did. Returns whether anything has changed.
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

    /// Whether the wait can still be answered, and would be closed by its timeout. If both are true, the next commit
    /// makes the store refuse further answers for the wait.
    fn may_be_answered(&mut self, id: &str, env: &Env<'_>) -> Result<bool> {
        let Some(wait) = self.subscription_of(id)?.filter(|wait| self.waits.is_answerable(wait)) else {
            return Ok(false);
        };
        match self.verb_of(id)?.primitive().closes_at_limit(self, id, env)? {
            Closes::No => return Ok(false),
            Closes::Yes => self.pending.accept_no_answer(wait),
            Closes::UnlessClaimed => self.pending.accept_no_answer_unless_claimed(wait),
        }
        Ok(true)
    }

    /// The subscriptions that the last commit closed to answers unless a worker had claimed them. Read from the store
    /// which of them it closed ([`unanswerable`](crate::traits::StepStore::unanswerable)), and pass them to
    /// [`decided`](Self::decided) before the next call of [`deliver`](Self::deliver).
    #[must_use]
    pub fn undecided(&self) -> Vec<String> {
        self.waits.undecided()
    }

    /// Reports which of the [undecided](Self::undecided) subscriptions the store has closed to answers. The others were
    /// claimed in time, so their claim limits are over. Returns whether anything has changed.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn decided(&mut self, closed: &[String], env: &mut Env<'_>) -> Result<bool> {
        let mut changed = false;
        for wait in self.waits.decide(closed) {
            let Some(at) = self.waits.pointer_of(&wait).map(str::to_owned) else { continue };
            let verb = self.verb_of(&at)?;
            if verb.primitive().closes_at_limit(self, &at, env)? == Closes::UnlessClaimed {
                changed = true;
                self.guard(&at, env, |run, env| verb.primitive().claimed(run, &at, env))?;
            }
        }
        Ok(changed)
    }

    /// Removes a pointer from the overdue pointers if it no longer waits, or if its time limit has changed.
    pub(super) fn check_overdue(&mut self) {
        for (at, id) in self.timers.take_all_overdue() {
            if self.waits_until(&id) == Some(at) {
                self.timers.add_overdue(id, at);
            }
        }
    }

    /// The time at which the pointer's wait for an event times out.
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
            StepError::fatal("the workflow did not end before its deadline").with_code(StepError::DEADLINE);
        let failure = self.record_failure("", String::new(), 1, &error, env);
        self.close(Ending::Failed, Some(failure), env)
    }

    /// Makes the pointer sleep for `delay`.
    pub(in crate::executor) fn sleep(&mut self, at: &str, delay: Duration, env: &Env<'_>) -> Result<()> {
        self.sleep_until(at, later(env.now, delay))
    }

    /// Makes the pointer sleep. At the time `until`, the engine processes the pointer again.
    pub(in crate::executor) fn sleep_until(&mut self, at: &str, until: DateTime<Utc>) -> Result<()> {
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Sleep)?;
        pointer.sleep_until = Some(until);
        self.timers.set(at, until);
        Ok(())
    }

    /// Sets the timer of a pointer that is waiting or running.
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
