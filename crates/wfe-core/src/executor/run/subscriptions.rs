//! Waits for events. A wait's id is made from instance, pointer and a count, so that a replay meets the same row.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Env, Run, pending::Delta};
use crate::{
    Result,
    limits::{Inside, nearest_time},
    models::{
        Event, EventSubscription, ExecutionPointer, PointerChange, PointerStatus, WorkflowStatus, attributes,
        pointer_id,
    },
    traits::{Consumed, Control, Delivery, Ending, OWN_NAMES, StepFailure},
};

/// Name of the event that tells of a child workflow's end; its key is the child's id.
pub const CHILD_ENDED: &str = "wfe.child-ended";
/// What the names of the events that end activities begin with; the activity's name follows. The key is the wait's id.
pub const ACTIVITY: &str = "wfe.activity:";
/// Name of the events that end user tasks. The key is the wait's id.
pub const USER_TASK: &str = "wfe.user-task";

/// What a pointer waits for.
pub(in crate::executor) struct Expected {
    pub name: String,
    /// `None`: the wait's own id, so that the event reaches no other.
    pub key: Option<String>,
    /// Any date; kept is the nearest that can be stored, which passes over the same events. `None`: the creation of the
    /// instance, whatever the clock showed then.
    pub as_of: Option<DateTime<Utc>>,
    /// What whoever ends the wait has to know.
    pub data: Option<Value>,
}

impl Expected {
    /// An event that is made for one wait. No clock says whether it is in time.
    pub fn own(name: impl Into<String>, key: Option<String>, data: Option<Value>) -> Self {
        Self { name: name.into(), key, as_of: Some(DateTime::UNIX_EPOCH), data }
    }
}

impl Run {
    /// The pointer waits for an event from now on.
    pub(in crate::executor) fn subscribe(&mut self, at: &str, wanted: Expected) -> Result<()> {
        let kind = self.node_of(at)?.verb.kind();
        self.note_key(at)?;
        let pointer = self.pointers.edit(at)?;
        let count = pointer.number(attributes::SUBSCRIPTIONS).unwrap_or(0) + 1;
        pointer.status = pointer.status.after(PointerChange::Wait)?;
        pointer.set(attributes::SUBSCRIPTIONS, count);
        pointer.set(attributes::KIND, kind);
        let id = pointer_id::subscription(&self.id, at, count);
        let key = wanted.key.unwrap_or_else(|| id.clone());
        pointer.event_name = Some(wanted.name.clone());
        pointer.event_key = Some(key.clone());
        (pointer.event_published, pointer.event_data) = (false, None);
        let (instance, step) = (self.id.to_string(), pointer.step_id);
        let as_of = nearest_time(wanted.as_of.unwrap_or(self.created));
        let is_dated = wanted.as_of.is_some() && as_of == self.created;
        let wait = EventSubscription {
            id: id.clone(),
            subscription_data: wanted.data,
            ..EventSubscription::new(instance, step, at, wanted.name, key, as_of)
        };
        self.pending.subscribe(wait, is_dated);
        self.waits.open(id, at.to_owned());
        Ok(())
    }

    /// The pointer's wait is closed, if it has one; a child for which it waits is cancelled, or terminated if the instance is.
    pub(super) fn unsubscribe(&mut self, at: &str) -> Result<()> {
        let Some(id) = self.subscription_of(at)? else { return Ok(()) };
        self.waits.close(&id);
        self.pending.unsubscribe(id);
        if let Some(Value::String(child)) = self.pointers.edit(at)?.unset(attributes::CHILD) {
            // What is terminated undoes nothing, its children included.
            let is_terminated = self.ending == Some(Ending::Terminated);
            self.pending.end_child(child, if is_terminated { Control::Terminate } else { Control::Cancel });
        }
        Ok(())
    }

    /// The child for whose end the pointer waits.
    pub(super) fn child_of(&self, at: &str) -> Result<Option<String>> {
        let pointer = self.pointers.get(at)?;
        let waits = pointer.active && pointer.status == PointerStatus::WaitingForEvent;
        let child = pointer.text(attributes::CHILD);
        Ok(child.filter(|_| waits).map(str::to_owned))
    }

    /// The id of the pointer's open wait.
    pub(super) fn subscription_of(&self, at: &str) -> Result<Option<String>> {
        let pointer = self.pointers.get(at)?;
        let id = last_subscription(&self.id, pointer);
        Ok(id.filter(|id| self.waits.is_open(id)))
    }

    /// Events that reach open waits: what [`Loaded::deliveries`](crate::traits::Loaded::deliveries) tells, read after the
    /// last commit of this `Run` was stored. One whose wait is no longer open is passed over; while the instance
    /// stands still, all are. Whether anything has changed.
    ///
    /// Waits that have lasted too long ([`has_overdue`](Self::has_overdue)), and get nothing by this, have timed out.
    ///
    /// # Errors
    /// The state contradicts itself.
    pub fn deliver(&mut self, deliveries: Vec<Delivery>, env: &mut Env<'_>) -> Result<bool> {
        let (in_time, late) = self.hand_over(deliveries, env)?;
        let timed_out = self.meet_limits(env)?;
        // One whose limit is gone from the definition waits on.
        let late = if self.status == WorkflowStatus::Runnable { late } else { Vec::new() };
        let (after_all, _) = self.hand_over(late, env)?;
        Ok(in_time || timed_out || after_all)
    }

    /// Whether anything has changed, and what comes too late.
    fn hand_over(&mut self, deliveries: Vec<Delivery>, env: &mut Env<'_>) -> Result<(bool, Vec<Delivery>)> {
        let (mut changed, mut late) = (false, Vec::new());
        for delivery in deliveries {
            // What one of the waits that share an event does with it may make the instance stand still; the others have
            // it too then, because it is spent.
            if self.status != WorkflowStatus::Runnable && !self.pending.is_consumed(&delivery.event.id) {
                continue;
            }
            let Some(at) = self.waits.pointer_of(&delivery.subscription_id).map(str::to_owned) else {
                continue;
            };
            if self.is_late(&at, &delivery.event, env) {
                late.push(delivery);
                continue;
            }
            let Delivery { subscription_id, event } = delivery;
            self.waits.close(&subscription_id);
            changed = true;
            let consumed = Consumed { subscription_id, event_id: event.id };
            self.pending.consume(consumed, event.event_name, event.event_key);
            self.clear_timer(&at)?;
            let pointer = self.pointers.edit(&at)?;
            pointer.status = pointer.status.after(PointerChange::Wake)?;
            pointer.event_published = true;
            pointer.event_data = Some(event.event_data.clone());
            let verb = self.verb_of(&at)?;
            self.guard(&at, env, |run, env| {
                verb.primitive().event_received(run, &at, event.event_data, env)
            })?;
        }
        Ok((changed, late))
    }

    /// Whether the wait had lasted too long before the event. The end of a child, and an answer that was accepted, are
    /// what was waited for however late: they are there, and would be lost.
    fn is_late(&self, at: &str, event: &Event, env: &Env<'_>) -> bool {
        let limit = self.waits_until(at).filter(|limit| *limit <= env.now);
        limit.is_some_and(|limit| event.event_time > limit) && !event.event_name.starts_with(OWN_NAMES)
    }

    /// The open waits for which an event may be there after a commit: those that it has opened, and others in the streams of
    /// which it has consumed one.
    pub(super) fn subscriptions_to_check(&self, delta: &Delta) -> Vec<String> {
        let is_open = |wait: &&EventSubscription| self.waits.is_open(&wait.id);
        let mut found: BTreeSet<String> =
            delta.subscribed.iter().filter(is_open).map(|wait| wait.id.clone()).collect();
        if !delta.streams.is_empty() {
            let has_moved = |pointer: &&ExecutionPointer| {
                let (Some(name), Some(key)) = (&pointer.event_name, &pointer.event_key) else { return false };
                delta.streams.get(name).is_some_and(|keys| keys.contains(key))
            };
            // By the pointers in their order: thousands of them would be many to look up one by one.
            let moved = self
                .pointers
                .iter()
                .filter(has_moved)
                .filter_map(|pointer| last_subscription(&self.id, pointer));
            found.extend(moved.filter(|wait| self.waits.is_open(wait)));
        }
        found.into_iter().collect()
    }

    /// A waiting pointer, opened from the store. A wait that somebody has closed by hand is opened again.
    pub(super) fn reopen_subscription(&mut self, at: &str) -> Result<()> {
        if self.subscription_of(at)?.is_some() {
            return Ok(());
        }
        self.clear_timer(at)?;
        let pointer = self.pointers.edit(at)?;
        pointer.status = pointer.status.after(PointerChange::Wake)?;
        pointer.unset(attributes::CHILD);
        self.pending.enqueue(at.to_owned());
        Ok(())
    }

    /// Closes waits at which no pointer stands: somebody has mended the instance by hand.
    pub(super) fn close_stray_subscriptions(&mut self) -> Result<()> {
        let mut stray = Vec::new();
        for (id, at) in self.waits.iter() {
            let is_waiting =
                self.pointers.get(at).is_ok_and(|p| p.active && p.status == PointerStatus::WaitingForEvent);
            if !is_waiting || self.subscription_of(at)?.as_deref() != Some(id) {
                stray.push(id.to_owned());
            }
        }
        for id in stray {
            self.waits.close(&id);
            self.pending.unsubscribe(id);
        }
        Ok(())
    }

    /// Closes what is still open at the end of the instance.
    pub(super) fn close_all_subscriptions(&mut self) {
        for id in self.waits.close_all() {
            self.pending.unsubscribe(id);
        }
    }
}

/// The wait that the pointer opened last; `None`: it has opened none.
pub(in crate::executor) fn last_subscription(instance: &str, pointer: &ExecutionPointer) -> Option<String> {
    let count = pointer.number(attributes::SUBSCRIPTIONS)?;
    Some(pointer_id::subscription(instance, &pointer.id, count))
}

/// What the end of a child tells its parent.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ChildEnd {
    /// How it ended.
    pub ending: Ending,
    /// Its data at its end.
    #[serde(with = "crate::limits::inside")]
    pub data: Value,
    /// The failure that ended it, if one did.
    pub cause: Option<StepFailure>,
    /// Whether that failure may pass. Events of earlier versions do not tell; what they tell of counts as retryable, as it
    /// did then.
    #[serde(default = "may_pass")]
    pub retryable: bool,
}

fn may_pass() -> bool {
    true
}

impl ChildEnd {
    /// The event that tells of the end of the instance `child`. It has the same id whoever makes it, one that no caller can
    /// give to an event of theirs; and no clock can hold it back: it lies in the past.
    ///
    /// Earlier versions gave it another id. Whoever waits finds it by name and key, whatever its id.
    #[must_use]
    pub fn event(&self, child: &str) -> Event {
        Event {
            id: format!("{CHILD_ENDED}:{child}"),
            event_name: CHILD_ENDED.to_owned(),
            event_key: child.to_owned(),
            // The child's data is one level deeper here than where it was stored.
            event_data: serde_json::json!({
                "ending": self.ending,
                "data": Inside(&self.data),
                "cause": self.cause,
                "retryable": self.retryable,
            }),
            event_time: DateTime::UNIX_EPOCH,
            is_processed: false,
        }
    }
}
