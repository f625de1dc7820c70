//! Interventions of an operator at a suspended instance: it continues after its failed steps, or from another step.

use std::collections::BTreeMap;

use super::{Env, Run};
use crate::{
    Result,
    models::{PointerChange, PointerStatus, attributes, pointer_id},
    program::Node,
};

/// `Err`: why the intervention was refused. Then nothing has changed.
type Done = std::result::Result<(), String>;

impl Run {
    /// Skips each failed step: the instance continues after it.
    pub(super) fn skip_failed(&mut self, env: &mut Env<'_>) -> Result<Done> {
        let failed = self.failed();
        if failed.is_empty() {
            let why = "none of the instance's steps has failed, so there is nothing to skip: \
                       resume the instance, or resume it from a step that you name";
            return Ok(Err(why.to_owned()));
        }
        self.set_resumed(env)?;
        for at in failed {
            // The effects of another skipped step may have cancelled this one.
            if self.is_failed(&at) {
                let pointer = self.pointers.edit(&at)?;
                pointer.status = pointer.status.after(PointerChange::Skip)?;
                self.proceed(&at, env)?;
            }
        }
        Ok(Ok(()))
    }

    /// Resumes the instance from the step `step`, in each run of the step's sequence that contains a failed step, at
    /// any depth. Other active steps in these runs are cancelled. Steps that have failed elsewhere get another attempt.
    pub(super) fn resume_from(&mut self, step: &str, env: &mut Env<'_>) -> Result<Done> {
        let definition = self.definition.clone();
        let Some(target) = definition.find(step) else {
            return Ok(Err(format!(
                "cannot resume from {step:?}: the instance's definition has no such step"
            )));
        };
        let sequences = self.sequences_of(target)?;
        if sequences.is_empty() {
            return Ok(Err(format!(
                "cannot resume from {step:?}: this step is inside a container in which no step has failed; \
                 name a step of the main path, or a step beside or around a failed step"
            )));
        }
        for path in sequences.keys() {
            if let Some(saga) = self.half_compensated(path)? {
                return Ok(Err(format!(
                    "cannot resume from {step:?}: the saga {saga:?} would stay half compensated; \
                     to continue its compensation, skip the failed step of the compensation, or resume the instance"
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
                // The sequence may have ended while a side branch was active. It has not ended any more.
                if self.pointers.get(&at)?.has(attributes::LAST) {
                    self.pointers.edit(&at)?.unset(attributes::LAST);
                }
            }
            self.begin_step(target.index, &beside, &beside)?;
        }
        self.retry_failed()?;
        Ok(Ok(()))
    }

    /// The runs of the step's sequence that contain a failed step, by the path that the pointers of a run share. Each
    /// path comes with a pointer of the run. The run of the main path is always found.
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

    /// The ids of the pointers of one run of a sequence, without the pointers inside them.
    fn pointers_in(&self, path: &str) -> Vec<String> {
        let is_here = |id: &&str| pointer_id::is_in_sequence(id, path);
        self.pointers.iter().map(|p| p.id.as_str()).filter(is_here).map(str::to_owned).collect()
    }

    /// The step of a saga on or below this path that is being compensated.
    fn half_compensated(&self, path: &str) -> Result<Option<String>> {
        for pointer in self.pointers.iter().filter(|p| p.active && p.id.starts_with(path)) {
            if self.is_compensating(&pointer.id)? {
                return Ok(Some(pointer.step_name.clone().unwrap_or_default()));
            }
        }
        Ok(None)
    }

    /// The ids of the failed pointers that wait for an operator's decision.
    fn failed(&self) -> Vec<String> {
        let mut failed = self.pointers.in_status(&[PointerStatus::Failed]);
        failed.retain(|id| self.is_failed(id));
        failed
    }

    fn is_failed(&self, id: &str) -> bool {
        self.pointers.get(id).is_ok_and(|p| p.active && p.status == PointerStatus::Failed)
    }
}
