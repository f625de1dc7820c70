//! Builds a commit from the changes of a `Run`. After the commit is stored, builds the effects of the commit.

use std::collections::HashMap;

use super::{Env, Run};
use crate::{
    Result,
    executor::{ChildEnd, Effects, LifecycleEvent},
    models::{Event, ExecutionPointer, WorkflowStatus},
    traits::{Loaded, StepCommit},
};

impl Run {
    /// Takes the changes to store after an [`advance`](Self::advance). Returns `None` if there are no changes. Even
    /// without changes there may be effects, which [`committed`](Self::committed) returns. The changes are all those
    /// that were made since the last call of `committed`.
    ///
    /// The commit contains parts of the live state, which are moved and not copied. Before the next call of any other
    /// method, give the commit back with [`return_commit`](Self::return_commit), whether it is stored or not.
    #[must_use]
    pub fn take_commit(&mut self) -> Option<StepCommit> {
        if self.pointers.is_saved() && self.pending.is_empty() {
            return None;
        }
        let published = self.end_event().into_iter().collect();
        Some(StepCommit {
            instance_id: String::from(&*self.id),
            ending: self.ending.filter(|_| self.pending.is_end()),
            cause: self.pending.status().and(self.cause.clone()),
            data: self.pending.has_data().then(|| self.data.take_value()),
            upserted: self.pointers.take_unsaved(),
            published,
            ..self.pending.take_commit()
        })
    }

    /// Gives back the commit that [`take_commit`](Self::take_commit) has returned.
    pub fn return_commit(&mut self, mut commit: StepCommit) {
        if let Some(data) = commit.data.take() {
            self.data.return_value(data);
        }
        self.pointers.return_unsaved(std::mem::take(&mut commit.upserted));
        self.pending.return_commit(commit);
    }

    /// The event that reports the end of a child to its parent. The commit that ends the child stores this event.
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

    /// Reports that the commit is stored, or that there was nothing to store. Returns the effects to carry out now.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn committed(&mut self, env: &mut Env<'_>) -> Result<Effects> {
        let is_end = self.pending.is_end();
        self.pointers.saved();
        let delta = self.pending.stored();
        // After a commit has consumed an event, the store may already have the next event for another subscription of
        // the same stream. For an overdue subscription, the store may have an event that came in time and was not
        // delivered yet. The same holds for an answer to a branch of a race that is being decided.
        let waits = (!delta.listen && !self.has_overdue() && !self.races.are_closing())
            .then(|| self.subscriptions_to_check(&delta));
        let listen = !self.waits.is_empty() && waits.as_ref().is_none_or(|waits| !waits.is_empty());
        self.waits.take_no_answer(delta.unanswerable);
        self.waits.take_no_answer_unless_claimed(delta.unanswerable_unless_claimed);
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

    /// Reports that the commit is stored, but did not release the instance. The host still owns the instance, and
    /// continues it. Call this method before [`committed`](Self::committed).
    pub fn kept(&mut self) {
        self.pending.set_release(false);
    }

    /// Whether a commit whose outcome was unknown is stored. `loaded` is the instance as it was loaded after that
    /// commit. It does not show which subscriptions no longer accept answers, so a later commit stores this information
    /// again.
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
