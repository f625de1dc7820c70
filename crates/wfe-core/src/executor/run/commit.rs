//! Makes a commit from the changes of a run, and the effects from a stored commit.

use std::collections::HashMap;

use super::{Env, Run};
use crate::{
    Result,
    executor::{ChildEnd, Effects, LifecycleEvent},
    models::{Event, ExecutionPointer, WorkflowStatus},
    traits::{Loaded, StepCommit},
};

impl Run {
    /// The changes to store, after an [`advance`](Self::advance). `None`: there are none, though there may be effects
    /// ([`committed`](Self::committed)). Until `committed` is called, this gives the same changes again, and those that
    /// came since.
    #[must_use]
    pub fn pending_commit(&self) -> Option<StepCommit> {
        if self.pointers.is_saved() && self.pending.is_empty() {
            return None;
        }
        Some(StepCommit {
            instance_id: self.id.to_string(),
            ending: self.ending.filter(|_| self.pending.is_end()),
            cause: self.pending.status().and(self.cause.clone()),
            data: self.pending.has_data().then(|| self.data.value().clone()),
            upserted: self.pointers.unsaved().cloned().collect(),
            published: self.end_event().into_iter().collect(),
            ..self.pending.commit()
        })
    }

    /// Reports the end of a child to its parent, in the commit that ends the child.
    fn end_event(&self) -> Option<Event> {
        self.parent.as_ref().filter(|_| self.pending.is_end())?;
        let end = ChildEnd {
            ending: self.ending?,
            data: self.data.value().clone(),
            cause: self.cause.clone(),
            retryable: !self.is_fatal,
        };
        Some(end.event(&self.id))
    }

    /// Reports that the commit is stored, or that there was nothing to store. Gives the effects that are due now.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn committed(&mut self, env: &mut Env<'_>) -> Result<Effects> {
        let is_end = self.pending.is_end();
        self.pointers.saved();
        let delta = self.pending.stored();
        // After a consumed event, another subscription of its stream may have its next event in the store already. For an
        // overdue subscription, an event may have come in time that no delivery has shown yet.
        let waits = (!delta.listen && !self.has_overdue()).then(|| self.subscriptions_to_check(&delta));
        let listen = !self.waits.is_empty() && waits.as_ref().is_none_or(|waits| !waits.is_empty());
        self.waits.take_no_answer(delta.unanswerable);
        for child in &delta.created {
            self.pending.publish(LifecycleEvent::started(child));
        }
        let created = delta.created.into_iter().map(|child| child.id);
        let requested = delta.requested.into_iter().map(|(child, _)| child);
        let parent = self.parent.clone().filter(|_| is_end);
        let mut effects = Effects {
            wakes: created.chain(requested).chain(parent).collect(),
            requests: self.pending.take_requests(),
            listen,
            waits,
            consumed: delta.consumed.into_iter().map(|consumed| consumed.event_id).collect(),
            again: self.status == WorkflowStatus::Runnable && self.pending.has_queue(),
            events: self.pending.take_events(),
            cancelled: self.bodies.take_cancelled(),
            released: delta.release.then_some(delta.next_execution),
            ..Effects::default()
        };
        if self.status == WorkflowStatus::Runnable {
            for id in self.bodies.take_ready() {
                if self.waits_for_attempt(&id)? {
                    self.bodies.make_ready(id);
                } else {
                    effects.jobs.push(self.start_body(&id, env.now)?);
                }
            }
        }
        Ok(effects)
    }

    /// Reports that the commit is stored, but did not release the instance: the host still owns it, and goes on. Call
    /// it before [`committed`](Self::committed).
    pub fn kept(&mut self) {
        self.pending.set_release(false);
    }

    /// Whether a commit whose outcome was unknown is stored, judged by what the store has now. The store does not show which
    /// subscriptions accept no answer any more; that is stored again.
    pub fn is_stored(&mut self, loaded: &Loaded) -> bool {
        let is_stored = self.is_seen_in(loaded);
        if is_stored {
            self.pending.forget_unanswerable();
        }
        is_stored
    }

    fn is_seen_in(&self, loaded: &Loaded) -> bool {
        let stored = &loaded.instance;
        let live: HashMap<&str, &ExecutionPointer> =
            stored.execution_pointers.iter().map(|pointer| (pointer.id.as_str(), pointer)).collect();
        self.pending.is_seen_in(loaded, |id| live.contains_key(id))
            && (!self.pending.has_data() || *self.data.value() == stored.data)
            && self.pointers.unsaved().all(|p| live.get(p.id.as_str()).is_some_and(|s| *s == p))
            && live.keys().all(|id| self.pointers.contains(id))
    }
}
