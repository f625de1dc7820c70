//! Attempts of one step never overlap.
//!
//! A body whose result is no longer needed, because it timed out or was cancelled, may keep running. It ends when it
//! observes its cancellation token or is dropped. A body that blocks its thread may run for any length of time. Such a
//! body *lingers*. When its attempt ends, the consequences are stored at once, and the backoff before the next attempt
//! begins. Two things wait until the host reports that the lingering body is over ([`Run::body_over`]): the next body
//! of the same step, and the compensation of that step. Nothing else waits for the lingering body: no fallback, no next
//! step, no compensation of another step, and not the end of the instance. While a later body may have to wait for a
//! lingering body, the instance is not released. Another process would not be aware of the lingering body.
//!
//! Bodies are attempts of one step if they have the same *attempt path* (called `place` in the code). The attempt path
//! is the path of a pointer without three counts: the executions of a step that a go-to repeats, the rounds of a saga
//! or a while loop, and the starts of a container. Each iteration of a for-each and each tick of a recurring branch has
//! an attempt path of its own, because iterations and ticks run concurrently.

use std::sync::Arc;

use super::{
    Run,
    bodies::{Lingering, RunningBody},
    saga::log::compensated_pointer,
};
use crate::{
    Result, definition::AnyDefinition, executor::idempotency_key, models::pointer_id, steps::Execution,
};

/// The step execution to which a body belongs. Pass it to [`Run::still_at_work`] to report to a later [`Run`] of the
/// instance that the body has not ended.
#[derive(Clone)]
pub struct StepExecution(pub(in crate::executor) Arc<Execution>);

impl StepExecution {
    /// The id of the pointer to which the body belongs.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.0.pointer
    }

    /// The stable id of the step.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.0.step
    }
}

impl Run {
    /// Reports a body of this instance that has not ended, although this `Run` does not wait for its result. Either an
    /// earlier [`Run`] began the body, or the attempt ended before the body did. `job` is the number of the body's job.
    /// No other body of the instance may have this number. Later jobs get higher numbers. The report changes nothing if
    /// this `Run` waits for the body.
    pub fn still_at_work(&mut self, job: u64, execution: &StepExecution) {
        self.bodies.number_after(job);
        if !self.bodies.runs(job) {
            self.linger(job, &execution.0);
        }
    }

    /// Reports that the body of this job has ended without a valid result: the body was dropped, or kept running after
    /// the end of its attempt. Returns whether something may have waited for the end of the body. If so, commit again.
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

    /// The ids of the pointers and sagas that wait until an earlier body of a step has ended. Such a pointer has to
    /// begin its next body, and such a saga has to begin its next compensation.
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

    /// Cancels a body whose result is no longer needed.
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

    /// Whether a body lingers that belongs to the pointer's step, or to the step that the pointer compensates.
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

    /// Whether a body lingers that belongs to this pointer, or to a pointer inside this pointer.
    pub(super) fn lingers_within(&self, pointer: &str) -> bool {
        if !self.bodies.has_lingering() {
            return false;
        }
        let around = place_of(&self.definition, pointer);
        self.bodies.lingering().any(|body| pointer_id::is_place_within(&body.path, &around))
    }
}

fn place_of(definition: &AnyDefinition, pointer: &str) -> String {
    let has_rounds = |step: &str| definition.find(step).is_some_and(|node| node.verb.has_rounds());
    pointer_id::attempt_place(pointer, has_rounds)
}
