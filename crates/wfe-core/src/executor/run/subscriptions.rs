//! Waits for events. A wait's id is made of instance, pointer and a count, so that a replay finds the same row.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Run;
use crate::{
    Result,
    limits::nearest_time,
    models::{EventSubscription, ExecutionPointer, PointerChange, PointerStatus, attributes, pointer_id},
    traits::{Control, Ending},
};

/// What a pointer waits for.
pub(in crate::executor) struct Expected {
    pub name: String,
    /// `None`: the wait's own id, so that the event reaches no other wait.
    pub key: Option<String>,
    /// The date from which events count. If a store cannot hold it, the nearest date that it can hold is kept, which
    /// passes over the same events. `None`: the creation of the instance, whatever the clock showed then.
    pub as_of: Option<DateTime<Utc>>,
    /// The input for the worker or user that answers.
    pub data: Option<Value>,
}

impl Expected {
    /// An event that is published for this wait alone. It counts whatever its date.
    pub fn own(name: impl Into<String>, key: Option<String>, data: Option<Value>) -> Self {
        Self { name: name.into(), key, as_of: Some(DateTime::UNIX_EPOCH), data }
    }
}

impl Run {
    /// Makes the pointer wait for an event from now on.
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

    /// Closes the pointer's wait, if it has one. A child for which it waits is cancelled, or terminated if the instance
    /// is.
    pub(super) fn unsubscribe(&mut self, at: &str) -> Result<()> {
        let Some(id) = self.subscription_of(at)? else { return Ok(()) };
        self.waits.close(&id);
        self.pending.unsubscribe(id);
        if let Some(Value::String(child)) = self.pointers.edit(at)?.unset(attributes::CHILD) {
            // A terminated instance compensates nothing, and neither do its children.
            let is_terminated = self.ending == Some(Ending::Terminated);
            self.pending.end_child(child, if is_terminated { Control::Terminate } else { Control::Cancel });
        }
        Ok(())
    }

    /// Id of the child for whose end the pointer waits.
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

    /// Reopens a waiting pointer from the store. If an operator has closed its wait, the wait is opened again.
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

    /// Closes waits for which no pointer waits: an operator has repaired the instance by hand.
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

    /// Closes all open waits at the end of the instance.
    pub(super) fn close_all_subscriptions(&mut self) {
        for id in self.waits.close_all() {
            self.pending.unsubscribe(id);
        }
    }
}

/// Id of the wait that the pointer opened last; `None`: it has opened none.
pub(in crate::executor) fn last_subscription(instance: &str, pointer: &ExecutionPointer) -> Option<String> {
    let count = pointer.number(attributes::SUBSCRIPTIONS)?;
    Some(pointer_id::subscription(instance, &pointer.id, count))
}
