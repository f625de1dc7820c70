//! Attempts of one step never overlap.
//!
//! A body whose result is not wanted any more (it has had its time, or was cancelled) goes on until it has seen its token,
//! is dropped, or, if it blocks its thread, for as long as it likes: it *lingers*. What follows from the end of its attempt
//! is stored at once, and the pause before the next attempt runs. Two things wait until whoever runs the body says that it is
//! over ([`Run::body_over`]): the next body of the same step, and the compensation of that step. Nothing else does: a
//! fallback, the next step, the compensations of other steps, the end of the instance. As long as a body lingers that a later
//! one may have to wait for, the instance is not given back: another process would not know of it.
//!
//! Bodies are attempts of one step if they stand at the same place: the way to their pointers, but for what counts visits
//! of a step (a go-to led back to it), rounds of a saga or a while loop, and how often a container began anew. Each iteration
//! of a for-each and each tick of a recurring branch is a place of its own: those run side by side.

use std::sync::Arc;

use super::{
    Run,
    bodies::{Lingering, RunningBody},
    saga::log::compensated_pointer,
};
use crate::{Result, definition::Definition, executor::idempotency_key, models::pointer_id, steps::Place};

/// Where a body stands: for whoever tells a later [`Run`] of the instance that it has not ended
/// ([`Run::still_at_work`]).
#[derive(Clone)]
pub struct StepExecution(pub(in crate::executor) Arc<Place>);

impl StepExecution {
    /// The pointer whose body it is.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.0.pointer
    }
}

impl Run {
    /// A body of this instance has not ended, though nobody here waits for its result: an earlier [`Run`] has begun it, or
    /// its attempt ended without it. `job` is a number that no other body of the instance has; later ones get higher
    /// numbers. Of a body that this `Run` waits for nothing changes.
    pub fn still_at_work(&mut self, job: u64, place: &StepExecution) {
        self.bodies.number_after(job);
        if !self.bodies.runs(job) {
            self.linger(job, &place.0);
        }
    }

    /// The body of this job has ended without a result that counts: it was dropped, or had gone on after its attempt.
    /// Whether something waited for that: then commit again.
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

    /// The pointers whose next body, and the sagas whose next compensation, waits until an earlier body of the step has ended.
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

    /// The result of this body is not wanted any more.
    pub(super) fn cancel_body(&mut self, work: RunningBody) {
        self.linger(work.job, &work.place);
        self.bodies.cancel(work.token);
    }

    fn linger(&mut self, job: u64, place: &Place) {
        let own = pointer_id::named_by_key(&place.instance, &place.key);
        let path = place_of(&self.definition, &place.pointer);
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
        let undone = compensated_pointer(pointer);
        Ok(self.bodies.lingering().any(|body| body.named == named)
            || undone.is_some_and(|undone| self.lingers_within(undone)))
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
