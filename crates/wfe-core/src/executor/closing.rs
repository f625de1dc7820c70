//! Ending an instance in which sagas are open: what they have done is undone first.
//!
//! While that goes on the instance is *closing*: nothing but compensations, and what is inside of them, is at work.
//! That it is closing, and how it ends, stands in the sagas that are undone.

use super::{
    Env, Run,
    moves::{IN_FALLBACK, KIND},
};
use crate::{
    Result,
    models::{PointerStatus, StatusChange, WorkflowStatus},
    steps::StepError,
    traits::{Ending, StepFailure},
};

impl Run {
    /// Ends the instance before its end, but undoes its open sagas first.
    pub(super) fn close(
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
            self.note_failure("", String::new(), 1, &error.with_code(StepError::DEFINITION), env);
            return self.end_early(ending, cause, env);
        }
        let open = self.open_sagas()?;
        if open.is_empty() {
            return self.end_early(ending, cause, env);
        }
        if self.status == WorkflowStatus::Suspended {
            self.set_status(StatusChange::Resume, None)?;
            self.try_failed_again()?;
        }
        let active: Vec<String> = self.live.iter().filter(|p| p.active).map(|p| p.id.clone()).collect();
        for id in active {
            let concerns = |(saga, scope): &(String, Vec<String>)| {
                *saga == id
                    || scope.contains(&id)
                    || id.strip_prefix(&**saga).is_some_and(|r| r.starts_with('/'))
            };
            if !open.iter().any(concerns) {
                self.take_away(&id, env)?;
            }
        }
        let mut begun = Vec::new();
        for (saga, _) in open {
            if self.saga_state(&saga)?.undoing.is_none() {
                begun.push(saga.clone());
            }
            self.undo_at_end(&saga, ending, cause.clone(), env)?;
        }
        // Not before all of them say so: the last one that is undone ends the instance, and one may have nothing to undo.
        for saga in begun {
            self.undo_next(&saga, env)?;
        }
        Ok(())
    }

    /// The outermost sagas that have something to undo, or are about it; each with what is around it.
    fn open_sagas(&self) -> Result<Vec<(String, Vec<String>)>> {
        let mut open = Vec::new();
        for pointer in self.live.iter() {
            let is_running = pointer.active && pointer.status == PointerStatus::Running;
            if is_running
                && self.node_of(&pointer.id)?.primitive.is_saga()
                && !pointer.extension_attributes.contains_key(IN_FALLBACK)
                && self.sagas_around(&pointer.id)?.is_empty()
            {
                open.push((pointer.id.clone(), pointer.scope.clone()));
            }
        }
        // A saga inside of a compensation belongs to what the saga around it is about.
        let all: Vec<String> = open.iter().map(|(id, _)| id.clone()).collect();
        open.retain(|(_, scope)| !scope.iter().any(|around| all.contains(around)));
        Ok(open)
    }

    /// Whether the instance only undoes what is open, and ends then.
    pub(super) fn is_closing(&self) -> bool {
        self.live.iter().any(|p| {
            p.active
                && p.status == PointerStatus::Running
                && p.extension_attributes.get(KIND).is_some_and(|kind| kind == "saga")
                && p.persistence_data.as_ref().is_some_and(|kept| !kept["undoing"]["end"].is_null())
        })
    }
}
