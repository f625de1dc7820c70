//! Ends an instance whose sagas are open or partly compensated. The sagas are compensated before the instance ends.
//!
//! Meanwhile the instance is *closing*: only compensations, and the steps inside them, are active. The state of each
//! saga that is being compensated records that the instance is closing, and how the instance will end.

use std::collections::BTreeSet;

use super::state;
use crate::{
    Result,
    executor::run::{Env, Run},
    models::{ExecutionPointer, PointerStatus, StatusChange, WorkflowStatus, attributes},
    steps::StepError,
    traits::{Ending, StepFailure},
};

impl Run {
    /// Compensates the open sagas, then ends the instance early.
    pub(in crate::executor::run) fn close(
        &mut self,
        ending: Ending,
        cause: Option<StepFailure>,
        env: &mut Env<'_>,
    ) -> Result<()> {
        if self.fault.is_some() {
            // A request always takes effect. The failure records that the compensation was not possible.
            let error = StepError::fatal(
                "the instance did not fit its definition when it was ended: its open sagas were not compensated",
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
        // The compensations begin only after all sagas have stored how the instance ends. The saga that is compensated
        // last ends the instance, and a saga may have nothing to compensate.
        for saga in begun {
            self.compensate_next(&saga, env)?;
        }
        Ok(())
    }

    /// Ends the instance as completed, because a step that ends the workflow was reached.
    ///
    /// All active steps are cancelled, except steps in a saga that is being compensated. The instance ends only when
    /// the compensation of such a saga has ended. Otherwise, the saga would stay partly compensated.
    pub(in crate::executor) fn end_here(&mut self, env: &mut Env<'_>) -> Result<()> {
        let mut compensating = BTreeSet::new();
        for pointer in self.pointers.iter() {
            if self.is_compensating(&pointer.id)? {
                compensating.insert(pointer.id.clone());
            }
        }
        if compensating.is_empty() {
            return self.end_well(env);
        }
        let compensating = self.outermost(&compensating)?;
        self.cancel_all_but("", &compensating, env)?;
        for saga in compensating {
            self.compensate_then_end(&saga, Ending::Completed, None, env)?;
        }
        Ok(())
    }

    /// Ends the instance after the compensation of a saga, unless another saga is still being compensated.
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

    /// The outermost sagas that are running or being compensated. A saga whose fallback runs is left out.
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

    /// Returns the given sagas that are not inside another given saga. So a saga inside the compensation of a given
    /// saga is left out, because it is a part of that compensation.
    pub(super) fn outermost(&self, sagas: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let mut outermost = sagas.clone();
        for saga in sagas {
            if self.pointers.get(saga)?.scope.iter().any(|around| sagas.contains(around)) {
                outermost.remove(saga);
            }
        }
        Ok(outermost)
    }

    /// Cancels all pointers inside `at`, except the given sagas and the pointers inside these sagas. If `at` is the
    /// empty string, this applies to all pointers of the instance.
    ///
    /// If `at` is the empty string, the instance closes, so each pointer stores where it stood.
    ///
    /// The containers that enclose the sagas are cancelled too. Otherwise, a container could continue, tick, accept an
    /// answer, or cancel the sagas during the compensation.
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
            if at.is_empty() {
                self.note_stopped(&id, true)?;
            }
            self.cancel(&id, env)?;
        }
        Ok(())
    }

    /// Whether the instance is closing: it compensates its open sagas, does nothing else, and then ends.
    pub(in crate::executor::run) fn is_closing(&self) -> bool {
        state::closing(self.pointers.iter()).is_some()
    }
}
