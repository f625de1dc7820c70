//! Containers and their branches: how a branch begins and ends.

use serde_json::Value;

use super::{Env, Run};
use crate::{
    Result, WfeError,
    models::{ExecutionPointer, PointerChange, attributes, pointer_id},
    program::{Branch, Node},
    steps::result_of,
};

impl Run {
    /// Makes the pointer a container. The pointer's own work is done, and it waits for its branches.
    pub(in crate::executor) fn become_container(&mut self, at: &str, kept: Option<Value>) -> Result<()> {
        let kind = self.node_of(at)?.verb.kind();
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Run)?;
        pointer.persistence_data = kept;
        pointer.set(attributes::KIND, kind);
        Ok(())
    }

    /// Prepares a container that begins again after its branches were cancelled. The pointers of the new branches get
    /// new ids, although the branches have the same keys as before. The pointer stores the number of starts, so that a
    /// replay after a crash creates the same ids.
    pub(in crate::executor) fn restart(&mut self, at: &str) -> Result<()> {
        let pointer = self.pointers.edit(at)?;
        let time = pointer.number(attributes::START).unwrap_or(1);
        pointer.set(attributes::START, time + 1);
        Ok(())
    }

    /// Begins the branch with this key in the container `at`. No other branch may have used the key since the container
    /// last [began again](Self::restart).
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

    /// Ends the branch of the pointer `at` if no pointer of the branch is active any more. Called after `at` has ended,
    /// if `at` was the last pointer of its sequence or ran alongside its sequence.
    pub(in crate::executor) fn settle(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
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
}

/// Returns the branch with this index from the node.
pub(in crate::executor) fn branch_of(node: &Node, index: usize) -> Result<Branch> {
    node.branches.get(index).copied().ok_or(WfeError::StepNotFound(node.index))
}

pub(super) fn inherit(pointer: &mut ExecutionPointer, from: &ExecutionPointer, attributes: &[&str]) {
    for name in attributes {
        if let Some(value) = from.attribute(name) {
            pointer.set(name, value.clone());
        }
    }
}
