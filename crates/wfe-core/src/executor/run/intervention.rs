//! Interventions of an operator in a suspended instance. The instance continues after its failed steps, or from another
//! step.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Env, Run};
use crate::{
    Result,
    models::{PointerChange, PointerStatus, attributes, pointer_id},
    program::Node,
};

/// The result of an intervention. `Err` gives the reason why the intervention was refused. A refused intervention
/// changes nothing.
type Done = std::result::Result<(), String>;

impl Run {
    /// Skips each failed step. The instance continues after the skipped steps.
    pub(super) fn skip_failed(&mut self, env: &mut Env<'_>) -> Result<Done> {
        let failed = self.failed();
        if failed.is_empty() {
            let why = "none of the instance's steps has failed, so there is nothing to skip: \
                       resume the instance, or resume it from a step that you name";
            return Ok(Err(why.to_owned()));
        }
        self.set_resumed(env)?;
        for at in failed {
            // The effects of another skipped step may have cancelled this pointer.
            if self.is_failed(&at) {
                self.log_cut_short(&at, "the step was skipped after it had failed")?;
                let pointer = self.pointers.edit(&at)?;
                pointer.status = pointer.status.after(PointerChange::Skip)?;
                self.proceed(&at, env)?;
            }
        }
        Ok(Ok(()))
    }

    /// Resumes the instance from the step with the id `step`. The sequence of this step may run several times. The step
    /// begins in each run of the sequence in which a step has failed, directly in the sequence or at any depth inside
    /// it. If the step is on the main path, it begins there even if no step has failed. Other active steps in these
    /// runs are cancelled. Failed steps outside these runs get another attempt.
    pub(super) fn resume_from(&mut self, step: &str, env: &mut Env<'_>) -> Result<Done> {
        let definition = self.definition.clone();
        let Some(target) = definition.find(step) else {
            return Ok(Err(format!(
                "cannot resume from {step:?}: the instance's definition has no such step"
            )));
        };
        let sequences = self.sequences_of(target)?;
        if target.verb.decides_by_given()
            && sequences.values().any(|beside| self.given_to(target, beside).is_none())
        {
            return Ok(Err(format!(
                "cannot resume from {step:?}: this step decides by the value that the step before it gives, \
                 and has no such value; name the step before it"
            )));
        }
        if sequences.is_empty() {
            return Ok(Err(format!(
                "cannot resume from {step:?}: this step is inside a container in which no step has failed; \
                 name a step of the main path, or a step in the sequence of a failed step \
                 or in an enclosing sequence"
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
                // The sequence may have ended while a side branch was active. Now the sequence continues, so no pointer
                // is its last one.
                if self.pointers.get(&at)?.has(attributes::LAST) {
                    self.pointers.edit(&at)?.unset(attributes::LAST);
                }
            }
            let given = self.given_to(target, &beside);
            let begun = self.begin_step(target.index, &beside, &beside)?;
            if let Some(given) = given {
                self.pointers.edit(&begun)?.set(attributes::GIVEN, given);
            }
        }
        self.retry_failed()?;
        Ok(Ok(()))
    }

    /// The value by which the last execution of the step decided. The step that gave this value does not run again, so
    /// the next execution of the step decides by the same value.
    fn given_to(&self, target: &Node, beside: &str) -> Option<Value> {
        let first = pointer_id::in_sequence_of(beside, &target.id);
        let executions = self.pointers.executions(&first);
        let last = executions.iter().max_by_key(|id| pointer_id::execution_number(id))?;
        self.pointers.get(last).ok()?.attribute(attributes::GIVEN).cloned()
    }

    /// The runs of the step's sequence that contain a failed step. A key is the path that the pointers of a run share,
    /// and the value is one pointer of the run. If the step is on the main path, the run of the main path is always
    /// included.
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

    /// The ids of the pointers of one run of a sequence, without the pointers inside those pointers.
    fn pointers_in(&self, path: &str) -> Vec<String> {
        let is_here = |id: &&str| pointer_id::is_in_sequence(id, path);
        self.pointers.iter().map(|p| p.id.as_str()).filter(is_here).map(str::to_owned).collect()
    }

    /// The step id of a saga that is on or below this path and is being compensated.
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
