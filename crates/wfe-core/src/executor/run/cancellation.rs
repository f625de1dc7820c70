//! Taking away what has not ended: a cancel condition, a go-to, a failed saga, the end of the instance.

use super::{Env, Run};
use crate::{
    Result,
    executor::Lifecycle,
    models::{PointerChange, PointerStatus, StatusChange, pointer_id},
    traits::{Ending, StepFailure},
};

impl Run {
    /// Takes away what is inside of `at`; it becomes history.
    pub(in crate::executor) fn take_away_below(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        let path = pointer_id::inside(at);
        self.note_cut_short(at)?;
        for id in self.live.below(&path) {
            self.take_away(&id, env)?;
            let pointer = self.live.remove(&id)?;
            self.delta.finished.push(pointer);
        }
        self.windows.remove(at);
        self.saga_log.forget(at);
        let saga_log = &self.saga_log;
        self.wants.retain(|want| {
            let is_inside = want.container == at || want.container.starts_with(&path);
            !is_inside || saga_log.reads(&want.container)
        });
        self.live.no_branches(at)
    }

    /// Takes the pointer away, if it has not ended: its body is told, its wait is closed. It stays in the live instance.
    pub(super) fn take_away(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        if !self.live.get(at)?.active {
            return Ok(());
        }
        self.let_go(at)?;
        let pointer = self.live.edit(at)?;
        // A failed pointer that waited to be resumed stays failed.
        if !pointer.status.is_final() {
            pointer.status = pointer.status.after(PointerChange::Cancel)?;
        }
        self.rest(at, env)
    }

    /// The pointer waits for nothing any more: no body, no event, no child, no time, no items.
    pub(super) fn let_go(&mut self, at: &str) -> Result<()> {
        if let Some(work) = self.bodies.remove(at) {
            self.cancel_body(work);
        }
        self.bodies.not_ready(at);
        self.windows.remove(at);
        self.saga_log.forget(at);
        self.unwait(at)?;
        self.clear_timer(at)
    }

    /// The pointer and what is inside it are taken away; the instance goes on behind it.
    pub(super) fn cancel_and_go_on(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.take_away_below(at, env)?;
        self.take_away(at, env)?;
        self.go_on(at, env)
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
        self.take_all_away(env)?;
        self.tell(Lifecycle::Terminated { ending }, env);
        Ok(())
    }

    pub(super) fn take_all_away(&mut self, env: &mut Env<'_>) -> Result<()> {
        let active: Vec<String> = self.live.iter().filter(|p| p.active).map(|p| p.id.clone()).collect();
        for id in active {
            self.take_away(&id, env)?;
        }
        self.close_all_waits();
        self.queue.clear();
        self.wants.clear();
        Ok(())
    }

    /// The pointer is pending again, whatever it has waited for.
    pub(in crate::executor) fn rouse(&mut self, at: &str) -> Result<()> {
        self.let_go(at)?;
        let pointer = self.live.edit(at)?;
        if matches!(pointer.status, PointerStatus::Sleeping | PointerStatus::WaitingForEvent) {
            pointer.status = pointer.status.after(PointerChange::Wake)?;
        }
        Ok(())
    }
}
