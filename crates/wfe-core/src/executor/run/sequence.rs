use serde_json::Value;

use super::{Env, Run, branches::inherit};
use crate::{
    Result, WfeError,
    executor::Lifecycle,
    models::{ExecutionPointer, PointerChange, PointerStatus, attributes, pointer_id},
    program::Verb,
};

/// The basic operations on pointers, from which the primitives are built.
impl Run {
    /// Allows the pointer's body to begin as soon as the pointer is stored.
    pub(in crate::executor) fn make_ready(&mut self, at: &str) {
        self.bodies.make_ready(at.to_owned());
    }

    /// Completes the pointer. The instance continues with the next step.
    pub(in crate::executor) fn complete(
        &mut self,
        at: &str,
        outcome: Option<Value>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        self.completed(at, outcome, env)?;
        self.proceed(at, env)
    }

    /// Completes the pointer. The caller decides what follows.
    pub(in crate::executor) fn completed(
        &mut self,
        at: &str,
        outcome: Option<Value>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let node = self.node_of(at)?;
        let (step, has_compensation) = (String::from(&*node.id), node.compensation.is_some());
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Complete)?;
        pointer.outcome = outcome;
        if has_compensation {
            self.log(at)?;
        }
        self.notify(Lifecycle::StepCompleted { step, pointer: at.to_owned() }, env);
        Ok(())
    }

    /// Begins the next step without waiting for the end of the pointer `at`. The pointer stays active while the
    /// following steps run.
    pub(in crate::executor) fn fork(&mut self, at: &str) -> Result<()> {
        self.pointers.edit(at)?.set(attributes::FORKED, true);
        self.begin_next(at)
    }

    /// Deactivates the pointer, because it has ended. The next step of its sequence begins. If there is no next step,
    /// the sequence ends.
    pub(super) fn proceed(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.deactivate(at, env)?;
        let is_forked = self.pointers.get(at)?.has(attributes::FORKED);
        if !is_forked {
            self.begin_next(at)?;
        }
        if is_forked || self.node_of(at)?.next.is_none() {
            self.settle(at, env)?;
        }
        Ok(())
    }

    /// Deactivates the pointer, because it has ended. Its sequence ends too, as after its last step.
    pub(super) fn end_sequence(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.deactivate(at, env)?;
        self.mark_last(at)?;
        self.settle(at, env)
    }

    /// Deactivates the pointer: the engine has no more work to do for it.
    pub(in crate::executor) fn deactivate(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.data.stop_observing(at);
        let pointer = self.pointers.edit(at)?;
        pointer.active = false;
        pointer.end_time.get_or_insert(env.now);
        Ok(())
    }

    /// Begins the step that follows the step of the pointer `at` in its sequence, if there is one.
    fn begin_next(&mut self, at: &str) -> Result<()> {
        let node = self.node_of(at)?;
        if let Some(next) = node.next {
            let is_given = self.definition.node(next).verb.decides_by_given();
            let given = if is_given { given(self.pointers.get(at)?, &node.verb) } else { None };
            let begun = self.begin_step(next, at, at)?;
            if let Some(given) = given {
                self.pointers.edit(&begun)?.set(attributes::GIVEN, given);
            }
            return Ok(());
        }
        self.mark_last(at)
    }

    /// Marks the last pointer of a branch, whose outcome is that of the branch.
    fn mark_last(&mut self, at: &str) -> Result<()> {
        let pointer = self.pointers.edit(at)?;
        if !pointer.scope.is_empty() {
            pointer.set(attributes::LAST, true);
        }
        Ok(())
    }

    /// Begins the step `node` in the same sequence as the pointer `beside`. The new pointer has `before` as its
    /// predecessor. If earlier execution pointers of the same step in this sequence are finished, they are moved to the
    /// history. Returns the id of the new pointer.
    pub(super) fn begin_step(&mut self, node: usize, beside: &str, before: &str) -> Result<String> {
        let definition = self.definition.clone();
        let node = definition.node(node);
        let first = pointer_id::in_sequence_of(beside, &node.id);
        let mut id = first.clone();
        let mut latest = 0_u64;
        for execution in self.pointers.executions(&first) {
            latest = latest.max(pointer_id::execution_number(&execution));
            if !self.pointers.get(&execution)?.active {
                let pointer = self.pointers.remove(&execution)?;
                self.pending.finish(pointer);
            }
        }
        if latest > 0 {
            id = pointer_id::execution(&first, latest + 1);
        }
        // The loop above may have moved `beside` itself to the history. In this case, its newest history row is used.
        let like = match self.pointers.get(beside) {
            Ok(pointer) => pointer,
            Err(gone) => self.pending.finished(beside).ok_or(gone)?,
        };
        let mut pointer = node.new_pointer(id.clone());
        pointer.predecessor_id = Some(before.to_owned());
        pointer.scope.clone_from(&like.scope);
        pointer.context_item.clone_from(&like.context_item);
        inherit(&mut pointer, like, &[attributes::INDEX, attributes::COMPENSATES]);
        if let Some(container) = like.scope.last() {
            inherit(&mut pointer, self.pointers.get(container)?, &[attributes::FAILURE]);
        }
        self.pointers.add(pointer);
        self.pending.enqueue(id.clone());
        Ok(id)
    }

    /// Cancels the pointer, and begins its step as another execution pointer.
    pub(in crate::executor) fn begin_again(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        let step = self.node_of(at)?.index;
        self.cancel(at, env)?;
        self.begin_step(step, at, at).map(drop)
    }

    /// Ends the pointer `at`, and continues with the step `target`, which is in the same sequence or in an enclosing
    /// sequence. To find the enclosing sequence, sequences are compared and not containers. The reason is that the
    /// container of a compensation is the saga, and not the compensated step.
    pub(in crate::executor) fn go_to(&mut self, at: &str, target: usize, env: &mut Env<'_>) -> Result<()> {
        let sequence = self.definition.node(target).sequence;
        let mut left = None;
        for around in self.pointers.get(at)?.scope.iter().map(String::as_str).chain([at]) {
            if self.node_of(around)?.sequence == sequence {
                left = Some(around.to_owned());
            }
        }
        let Some(left) = left else {
            return Err(WfeError::Invalid(format!(
                "{at:?} goes to a step that is in neither its own sequence nor an enclosing sequence"
            )));
        };
        self.deactivate(at, env)?;
        if left != at {
            self.cancel_inside(&left, env)?;
            self.cancel(&left, env)?;
        }
        self.begin_step(target, &left, &left)?;
        Ok(())
    }
}

/// The value that a step gave to a following step that decides by it, or `None` if the step gave none.
fn given(pointer: &ExecutionPointer, verb: &Verb) -> Option<Value> {
    if pointer.status != PointerStatus::Complete {
        return None;
    }
    match verb {
        Verb::WaitFor(_) => pointer.event_data.clone().filter(|_| pointer.event_published),
        // An activity without an outcome has reached its time limit.
        Verb::Activity(_) => pointer.outcome.clone(),
        _ => Some(pointer.outcome.clone().unwrap_or_default()),
    }
}
