//! Advances an instance as far as it moves without input.

use chrono::{DateTime, Utc};

use super::{Env, Run};
use crate::{
    Result,
    models::{PointerStatus, WorkflowStatus},
};

impl Run {
    /// Moves the instance as far as possible without input: timers that are due fire, and pending pointers are entered.
    /// Afterwards, [`take_commit`](Self::take_commit) returns the changes to store.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn advance(&mut self, env: &mut Env<'_>) -> Result<()> {
        self.wake_due(env)?;
        self.drain(self.pending.entry_limit(), env)?;
        self.check_overdue();
        self.pointers.tidy_all()?;
        self.pending.set_release(self.is_idle());
        self.pending.set_next_execution(self.wanted_execution(env.now));
        Ok(())
    }

    /// Enters pending pointers and evaluates the conditions on the data, until nothing is left to do. Enters at most
    /// `budget` pointers, so that no commit becomes too large.
    fn drain(&mut self, mut budget: usize, env: &mut Env<'_>) -> Result<()> {
        while self.status == WorkflowStatus::Runnable {
            if self.data.take_changed() {
                self.evaluate_conditions(env)?;
                continue;
            }
            let next = if budget > 0 { self.pending.next_in_queue() } else { None };
            let Some(at) = next else {
                // What ends in one commit ends at the same time, so a race is decided last.
                if self.decide_races(env)? && budget > 0 {
                    continue;
                }
                return Ok(());
            };
            if self.pointers.get(&at).is_ok_and(|p| p.active && p.status == PointerStatus::Pending) {
                budget -= 1;
                self.enter(&at, env)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        let node = self.node_of(at)?;
        let (verb, is_covering) =
            (node.verb.clone(), node.compensation.is_some() && !node.branches.is_empty());
        if node.cancel_when.is_some() || verb.watches_data() {
            self.data.observe(at);
            self.evaluate_condition(at, env)?;
            if !self.pointers.get(at).is_ok_and(|p| p.active && p.status == PointerStatus::Pending) {
                return Ok(());
            }
        }
        if is_covering {
            self.note_log_start(at)?;
        }
        self.guard(at, env, |run, env| verb.primitive().enter(run, at, env))?;
        // Operators ask since when a step waits. A body stores its own start.
        if self.pointers.get(at).is_ok_and(|p| p.start_time.is_none() && waits(p.status)) {
            self.pointers.edit(at)?.start_time = Some(env.now);
        }
        Ok(())
    }

    fn evaluate_conditions(&mut self, env: &mut Env<'_>) -> Result<()> {
        for at in self.data.observers() {
            // The condition of another pointer may have cancelled this pointer.
            if self.data.is_observed_by(&at) {
                self.evaluate_condition(&at, env)?;
            }
        }
        Ok(())
    }

    /// Cancels the pointer if its cancel condition holds.
    fn evaluate_condition(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        // A failed pointer has nothing to cancel until the instance is resumed.
        if self.pointers.get(at)?.status == PointerStatus::Failed || self.is_child_cancelled(at)? {
            return Ok(());
        }
        let node = self.node_of(at)?;
        let (verb, condition) = (node.verb.clone(), node.cancel_when.clone());
        let is_open_saga = verb.is_saga() && self.is_open_saga(at)?;
        if verb.is_saga() && self.is_compensating(at)? {
            return Ok(());
        }
        // In a fallback, the step itself is over and no longer observes the data.
        let is_in_fallback = self.is_in_fallback(at)?;
        self.guard(at, env, |run, env| {
            if let Some(condition) = condition
                && run.evaluate(at, &condition.holds)?
            {
                return Ok(if is_open_saga {
                    run.cancel_saga(at, env)
                } else {
                    run.cancel_and_proceed(at, env)
                }?);
            }
            if is_in_fallback { Ok(()) } else { verb.primitive().data_changed(run, at, env) }
        })
    }

    /// Whether the instance is idle: nothing happens before a timer is due or a request arrives. While a body
    /// lingers (`lingering_bodies.rs`), the instance is not idle and keeps its owner. Otherwise, another owner would begin
    /// the next body of the step concurrently with the lingering body.
    fn is_idle(&self) -> bool {
        match self.status {
            WorkflowStatus::Runnable => {
                self.bodies.running() == 0
                    && !self.bodies.has_lingering()
                    && self.bodies.ready().is_empty()
                    && !self.pending.has_queue()
                    && !self.pending.has_requests()
                    && !self.timers.has_overdue()
                    && self.saga_log.is_idle()
                    && !self.windows.has_requests()
                    && self.races.is_idle()
            }
            // An instance that does not fit its definition has to be opened again before it can be resumed.
            WorkflowStatus::Suspended if self.fault.is_some() => self.bodies.running() == 0,
            WorkflowStatus::Suspended => self.bodies.running() == 0 && !self.bodies.has_lingering(),
            WorkflowStatus::Complete | WorkflowStatus::Terminated => true,
        }
    }

    /// The due time to store. An instance that keeps its owner is stored as due, so that another owner claims the
    /// instance if its owner crashes.
    fn wanted_execution(&self, now: DateTime<Utc>) -> Option<i64> {
        match self.status {
            WorkflowStatus::Runnable if self.pending.releases() => self.next_wake().map(millis_rounded_up),
            WorkflowStatus::Runnable => {
                let due = self.pending.stored_execution().filter(|at| *at <= now.timestamp_millis());
                due.or(Some(now.timestamp_millis()))
            }
            _ => None,
        }
    }
}

/// Converts a time to milliseconds since the Unix epoch, rounded up.
fn millis_rounded_up(time: DateTime<Utc>) -> i64 {
    let millis = time.timestamp_millis();
    if time.timestamp_subsec_nanos().is_multiple_of(1_000_000) { millis } else { millis.saturating_add(1) }
}

fn waits(status: PointerStatus) -> bool {
    matches!(status, PointerStatus::Sleeping | PointerStatus::WaitingForEvent)
}
