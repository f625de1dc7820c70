use serde_json::Value;

use super::{Env, Lifecycle, Run, new_pointer};
use crate::{
    Result, WfeError,
    models::{ExecutionPointer, PointerChange, StatusChange, WorkflowStatus},
    steps::INDEX,
    traits::{Ending, StepFailure},
};

/// Attribute of a pointer at work: the kind of its step.
pub(super) const KIND: &str = "kind";

/// The moves that primitives are made of.
impl Run {
    /// The pointer's body may begin once the pointer is stored.
    pub(super) fn make_ready(&mut self, at: &str) {
        self.ready.push(at.to_owned());
    }

    /// The pointer's own body is done; its children are awaited.
    pub(super) fn become_container(&mut self, at: &str, kind: &str, kept: Value) -> Result<()> {
        let pointer = self.live.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Run)?;
        pointer.persistence_data = Some(kept);
        pointer.extension_attributes.insert(KIND.to_owned(), kind.into());
        Ok(())
    }

    /// The pointer ended well; the instance goes on behind it.
    pub(super) fn complete(&mut self, at: &str, outcome: Option<Value>, env: &mut Env<'_>) -> Result<()> {
        let step = self.node_of(at)?.id.to_string();
        let pointer = self.live.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Complete)?;
        pointer.outcome = outcome;
        self.tell(Lifecycle::StepCompleted { step, pointer: at.to_owned() }, env);
        self.go_on(at, env)
    }

    /// The pointer has come to its end; the next step of its sequence begins, or the sequence ends.
    pub(super) fn go_on(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        let pointer = self.live.edit(at)?;
        pointer.active = false;
        pointer.end_time = Some(env.now);
        let container = pointer.scope.last().cloned();
        let (next, definition) = (self.node_of(at)?.next, self.definition.clone());
        match (next, container) {
            (Some(next), _) => {
                let node = definition.node(next);
                let pointer = follower(self.live.get(at)?, node);
                let id = pointer.id.clone();
                self.live.add(pointer);
                node.primitive.enter(self, &id, env)
            }
            (None, Some(container)) => {
                let primitive = self.node_of(&container)?.primitive.clone();
                primitive.branch_ended(self, &container, at, env)
            }
            (None, None) => self.end_if_over(env),
        }
    }

    /// Takes an ended branch of `container` out of the live instance: the pointers from `last` back to the first one.
    /// Gives the id of the first.
    pub(super) fn retire_branch(
        &mut self,
        container: &str,
        last: &str,
        mark_last: impl FnOnce(&mut ExecutionPointer),
    ) -> Result<String> {
        let mut pointer = self.live.remove(last)?;
        mark_last(&mut pointer);
        let mut branch = vec![pointer];
        loop {
            let pointer = &branch[branch.len() - 1];
            if pointer.scope.last().map(String::as_str) != Some(container) {
                return Err(WfeError::Invalid(format!("pointer {:?} is not in {container:?}", pointer.id)));
            }
            let Some(before) = pointer.predecessor_id.clone() else {
                break;
            };
            branch.push(self.live.remove(&before)?);
        }
        let first = branch[branch.len() - 1].id.clone();
        self.delta.finished.extend(branch.into_iter().rev());
        Ok(first)
    }

    /// Ends the instance well if nothing is left to do.
    pub(super) fn end_if_over(&mut self, env: &mut Env<'_>) -> Result<()> {
        // A suspended instance ends when it is resumed.
        if self.status != WorkflowStatus::Runnable || self.live.any_active() {
            return Ok(());
        }
        self.set_status(StatusChange::Complete, None)?;
        self.ending = Some(Ending::Completed);
        self.delta.complete_time = Some(env.now);
        self.tell(Lifecycle::Completed, env);
        Ok(())
    }

    /// Ends the instance before its end: bodies at work are told, live pointers are taken away.
    pub(super) fn end_early(
        &mut self,
        ending: Ending,
        cause: Option<StepFailure>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        self.set_status(StatusChange::Terminate, cause)?;
        self.ending = Some(ending);
        self.delta.complete_time = Some(env.now);
        let active: Vec<String> = self.live.iter().filter(|p| p.active).map(|p| p.id.clone()).collect();
        for id in active {
            let pointer = self.live.edit(&id)?;
            // A failed pointer that waited to be resumed stays failed.
            if !pointer.status.is_final() {
                pointer.status = pointer.status.after(PointerChange::Cancel)?;
            }
            pointer.active = false;
            pointer.end_time.get_or_insert(env.now);
        }
        self.cancelled.extend(self.running.drain().map(|(_, token)| token));
        self.ready.clear();
        self.wants.clear();
        self.windows.clear();
        self.sleeping.clear();
        self.tell(Lifecycle::Terminated { ending }, env);
        Ok(())
    }

    pub(super) fn set_status(&mut self, change: StatusChange, cause: Option<StepFailure>) -> Result<()> {
        self.status = self.status.after(change)?;
        self.cause = cause;
        self.delta.status = Some(self.status);
        Ok(())
    }
}

/// A pointer at the step that follows `before` in the same sequence.
fn follower(before: &ExecutionPointer, node: &crate::definition::Node) -> ExecutionPointer {
    let id = match before.id.rsplit_once('/') {
        Some((iteration, _)) => format!("{iteration}/{}", node.id),
        None => node.id.to_string(),
    };
    let mut pointer = new_pointer(id, node);
    pointer.predecessor_id = Some(before.id.clone());
    pointer.scope.clone_from(&before.scope);
    pointer.context_item.clone_from(&before.context_item);
    if let Some(index) = before.extension_attributes.get(INDEX) {
        pointer.extension_attributes.insert(INDEX.to_owned(), index.clone());
    }
    pointer
}
