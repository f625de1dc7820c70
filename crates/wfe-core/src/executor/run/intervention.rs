//! What somebody does by hand at an instance that stands still: it goes on behind its failed steps, or from another one.

use std::collections::BTreeMap;

use super::{Env, Run};
use crate::{
    Result,
    models::{PointerChange, PointerStatus, attributes, pointer_id},
    program::Node,
};

/// Whether it was done; if not, why: nothing has changed then.
type Done = std::result::Result<(), String>;

impl Run {
    /// The instance goes on behind each of its failed steps.
    pub(super) fn skip_failed(&mut self, env: &mut Env<'_>) -> Result<Done> {
        let failed = self.failed();
        if failed.is_empty() {
            let why = "none of its steps has failed, so there is nothing to skip: \
                       resume it, or let it go on from a step that you name";
            return Ok(Err(why.to_owned()));
        }
        self.set_resumed(env)?;
        for at in failed {
            // What followed from another one may have taken this one away.
            if self.is_failed(&at) {
                let pointer = self.pointers.edit(&at)?;
                pointer.status = pointer.status.after(PointerChange::Skip)?;
                self.proceed(&at, env)?;
            }
        }
        Ok(Ok(()))
    }

    /// The instance goes on from the step `step`, in each sequence of its that a failed step is in, or is inside of. What
    /// else is at work in these is taken away; what has failed elsewhere is tried again.
    pub(super) fn resume_from(&mut self, step: &str, env: &mut Env<'_>) -> Result<Done> {
        let definition = self.definition.clone();
        let Some(target) = definition.find(step) else {
            return Ok(Err(format!("it cannot go on from {step:?}: its definition has no such step")));
        };
        let sequences = self.sequences_of(target)?;
        if sequences.is_empty() {
            return Ok(Err(format!(
                "it cannot go on from {step:?}, which is inside of something in which none of its steps has failed: \
                 name a step of the main path, or one beside or around a failed step"
            )));
        }
        for path in sequences.keys() {
            if let Some(saga) = self.half_compensated(path)? {
                return Ok(Err(format!(
                    "it cannot go on from {step:?}, because the saga {saga:?} would be left half undone: \
                     skip the failed step of the compensation, or resume the instance, and its compensation goes on"
                )));
            }
        }
        self.set_resumed(env)?;
        for (path, beside) in sequences {
            for at in self.pointers_in(&path) {
                if self.pointers.get(&at)?.active {
                    self.cancel_inside(&at, env)?;
                    self.cancel(&at, env)?;
                }
                // The sequence may have come to its end, beside a side branch: now it has not.
                if self.pointers.get(&at)?.has(attributes::LAST) {
                    self.pointers.edit(&at)?.unset(attributes::LAST);
                }
            }
            self.begin_step(target.index, &beside, &beside)?;
        }
        self.retry_failed()?;
        Ok(Ok(()))
    }

    /// The runs of the sequence in which the step stands, by the paths that their pointers have in common; with a pointer in
    /// each. Of the main path there is one always.
    fn sequences_of(&self, target: &Node) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        let mut add = |beside: &str| {
            found.entry(pointer_id::sequence(beside).to_owned()).or_insert_with(|| beside.to_owned());
        };
        for failed in self.failed() {
            for around in self.pointers.get(&failed)?.scope.iter().chain([&failed]) {
                if self.node_of(around)?.sequence == target.sequence {
                    add(around);
                }
            }
        }
        if target.container.is_none() {
            self.pointers.iter().rev().filter(|p| p.scope.is_empty()).for_each(|p| add(&p.id));
        }
        Ok(found)
    }

    /// Ids of the pointers of one run of a sequence, without what is inside of them.
    fn pointers_in(&self, path: &str) -> Vec<String> {
        let is_here = |id: &&str| pointer_id::is_in_sequence(id, path);
        self.pointers.iter().map(|p| p.id.as_str()).filter(is_here).map(str::to_owned).collect()
    }

    /// A saga on or below this path that is being undone just now.
    fn half_compensated(&self, path: &str) -> Result<Option<String>> {
        for pointer in self.pointers.iter().filter(|p| p.active && p.id.starts_with(path)) {
            if self.is_compensating(&pointer.id)? {
                return Ok(Some(pointer.step_name.clone().unwrap_or_default()));
            }
        }
        Ok(None)
    }

    /// Ids of the pointers that wait for somebody to decide what comes of their failure.
    fn failed(&self) -> Vec<String> {
        let mut failed = self.pointers.in_status(&[PointerStatus::Failed]);
        failed.retain(|id| self.is_failed(id));
        failed
    }

    fn is_failed(&self, id: &str) -> bool {
        self.pointers.get(id).is_ok_and(|p| p.active && p.status == PointerStatus::Failed)
    }
}
