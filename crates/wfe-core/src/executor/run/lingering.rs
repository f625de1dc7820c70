//! Attempts of one step never overlap.
//!
//! A body whose result is no longer wanted, because it timed out or was cancelled, may run on: until it has seen its
//! token or is dropped, or, if it blocks its thread, for as long as it likes. Such a body *lingers*. What follows from
//! the end of its attempt is stored at once, and the backoff before the next attempt runs. Two things wait until the
//! host reports that the body is over ([`Run::body_over`]): the next body of the same step, and the compensation of
//! that step. Nothing else waits for it: no fallback, no next step, no compensation of another step, and not the end of
//! the instance. While a body lingers that a later one may have to wait for, the instance is not released: another
//! process would not know of the body.
//!
//! Bodies are attempts of one step if they have the same place. A place is the path of a pointer without the counts: of
//! executions of a step (a go-to led back to it), of rounds of a saga or a while loop, and of how often a container
//! began again. Each iteration of a for-each and each tick of a recurring branch has a place of its own: these run side
//! by side.

use std::sync::Arc;

use super::{
    Run,
    bodies::{Lingering, RunningBody},
    saga::log::compensated_pointer,
};
use crate::{
    Result, definition::Definition, executor::idempotency_key, models::pointer_id, steps::Execution,
};

/// The step execution that a body belongs to, to report to a later [`Run`] of the instance that the body has not ended
/// ([`Run::still_at_work`]).
#[derive(Clone)]
pub struct StepExecution(pub(in crate::executor) Arc<Execution>);

impl StepExecution {
    /// Id of the pointer whose body it is.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.0.pointer
    }
}

impl Run {
    /// Reports a body of this instance that has not ended, though this `Run` does not wait for its result: an earlier
    /// [`Run`] has begun it, or its attempt ended without it. `job` is a number that no other body of the instance has;
    /// later bodies get higher numbers. For a body that this `Run` waits for, nothing changes.
    pub fn still_at_work(&mut self, job: u64, execution: &StepExecution) {
        self.bodies.number_after(job);
        if !self.bodies.runs(job) {
            self.linger(job, &execution.0);
        }
    }

    /// Reports that the body of this job has ended without a result that counts: it was dropped, or had run on after
    /// its attempt. Returns whether something waited for that: then commit again.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn body_over(&mut self, job: u64) -> Result<bool> {
        if !self.bodies.over(job) {
            return Ok(false);
        }
        for saga in self.saga_log.take_held() {
            if self.pointers.contains(&saga) && self.is_compensating(&saga)? {
                self.reopen_saga(&saga)?;
            }
        }
        Ok(true)
    }

    /// Ids of the pointers and sagas that wait until an earlier body of the step has ended: with their next body, or
    /// their next compensation.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn held(&mut self) -> Result<Vec<String>> {
        let mut held: Vec<String> = self.saga_log.held().cloned().collect();
        if self.bodies.has_lingering() {
            for at in self.bodies.ready().to_vec() {
                if self.waits_for_attempt(&at)? {
                    held.push(at);
                }
            }
        }
        Ok(held)
    }

    /// Cancels a body: its result is no longer wanted.
    pub(super) fn cancel_body(&mut self, work: RunningBody) {
        self.linger(work.job, &work.execution);
        self.bodies.cancel(work.token);
    }

    fn linger(&mut self, job: u64, execution: &Execution) {
        let own = pointer_id::named_by_key(&execution.instance, &execution.key);
        let path = place_of(&self.definition, &execution.pointer);
        let named = own.map_or_else(|| path.clone(), |named| place_of(&self.definition, named));
        self.bodies.linger(job, Lingering { path, named });
    }

    /// Whether a body of the pointer's step lingers, or one of the step that it compensates.
    pub(super) fn waits_for_attempt(&mut self, at: &str) -> Result<bool> {
        if !self.bodies.has_lingering() {
            return Ok(false);
        }
        self.note_key(at)?;
        let pointer = self.pointers.get(at)?;
        let key = idempotency_key(&self.id, pointer);
        let named = place_of(&self.definition, pointer_id::named_by_key(&self.id, &key).unwrap_or(at));
        let compensated = compensated_pointer(pointer);
        Ok(self.bodies.lingering().any(|body| body.named == named)
            || compensated.is_some_and(|step| self.lingers_within(step)))
    }

    /// Whether a body of this pointer, or of one inside of it, lingers.
    pub(super) fn lingers_within(&self, pointer: &str) -> bool {
        if !self.bodies.has_lingering() {
            return false;
        }
        let around = place_of(&self.definition, pointer);
        self.bodies.lingering().any(|body| pointer_id::is_place_within(&body.path, &around))
    }
}

fn place_of(definition: &Definition, pointer: &str) -> String {
    let has_rounds = |step: &str| definition.find(step).is_some_and(|node| node.verb.has_rounds());
    pointer_id::attempt_place(pointer, has_rounds)
}
