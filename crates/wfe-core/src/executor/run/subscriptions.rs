//! Subscriptions to events. The id of a subscription consists of the id of the instance, the id of the pointer, and a
//! count. So a replay finds the same row.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Run;
use crate::{
    Result,
    limits::nearest_time,
    models::{EventSubscription, ExecutionPointer, PointerChange, PointerStatus, attributes, pointer_id},
    traits::{Control, Ending},
};

/// The event that a pointer waits for.
pub(in crate::executor) struct Expected {
    pub name: String,
    /// The key of the event. `None` stands for the id of the subscription, so that the event reaches no other
    /// subscription.
    pub key: Option<String>,
    /// The effective date: events with an earlier timestamp do not match. If a store cannot hold this date, the nearest
    /// date that can be stored is used instead. That date excludes the same events. `None` stands for the creation of
    /// the instance, regardless of the time that the clock showed at that moment.
    pub as_of: Option<DateTime<Utc>>,
    /// The input for the worker or the user who is to answer.
    pub data: Option<Value>,
}

impl Expected {
    /// An event that is published only for this subscription. The event matches with any timestamp.
    pub fn own(name: impl Into<String>, key: Option<String>, data: Option<Value>) -> Self {
        Self { name: name.into(), key, as_of: Some(DateTime::UNIX_EPOCH), data }
    }
}

impl Run {
    /// Makes the pointer begin to wait for an event.
    pub(in crate::executor) fn subscribe(&mut self, at: &str, expected: Expected) -> Result<()> {
        let kind = self.node_of(at)?.verb.kind();
        self.note_key(at)?;
        let pointer = self.pointers.edit(at)?;
        let count = pointer.number(attributes::SUBSCRIPTIONS).unwrap_or(0) + 1;
        pointer.status = pointer.status.after(PointerChange::Wait)?;
        pointer.set(attributes::SUBSCRIPTIONS, count);
        pointer.set(attributes::KIND, kind);
        let id = pointer_id::subscription(&self.id, at, count);
        let key = expected.key.unwrap_or_else(|| id.clone());
        pointer.event_name = Some(expected.name.clone());
        pointer.event_key = Some(key.clone());
        (pointer.event_published, pointer.event_data) = (false, None);
        let (instance, step) = (self.id.to_string(), pointer.step_id);
        let as_of = nearest_time(expected.as_of.unwrap_or(self.created));
        let is_dated = expected.as_of.is_some() && as_of == self.created;
        let wait = EventSubscription {
            id: id.clone(),
            subscription_data: expected.data,
            ..EventSubscription::new(instance, step, at, expected.name, key, as_of)
        };
        self.pending.subscribe(wait, is_dated);
        self.waits.open(id, at.to_owned());
        Ok(())
    }

    /// Closes the pointer's subscription, if the pointer has an open subscription. A child that the pointer waits for
    /// is cancelled. If the instance is terminated, the child is terminated instead.
    pub(super) fn unsubscribe(&mut self, at: &str) -> Result<()> {
        let Some(id) = self.subscription_of(at)? else { return Ok(()) };
        self.waits.close(&id);
        self.pending.unsubscribe(id);
        if let Some(Value::String(child)) = self.pointers.edit(at)?.unset(attributes::CHILD) {
            // A terminated instance is not compensated, and its children are not compensated either.
            let is_terminated = self.ending == Some(Ending::Terminated);
            self.pending.end_child(child, if is_terminated { Control::Terminate } else { Control::Cancel });
        }
        Ok(())
    }

    /// The id of the child whose end the pointer waits for.
    pub(super) fn child_of(&self, at: &str) -> Result<Option<String>> {
        let pointer = self.pointers.get(at)?;
        let waits = pointer.active && pointer.status == PointerStatus::WaitingForEvent;
        let child = pointer.text(attributes::CHILD);
        Ok(child.filter(|_| waits).map(str::to_owned))
    }

    /// The id of the pointer's open subscription.
    pub(super) fn subscription_of(&self, at: &str) -> Result<Option<String>> {
        let pointer = self.pointers.get(at)?;
        let id = last_subscription(&self.id, pointer);
        Ok(id.filter(|id| self.waits.is_open(id)))
    }

    /// Continues the wait of a pointer that was read from the store. If an operator has closed the pointer's
    /// subscription, the step subscribes again.
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

    /// Closes each subscription for which no pointer waits. Such subscriptions can exist after an operator has repaired
    /// the instance by hand.
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

    /// Closes all open subscriptions at the end of the instance.
    pub(super) fn close_all_subscriptions(&mut self) {
        for id in self.waits.close_all() {
            self.pending.unsubscribe(id);
        }
    }
}

/// The id of the subscription that the pointer opened last, or `None` if the pointer has not opened a subscription.
pub(in crate::executor) fn last_subscription(instance: &str, pointer: &ExecutionPointer) -> Option<String> {
    let count = pointer.number(attributes::SUBSCRIPTIONS)?;
    Some(pointer_id::subscription(instance, &pointer.id, count))
}
