use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{Delta, Env, Run, bodies::RunningBody, refused_commit::Entries};
use crate::{
    Result, WfeError,
    executor::{ChildEnd, Effects, Job, LifecycleEvent, idempotency::idempotency_key},
    models::{Event, ExecutionPointer, WorkflowStatus, attributes},
    steps::Place,
    traits::{Loaded, StepCommit},
};

/// How many pointers are entered before what has come of it is stored: enough for a thousand parallel branches at
/// once, few enough that a loop which never runs a body makes no commit without end.
const ENTRIES_PER_COMMIT: usize = 1024;

impl Run {
    /// Moves the instance as far as it comes without anything from outside: timers that are due, and pointers that are
    /// pending. What comes of it is [to be stored](Self::pending_commit).
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn advance(&mut self, env: &mut Env<'_>) -> Result<()> {
        self.wake_due(env)?;
        let entries = match self.entries {
            Entries::Many => ENTRIES_PER_COMMIT,
            Entries::None => 0,
            Entries::One => 1,
        };
        self.drain(entries, env)?;
        self.check_overdue();
        self.pointers.tidy_all()?;
        self.delta.release = self.is_idle();
        self.delta.next_execution = self.wanted_execution(env.now);
        Ok(())
    }

    /// What is to be stored, after an [`advance`](Self::advance); `None`: nothing, but there may be effects
    /// ([`committed`](Self::committed)). Until that, it holds the same changes again, and those that came since.
    #[must_use]
    pub fn pending_commit(&self) -> Option<StepCommit> {
        let reschedules = self.delta.next_execution != self.next_execution;
        let delta = &self.delta;
        let unchanged = self.pointers.is_saved()
            && delta.finished.is_empty()
            && delta.items.is_empty()
            && delta.subscribed.is_empty()
            && delta.unsubscribed.is_empty()
            && delta.unanswerable.is_empty()
            && delta.consumed.is_empty()
            && delta.created.is_empty()
            && delta.requested.is_empty()
            && delta.failures.is_empty()
            && delta.status.is_none()
            && delta.applied.is_none()
            && !reschedules
            && !delta.data
            && !delta.release;
        if unchanged {
            return None;
        }
        Some(StepCommit {
            instance_id: self.id.to_string(),
            status: delta.status,
            ending: delta.status.filter(|s| s.is_final()).and(self.ending),
            cause: delta.status.and(self.cause.clone()),
            complete_time: delta.complete_time,
            next_execution: reschedules.then_some(delta.next_execution),
            data: delta.data.then(|| self.value.clone()),
            upserted: self.pointers.unsaved().cloned().collect(),
            finished: delta.finished.clone(),
            items: delta.items.clone(),
            subscribed: delta.subscribed.clone(),
            dated: delta.dated.clone(),
            unsubscribed: delta.unsubscribed.clone(),
            unanswerable: delta.unanswerable.clone(),
            consumed: delta.consumed.clone(),
            published: self.end_event().into_iter().collect(),
            created: delta.created.clone(),
            requested: delta.requested.clone(),
            failures: delta.failures.clone(),
            applied: delta.applied,
            release: delta.release,
            ..StepCommit::default()
        })
    }

    /// What tells the parent that its child has ended, in the commit that ends it.
    fn end_event(&self) -> Option<Event> {
        self.parent.as_ref()?;
        self.delta.status.filter(|status| status.is_final())?;
        let end = ChildEnd {
            ending: self.ending?,
            data: self.value.clone(),
            cause: self.cause.clone(),
            retryable: !self.is_fatal,
        };
        Some(end.event(&self.id))
    }

    /// The commit is stored (or there was nothing to store): what is to be done now.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn committed(&mut self, env: &mut Env<'_>) -> Result<Effects> {
        let delta = std::mem::take(&mut self.delta);
        self.pointers.saved();
        self.accepted();
        self.next_execution = delta.next_execution;
        // Consumed: another wait in the same stream may have its next event there already. Overdue: one may have come in
        // time of which nobody has told yet.
        let waits = (!delta.listen && !self.has_overdue()).then(|| self.subscriptions_to_check(&delta));
        let listen = !self.waits.is_empty() && waits.as_ref().is_none_or(|waits| !waits.is_empty());
        self.waits.take_no_answer(delta.unanswerable);
        let parent = self.parent.clone().filter(|_| delta.status.is_some_and(WorkflowStatus::is_final));
        self.events.extend(delta.created.iter().map(LifecycleEvent::started));
        let begun = delta.created.into_iter().map(|child| child.id);
        let asked = delta.requested.into_iter().map(|(child, _)| child);
        let wakes = begun.chain(asked).chain(parent).collect();
        let mut effects = Effects {
            wakes,
            requests: std::mem::take(&mut self.requests),
            listen,
            waits,
            consumed: delta.consumed.into_iter().map(|consumed| consumed.event_id).collect(),
            again: self.status == WorkflowStatus::Runnable && !self.queue.is_empty(),
            events: std::mem::take(&mut self.events),
            cancelled: self.bodies.take_cancelled(),
            released: delta.release.then_some(self.next_execution),
            ..Effects::default()
        };
        if self.status == WorkflowStatus::Runnable {
            for id in self.bodies.take_ready() {
                if self.waits_for_attempt(&id)? {
                    self.bodies.make_ready(id);
                } else {
                    effects.jobs.push(self.begin(&id, env.now)?);
                }
            }
        }
        Ok(effects)
    }

    /// The commit is stored, but the instance was not given back with it: it is still owned, and goes on. To be told
    /// before [`committed`](Self::committed).
    pub fn kept(&mut self) {
        self.delta.release = false;
    }

    /// Whether a commit whose outcome was unknown is stored, seen from what the store has now. What cannot be seen (which
    /// waits take no answer any more) is to be stored again.
    pub fn is_stored(&mut self, loaded: &Loaded) -> bool {
        let is_stored = self.is_seen_in(loaded);
        if is_stored {
            self.delta.unanswerable.clear();
        }
        is_stored
    }

    fn is_seen_in(&self, loaded: &Loaded) -> bool {
        let stored = &loaded.instance;
        let live: std::collections::HashMap<&str, &ExecutionPointer> =
            stored.execution_pointers.iter().map(|p| (p.id.as_str(), p)).collect();
        let Delta { status, finished, data, applied, next_execution, .. } = &self.delta;
        let is_open = |id: &String| loaded.waits.iter().any(|wait| wait.id == *id);
        let Delta { subscribed, unsubscribed, consumed, .. } = &self.delta;
        status.is_none_or(|status| status == stored.status)
            && (*next_execution == self.next_execution || *next_execution == stored.next_execution)
            && (!data || self.value == stored.data)
            && applied.is_none_or(|number| loaded.control.as_ref().is_none_or(|c| c.number > number))
            && subscribed.iter().all(|wait| is_open(&wait.id))
            && !unsubscribed.iter().any(is_open)
            && !consumed.iter().any(|consumed| is_open(&consumed.subscription_id))
            && finished.iter().all(|p| !live.contains_key(p.id.as_str()))
            && self.pointers.unsaved().all(|p| live.get(p.id.as_str()).is_some_and(|s| *s == p))
            && live.keys().all(|id| self.pointers.contains(id))
    }

    /// Whether nothing can happen before time passes or somebody asks for something. While a body [lingers](super::attempts)
    /// it stays owned: whoever else claimed it would begin the next one beside it.
    fn is_idle(&self) -> bool {
        match self.status {
            WorkflowStatus::Runnable => {
                self.bodies.running() == 0
                    && !self.bodies.has_lingering()
                    && self.bodies.ready().is_empty()
                    && self.queue.is_empty()
                    && self.requests.is_empty()
                    && !self.timers.has_overdue()
                    && self.saga_log.is_idle()
                    && !self.windows.values().any(crate::executor::primitives::Window::is_awaited)
            }
            // One that does not fit its definition has to be opened anew before it can be resumed.
            WorkflowStatus::Suspended if self.fault.is_some() => self.bodies.running() == 0,
            WorkflowStatus::Suspended => self.bodies.running() == 0 && !self.bodies.has_lingering(),
            WorkflowStatus::Complete | WorkflowStatus::Terminated => true,
        }
    }

    /// While it is owned it stays due, so that it is due again if its owner dies.
    fn wanted_execution(&self, now: DateTime<Utc>) -> Option<i64> {
        match self.status {
            WorkflowStatus::Runnable if self.delta.release => self.next_wake().map(millis_rounded_up),
            WorkflowStatus::Runnable => {
                let due = self.next_execution.filter(|at| *at <= now.timestamp_millis());
                due.or(Some(now.timestamp_millis()))
            }
            _ => None,
        }
    }

    fn begin(&mut self, id: &str, now: DateTime<Utc>) -> Result<Job> {
        let data = self.data.clone().ok_or_else(|| WfeError::Invalid("a parked instance ran".to_owned()))?;
        let node = self.node_of(id)?;
        let step = node.id.clone();
        let body = node.verb.body().cloned().ok_or(WfeError::StepNotFound(node.index))?;
        let allowed = node.policy.timeout;
        self.note_key(id)?;
        let pointer = self.pointers.edit_quietly(id)?;
        let key = idempotency_key(&self.id, pointer);
        pointer.start_time.get_or_insert(now);
        let place = Place {
            instance: self.id.clone(),
            definition: self.definition.shared_id(),
            version: self.definition.version(),
            reference: self.reference.clone(),
            step,
            pointer: id.to_owned(),
            attempt: pointer.retry_count.saturating_add(1),
            key,
            state: pointer.persistence_data.clone(),
            event: pointer.event_data.clone(),
            compensated: attribute(pointer, attributes::COMPENSATES)?,
            failure: attribute(pointer, attributes::FAILURE)?,
        };
        let item = pointer.context_item.clone();
        let token = CancellationToken::new();
        let number = self.bodies.next_job();
        let place = Arc::new(place);
        let work =
            RunningBody { job: number, place: place.clone(), token: token.clone(), allowed, limit: None };
        self.bodies.add(id.to_owned(), work);
        let is_limited = allowed.is_some();
        Ok(Job { place, body, data, item, token, number, is_limited })
    }
}

fn attribute<T: DeserializeOwned>(pointer: &ExecutionPointer, name: &str) -> Result<Option<T>> {
    let value = pointer.extension_attributes.get(name).cloned();
    Ok(value.map(serde_json::from_value).transpose()?)
}

/// A time in milliseconds, never earlier than the time itself.
fn millis_rounded_up(time: DateTime<Utc>) -> i64 {
    let millis = time.timestamp_millis();
    if time.timestamp_subsec_nanos().is_multiple_of(1_000_000) { millis } else { millis.saturating_add(1) }
}
