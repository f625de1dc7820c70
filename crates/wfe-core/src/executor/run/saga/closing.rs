//! Ending an instance in which sagas are open, or half undone: what is to be undone is undone first.
//!
//! While that goes on the instance is *closing*: nothing but compensations, and what is inside of them, is at work.
//! That it is closing, and how it ends, stands in the sagas that are undone.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{
    Result,
    executor::run::{Env, Run},
    models::{ExecutionPointer, PointerStatus, StatusChange, WorkflowStatus, attributes},
    steps::StepError,
    traits::{Ending, StepFailure},
};

/// How an instance with these pointers ends when its open sagas are undone; `None`: it does nothing of the kind.
#[must_use]
pub fn closing<'p>(pointers: impl IntoIterator<Item = &'p ExecutionPointer>) -> Option<Ending> {
    let is_saga = |p: &ExecutionPointer| p.attribute(attributes::KIND).is_some_and(|kind| kind == "saga");
    let mut undone =
        pointers.into_iter().filter(|p| p.active && p.status == PointerStatus::Running && is_saga(p));
    undone.find_map(|p| Ending::deserialize(&p.persistence_data.as_ref()?["undoing"]["end"][0]).ok())
}

impl Run {
    /// Ends the instance before its end, but undoes its open sagas first.
    pub(in crate::executor::run) fn close(
        &mut self,
        ending: Ending,
        cause: Option<StepFailure>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        if self.fault.is_some() {
            // A request always takes effect; that this was not possible is not passed over.
            let error = StepError::fatal(
                "it was ended while it did not fit its definition: what its open sagas have done was not undone",
            );
            self.record_failure("", String::new(), 1, &error.with_code(StepError::DEFINITION), env);
            return self.end_early(ending, cause, env);
        }
        let open = self.open_sagas()?;
        if open.is_empty() {
            return self.end_early(ending, cause, env);
        }
        if self.status == WorkflowStatus::Suspended {
            self.set_status(StatusChange::Resume, None)?;
            self.pending.listen();
            self.retry_failed()?;
        }
        self.cancel_all_but("", &open, env)?;
        let mut begun = Vec::new();
        for saga in open {
            if self.saga_state(&saga)?.compensating.is_none() {
                begun.push(saga.clone());
            }
            self.compensate_then_end(&saga, ending, cause.clone(), env)?;
        }
        // Not before all of them say so: the last one that is undone ends the instance, and one may have nothing to undo.
        for saga in begun {
            self.compensate_next(&saga, env)?;
        }
        Ok(())
    }

    /// The workflow ends here, well. What is at work is taken away, but for a saga that is just being undone: that would be
    /// left half undone, so it is undone in full first.
    pub(in crate::executor) fn end_here(&mut self, env: &mut Env<'_>) -> Result<()> {
        let mut undone = BTreeSet::new();
        for pointer in self.pointers.iter() {
            if self.is_compensating(&pointer.id)? {
                undone.insert(pointer.id.clone());
            }
        }
        if undone.is_empty() {
            return self.end_well(env);
        }
        let undone = self.outermost(&undone)?;
        self.cancel_all_but("", &undone, env)?;
        for saga in undone {
            self.compensate_then_end(&saga, Ending::Completed, None, env)?;
        }
        Ok(())
    }

    /// A saga that the instance waited for is undone: if no other is left, it ends.
    pub(super) fn end_after_compensation(
        &mut self,
        ending: Ending,
        cause: Option<StepFailure>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        match ending {
            _ if self.is_closing() => Ok(()),
            Ending::Completed => self.end_if_over(env),
            _ => self.end_early(ending, cause, env),
        }
    }

    /// The outermost sagas that have something to undo, or are about it.
    fn open_sagas(&self) -> Result<BTreeSet<String>> {
        let mut open = BTreeSet::new();
        for pointer in self.pointers.iter() {
            let is_running = pointer.active && pointer.status == PointerStatus::Running;
            if is_running
                && self.node_of(&pointer.id)?.verb.is_saga()
                && !pointer.has(attributes::IN_FALLBACK)
                && self.sagas_around(&pointer.id)?.is_empty()
            {
                open.insert(pointer.id.clone());
            }
        }
        self.outermost(&open)
    }

    /// A saga inside of a compensation belongs to what the saga around it is about.
    pub(super) fn outermost(&self, sagas: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let mut outermost = sagas.clone();
        for saga in sagas {
            if self.pointers.get(saga)?.scope.iter().any(|around| sagas.contains(around)) {
                outermost.remove(saga);
            }
        }
        Ok(outermost)
    }

    /// Takes away what is inside of `at` (empty: anywhere), and is neither one of these sagas nor inside of one. What is
    /// around them is taken away too: it would act on, tick, take an answer or take them away, while they are undone.
    pub(super) fn cancel_all_but(
        &mut self,
        at: &str,
        sagas: &BTreeSet<String>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        let is_inside = |p: &ExecutionPointer| at.is_empty() || p.scope.iter().any(|around| around == at);
        let others = self.pointers.iter().filter(|p| p.active && is_inside(p));
        let others = others.filter(|p| !p.scope.iter().chain([&p.id]).any(|id| sagas.contains(id)));
        let others: Vec<String> = others.map(|p| p.id.clone()).collect();
        for id in others {
            self.cancel(&id, env)?;
        }
        Ok(())
    }

    /// Whether the instance only undoes what is open, and ends then.
    pub(in crate::executor::run) fn is_closing(&self) -> bool {
        closing(self.pointers.iter()).is_some()
    }
}
