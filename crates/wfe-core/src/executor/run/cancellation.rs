//! The cancellation of pointers that have not ended. The cause of a cancellation is a cancel condition, a go-to, a
//! failed saga, or the end of the instance.

use super::{Env, Run, saga::log::CUT_SHORT};
use crate::{
    Result,
    executor::reopening::Stopped,
    models::{PointerChange, PointerStatus, attributes, pointer_id},
};

impl Run {
    /// Cancels the pointers inside `at`, and moves them to the history.
    pub(in crate::executor) fn cancel_inside(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        let path = pointer_id::inside(at);
        self.note_cut_short(at)?;
        for id in self.pointers.below(&path) {
            self.cancel(&id, env)?;
            let pointer = self.pointers.remove(&id)?;
            self.pending.finish(pointer);
        }
        self.windows.close(at);
        self.saga_log.forget(at);
        let saga_log = &self.saga_log;
        self.pending.retain_requests(|want| {
            let is_inside = want.container == at || want.container.starts_with(&path);
            !is_inside || saga_log.reads(&want.container)
        });
        self.pointers.no_branches(at)
    }

    /// Cancels the pointer if it has not ended. Its body is notified, and its subscription is closed. The pointer stays
    /// in the live instance.
    pub(in crate::executor) fn cancel(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        if !self.pointers.get(at)?.active {
            return Ok(());
        }
        self.log_cut_short(at, CUT_SHORT)?;
        self.stop_waiting(at)?;
        let pointer = self.pointers.edit(at)?;
        // A failed pointer that waited to be resumed stays failed.
        if !pointer.status.is_final() {
            pointer.status = pointer.status.after(PointerChange::Cancel)?;
        }
        self.deactivate(at, env)
    }

    /// Stops all waits of the pointer: for its body, event, child, timer and items.
    pub(super) fn stop_waiting(&mut self, at: &str) -> Result<()> {
        if let Some(work) = self.bodies.remove(at) {
            self.cancel_body(work);
        }
        self.bodies.not_ready(at);
        self.windows.close(at);
        self.saga_log.forget(at);
        self.unsubscribe(at)?;
        self.clear_timer(at)
    }

    /// Cancels the pointer and the pointers inside it, because its cancel condition holds. The instance continues after
    /// the pointer's step, or after the sequence of the step.
    pub(super) fn cancel_and_proceed(&mut self, at: &str, env: &mut Env<'_>) -> Result<()> {
        self.cancel_inside(at, env)?;
        self.cancel(at, env)?;
        if self.node_of(at)?.cancel_ends_branch() {
            self.end_sequence(at, env)
        } else {
            self.proceed(at, env)
        }
    }

    /// Cancels all active pointers, and closes all subscriptions. `records` says whether each pointer stores where it
    /// stood, for a retry.
    pub(super) fn cancel_all(&mut self, records: bool, env: &mut Env<'_>) -> Result<()> {
        let active: Vec<String> = self.pointers.iter().filter(|p| p.active).map(|p| p.id.clone()).collect();
        if records && active.is_empty() && !self.pointers.iter().any(|p| p.has(attributes::STOPPED)) {
            // All steps had ended while the instance was suspended.
            let last = self.pointers.iter().next_back().map(|p| p.id.clone());
            if let Some(last) = last {
                self.keep_stopped(&last, &Stopped { was: PointerStatus::Complete, ..Stopped::failed() })?;
            }
        }
        for id in active {
            if records {
                self.note_stopped(&id, false)?;
            }
            self.cancel(&id, env)?;
        }
        self.close_all_subscriptions();
        self.pending.stop();
        Ok(())
    }

    /// Stores with an active pointer where it stands, before the end of the instance cancels it. `closing` says whether
    /// the instance closes first.
    pub(super) fn note_stopped(&mut self, at: &str, closing: bool) -> Result<()> {
        let (pointer, child) = (self.pointers.get(at)?, self.child_of(at)?);
        // A child that is not stored yet never starts, so its step begins again.
        let is_new = child.as_ref().is_some_and(|child| self.pending.is_new_child(child));
        let stopped = Stopped {
            was: if is_new { PointerStatus::Pending } else { pointer.status },
            until: pointer.sleep_until.filter(|_| !is_new),
            child: child.filter(|_| !is_new),
            closing,
            compensated: false,
        };
        self.keep_stopped(at, &stopped)
    }

    pub(super) fn keep_stopped(&mut self, at: &str, stopped: &Stopped) -> Result<()> {
        let stopped = serde_json::to_value(stopped)?;
        self.pointers.edit(at)?.set(attributes::STOPPED, stopped);
        Ok(())
    }

    /// Stops all waits of the pointer, and makes the pointer pending again.
    pub(in crate::executor) fn wake(&mut self, at: &str) -> Result<()> {
        self.stop_waiting(at)?;
        let pointer = self.pointers.edit(at)?;
        if matches!(pointer.status, PointerStatus::Sleeping | PointerStatus::WaitingForEvent) {
            pointer.status = pointer.status.after(PointerChange::Wake)?;
        }
        Ok(())
    }
}
