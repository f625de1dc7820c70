//! Hides values before anything is shown.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use wfe_core::{
    Result, WfeError,
    models::EventSubscription,
    steps::UserTaskView,
    traits::{Cause, FailureGroup, InstanceSummary, OpenWait, Query, StepFailure, StoredEvent},
};

use super::Operator;
use crate::status::{Blocked, InstanceStatus, Waits};

/// What stands in place of a text that is hidden.
pub const HIDDEN: &str = "•••";

/// A value that says that something is hidden: `{"hidden": true}`.
#[must_use]
pub fn hidden() -> Value {
    json!({ "hidden": true })
}

/// Where a value is shown, for the function of [`Operator::redact`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The data of an instance; the input of an activity; the prompt of a user task, as a text.
    Data,
    /// The outcome of a step.
    Outcome,
    /// The data of an event, also of one that a step has received.
    Event,
    /// An item of a for-each.
    Item,
    /// The message of a failure, as a text. If the function leaves no text there, [`HIDDEN`] is shown.
    Failure,
    /// The attributes of an instance, as one object. If the function leaves no object there, [`hidden`] is shown.
    Attribute,
}

type Hook = dyn Fn(Place, &str, &mut Value) + Send + Sync;

#[derive(Clone)]
pub(super) struct Redact(Arc<Hook>);

impl Redact {
    pub fn new(hook: impl Fn(Place, &str, &mut Value) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    fn value(&self, place: Place, definition: &str, value: &mut Value) {
        (self.0)(place, definition, value);
    }

    fn text(&self, place: Place, definition: &str, text: &mut String) {
        let mut value = Value::String(std::mem::take(text));
        self.value(place, definition, &mut value);
        *text = match value {
            Value::String(text) => text,
            _ => HIDDEN.to_owned(),
        };
    }

    fn failure(&self, definition: &str, failure: &mut StepFailure) {
        self.text(Place::Failure, definition, &mut failure.error.message);
        for cause in &mut failure.causes {
            self.text(Place::Failure, definition, cause);
        }
    }

    fn attributes(&self, definition: &str, attributes: &mut Map<String, Value>) {
        if attributes.is_empty() {
            return;
        }
        let mut value = Value::Object(std::mem::take(attributes));
        self.value(Place::Attribute, definition, &mut value);
        if let Value::Object(left) = value {
            *attributes = left;
        } else if let Value::Object(marked) = hidden() {
            *attributes = marked;
        }
    }

    fn task(&self, definition: &str, task: &mut UserTaskView) {
        self.text(Place::Data, definition, &mut task.prompt);
    }

    fn subscription(&self, definition: &str, wait: &mut EventSubscription) {
        if let Some(data) = &mut wait.subscription_data {
            self.value(Place::Data, definition, data);
        }
    }
}

impl Operator {
    pub(super) fn hide(&self, place: Place, definition: &str, value: &mut Value) {
        if let Some(redact) = &self.redact {
            redact.value(place, definition, value);
        }
    }

    pub(super) fn hide_summary(&self, summary: &mut InstanceSummary) {
        let Some(redact) = &self.redact else { return };
        if let Some(Cause { message, .. }) = &mut summary.cause {
            redact.text(Place::Failure, &summary.definition, message);
        }
        redact.attributes(&summary.definition, &mut summary.attributes);
    }

    pub(super) fn hide_status(&self, status: &mut InstanceStatus) {
        let Some(redact) = &self.redact else { return };
        let definition = &status.definition;
        redact.attributes(definition, &mut status.attributes);
        if let Some(cause) = &mut status.cause {
            redact.failure(definition, cause);
        }
        if let Some(Blocked::Suspended(Some(cause))) = &mut status.blocked {
            redact.failure(definition, cause);
        }
        for position in &mut status.positions {
            if let Some(item) = &mut position.item {
                redact.value(Place::Item, definition, item);
            }
            match &mut position.waits {
                Waits::Retry { last_failure: Some(last), .. } => redact.failure(definition, last),
                Waits::UserTask { task: Some(task), .. } => redact.task(definition, task),
                _ => {}
            }
        }
    }

    pub(super) fn hide_failure(&self, definition: &str, failure: &mut StepFailure) {
        if let Some(redact) = &self.redact {
            redact.failure(definition, failure);
        }
    }

    pub(super) fn hide_group(&self, group: &mut FailureGroup) {
        if let Some(redact) = &self.redact {
            redact.text(Place::Failure, &group.definition, &mut group.message);
        }
    }

    pub(super) fn hide_event(&self, event: &mut StoredEvent) {
        if let Some(redact) = &self.redact {
            redact.value(Place::Event, &event.event.event_name, &mut event.event.event_data);
        }
    }

    pub(super) fn hide_wait(&self, wait: &mut OpenWait) {
        if let Some(redact) = &self.redact {
            redact.subscription(&wait.definition, &mut wait.subscription);
        }
    }

    pub(super) fn hide_task(&self, definition: &str, task: &mut UserTaskView) {
        if let Some(redact) = &self.redact {
            redact.task(definition, task);
        }
    }

    /// Whether values may be hidden.
    pub(super) fn hides(&self) -> bool {
        self.redact.is_some()
    }

    /// Refuses a query whose answer would tell what is hidden.
    pub(super) fn check_query(&self, query: &Query) -> Result<()> {
        query.check()?;
        let Some(redact) = &self.redact else { return Ok(()) };
        let forbidden = |action: &str, role: &str| {
            let (action, role) = (action.to_owned(), role.to_owned());
            Err(WfeError::Forbidden { actor: self.actor.to_string(), action, role })
        };
        if query.text.is_some() {
            return forbidden("search", "the program hides data, so they cannot be searched for a text");
        }
        if query.attributes.is_empty() {
            return Ok(());
        }
        let Some(definition) = &query.definition else {
            return forbidden("search", "the program hides attributes; name the definition too");
        };
        let asked: Map<String, Value> = query.attributes.iter().cloned().collect();
        let mut left = asked.clone();
        redact.attributes(definition, &mut left);
        if left == asked { Ok(()) } else { forbidden("search", "the program hides these attributes") }
    }
}
