use serde_json::Value;

use super::{Env, Run};
use crate::{
    Result, WfeError,
    executor::Lifecycle,
    models::{ExecutionPointer, PointerChange, StatusChange, WorkflowStatus, attributes, pointer_id},
    program::{Branch, Node},
    steps::result_of,
    traits::{Ending, StepFailure},
};

/// The moves that primitives are made of.
impl Run {
    /// The pointer's body may begin once the pointer is stored.
    pub(in crate::executor) fn make_ready(&mut self, at: &str) {
        self.bodies.make_ready(at.to_owned());
    }

    /// The pointer's own part is done; its children are awaited.
    pub(in crate::executor) fn become_container(&mut self, at: &str, kept: Option<Value>) -> Result<()> {
        let kind = self.node_of(at)?.verb.kind();
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Run)?;
        pointer.persistence_data = kept;
        pointer.set(attributes::KIND, kind);
        Ok(())
    }

    /// What was inside of the container is taken away, and it will begin anew: the branches that it begins then have
    /// names of their own, although their keys are those of before. Counted with the pointer, so that a replay after a
    /// crash gives the same names.
    pub(in crate::executor) fn restart(&mut self, at: &str) -> Result<()> {
        let pointer = self.pointers.edit(at)?;
        let time = pointer.number(attributes::START).unwrap_or(1);
        pointer.set(attributes::START, time + 1);
        Ok(())
    }

    /// Begins a branch of the container `at`, under this key: one that no other branch of it has had since it
    /// [began anew](Self::restart), if it did.
    pub(in crate::executor) fn begin_branch(
        &mut self,
        at: &str,
        key: &str,
        branch: Branch,
        dress: impl FnOnce(&mut ExecutionPointer),
    ) -> Result<()> {
        let definition = self.definition.clone();
        let node = definition.node(branch.first);
        let container = self.pointers.get(at)?;
        let id = pointer_id::first_in_branch(at, key, container.number(attributes::START), &node.id);
        let mut child = node.new_pointer(id.clone());
        child.scope.clone_from(&container.scope);
        child.scope.push(at.to_owned());
        child.context_item.clone_from(&container.context_item);
        inherit(&mut child, container, &[attributes::COMPENSATES, attributes::FAILURE]);
        self.pointers.branch_began(at, &id)?;
        dress(&mut child);
        self.pointers.add(child);
        self.pending.enqueue(id);
        Ok(())
    }

    /// The pointer ended well; the instance goes on behind it.
    pub(in crate::executor) fn complete(
        &mut self,
        at: &str,
        outcome: Option<Value>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        self.completed(at, outcome, env)?;
        self.proceed(at, env)
    }

    /// The pointer ended well; what follows is the caller's.
    pub(in crate::executor) fn completed(
        &mut self,
        at: &str,
        outcome: Option<Value>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let node = self.node_of(at)?;
        let (step, has_compensation) = (node.id.to_string(), node.compensation.is_some());
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Complete)?;
        pointer.outcome = outcome;
        if has_compensation {
            self.log(at)?;
        }
        self.notify(Lifecycle::StepCompleted { step, pointer: at.to_owned() }, env);
        Ok(())
    }

    /// The instance goes on behind the pointer at once; the pointer stays, beside it.
    pub(in crate::executor) fn fork(&mut self, at: &str) -> Result<()> {
        self.pointers.edit(at)?.set(attributes::FORKED, true);
        self.begin_next(at)
    }

    /// The pointer has come to its end; the next step of its sequence begins, or the sequence ends.
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

    /// Nothing more happens at the pointer.
    pub(in crate::executor) fn deactivate(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.data.stop_observing(at);
        let pointer = self.pointers.edit(at)?;
        pointer.active = false;
        pointer.end_time.get_or_insert(env.now);
        Ok(())
    }

    /// A pointer at what follows `at` in its sequence, if anything does.
    fn begin_next(&mut self, at: &str) -> Result<()> {
        if let Some(next) = self.node_of(at)?.next {
            return self.begin_step(next, at, at);
        }
        let pointer = self.pointers.edit(at)?;
        if !pointer.scope.is_empty() {
            pointer.set(attributes::LAST, true);
        }
        Ok(())
    }

    /// A pointer at this node, in the sequence in which `beside` stands, reached from `before`. Finished visits of the same
    /// step there become history.
    pub(in crate::executor) fn begin_step(&mut self, node: usize, beside: &str, before: &str) -> Result<()> {
        let definition = self.definition.clone();
        let node = definition.node(node);
        let first = pointer_id::in_sequence_of(beside, &node.id);
        let mut id = first.clone();
        let mut latest = 0_u64;
        for visit in self.pointers.executions(&first) {
            latest = latest.max(pointer_id::execution_number(&visit));
            if !self.pointers.get(&visit)?.active {
                let pointer = self.pointers.remove(&visit)?;
                self.pending.finish(pointer);
            }
        }
        if latest > 0 {
            id = pointer_id::execution(&first, latest + 1);
        }
        // `beside` itself may be such a visit, and gone by now: the newest history row then.
        let like = match self.pointers.get(beside) {
            Ok(pointer) => pointer.clone(),
            Err(gone) => self.pending.finished(beside).cloned().ok_or(gone)?,
        };
        let mut pointer = node.new_pointer(id.clone());
        pointer.predecessor_id = Some(before.to_owned());
        pointer.scope.clone_from(&like.scope);
        pointer.context_item.clone_from(&like.context_item);
        inherit(&mut pointer, &like, &[attributes::INDEX, attributes::COMPENSATES]);
        if let Some(container) = like.scope.last() {
            inherit(&mut pointer, self.pointers.get(container)?, &[attributes::FAILURE]);
        }
        self.pointers.add(pointer);
        self.pending.enqueue(id);
        Ok(())
    }

    /// Goes from `at` to another node of its sequence, or of one around it. Told by the sequence, not by the container: a
    /// compensation stands in its saga, not in the step that it undoes.
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
                "{at:?} goes to a step of something that is not around it"
            )));
        };
        self.deactivate(at, env)?;
        if left != at {
            self.cancel_inside(&left, env)?;
            self.cancel(&left, env)?;
        }
        self.begin_step(target, &left, &left)
    }

    /// The pointer was the last of its sequence, or beside it: if nothing of the branch is at work any more, the branch
    /// has ended.
    fn settle(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        let Some(container) = self.pointers.get(at)?.scope.last().cloned() else {
            return self.end_if_over(env);
        };
        let key = pointer_id::branch_key(&container, at).to_owned();
        let path = pointer_id::branch_path(&container, at)
            .ok_or_else(|| WfeError::Invalid(format!("{at:?} is not inside its container {container:?}")))?;
        if self.pointers.any_active_below(path) {
            return Ok(());
        }
        let is_fallback = key == pointer_id::FALLBACK && self.is_in_fallback(&container)?;
        let mut result = Ok(None);
        for id in self.pointers.below(path) {
            let pointer = self.pointers.remove(&id)?;
            let is_last = pointer.has(attributes::LAST);
            if is_fallback && is_last && pointer.scope.last() == Some(&container) {
                result = result_of(pointer.status, pointer.outcome.clone(), &pointer.extension_attributes);
            }
            self.pending.finish(pointer);
        }
        self.pointers.branch_ended(&container, path.to_owned())?;
        if is_fallback {
            return self.fallback_ended(&container, result, env);
        }
        let verb = self.verb_of(&container)?;
        self.guard(&container, env, |run, env| verb.primitive().branch_ended(run, &container, &key, env))
    }

    /// What runs in place of the failed step `at`.
    pub(super) fn begin_fallback(&mut self, at: &str, fallback: Branch, failure: Value) -> Result<()> {
        let kept = self.pointers.get(at)?.persistence_data.clone();
        self.become_container(at, kept)?;
        self.pointers.no_branches(at)?;
        let pointer = self.pointers.edit(at)?;
        pointer.set(attributes::IN_FALLBACK, true);
        pointer.set(attributes::FAILURE, failure);
        self.begin_branch(at, pointer_id::FALLBACK, fallback, |_| {})
    }

    /// The step stays failed, with its failure as its outcome; what came of the fallback stands beside that.
    fn fallback_ended(
        &mut self,
        at: &str,
        result: std::result::Result<Option<Value>, Value>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        if let Ok(outcome) = result {
            let pointer = self.pointers.edit(at)?;
            pointer.set(attributes::RESCUED, outcome.unwrap_or_default());
        }
        self.end_fallback(at)?;
        self.proceed(at, env)
    }

    /// The step is failed for good, with its failure as its outcome.
    pub(super) fn end_fallback(&mut self, at: &str) -> Result<()> {
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Fail)?;
        pointer.outcome = pointer.unset(attributes::FAILURE);
        pointer.unset(attributes::IN_FALLBACK);
        Ok(())
    }

    /// Whether the pointer has failed for good, and its fallback runs.
    pub(super) fn is_in_fallback(&self, at: &str) -> Result<bool> {
        Ok(self.pointers.get(at)?.has(attributes::IN_FALLBACK))
    }

    /// Ends the instance well if nothing is left to do.
    pub(super) fn end_if_over(&mut self, env: &mut Env<'_>) -> Result<()> {
        // A suspended instance ends when it is resumed.
        if self.status != WorkflowStatus::Runnable || self.pointers.any_active() {
            return Ok(());
        }
        self.end_well(env)
    }

    /// Ends the instance well; whatever is still live is taken away.
    pub(super) fn end_well(&mut self, env: &mut Env<'_>) -> Result<()> {
        self.set_status(StatusChange::Complete, None)?;
        self.ending = Some(Ending::Completed);
        self.pending.set_complete_time(env.now);
        self.cancel_all(env)?;
        self.notify(Lifecycle::Completed, env);
        Ok(())
    }

    pub(super) fn set_status(&mut self, change: StatusChange, cause: Option<StepFailure>) -> Result<()> {
        self.status = self.status.after(change)?;
        self.cause = cause;
        self.pending.set_status(self.status);
        Ok(())
    }
}

fn inherit(pointer: &mut ExecutionPointer, from: &ExecutionPointer, attributes: &[&str]) {
    for name in attributes {
        if let Some(value) = from.attribute(name) {
            pointer.set(name, value.clone());
        }
    }
}

/// What stands at this node, for those that look at its branches.
pub(in crate::executor) fn branch_of(node: &Node, index: usize) -> Result<Branch> {
    node.branches.get(index).copied().ok_or(WfeError::StepNotFound(node.index))
}
