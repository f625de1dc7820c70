//! Publishes events.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use wfe_core::{
    Result, WfeError,
    models::Event,
    traits::{Acted, Action, Published},
};

use super::{
    ActionKind, Operator,
    rights::{Of, unexpected},
};
use crate::host::refuse_reserved;

/// An event to publish. [`Operator::publish`] takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    name: String,
    key: String,
    data: Value,
    id: Option<String>,
    effective: Option<DateTime<Utc>>,
}

impl NewEvent {
    /// An event with this name and key, without data: `null`.
    pub fn new(name: impl Into<String>, key: impl Into<String>) -> Self {
        Self { name: name.into(), key: key.into(), data: Value::Null, id: None, effective: None }
    }

    /// Sets the data.
    #[must_use]
    pub fn data(self, data: Value) -> Self {
        Self { data, ..self }
    }

    /// Sets the caller's own id, which makes publishing idempotent: see
    /// [`Publish::id`](crate::host::Publish::id).
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// Sets when the event happened, or will happen: see
    /// [`Publish::effective`](crate::host::Publish::effective).
    #[must_use]
    pub fn effective(self, time: DateTime<Utc>) -> Self {
        Self { effective: Some(time), ..self }
    }
}

impl Operator {
    /// Publishes an event. The rules, and the errors, are those of
    /// [`WorkflowHost::publish`](crate::WorkflowHost::publish). The record of the action names the event, not its data.
    ///
    /// # Errors
    /// [`Forbidden`](WfeError::Forbidden), and the errors of
    /// [`WorkflowHost::publish`](crate::WorkflowHost::publish).
    pub async fn publish(&self, event: NewEvent) -> Result<Published> {
        let permit = self.permit(ActionKind::Publish, Of::Store).await?;
        let NewEvent { name, key, data, id, effective } = event;
        refuse_reserved("event", "name", &name)?;
        if let Some(id) = &id {
            refuse_reserved("event", "id", id)?;
            if id.is_empty() {
                return Err(WfeError::Invalid(
                    "the event id is empty; leave it out or choose one".to_owned(),
                ));
            }
        }
        let mut detail = json!({ "name": name, "key": key });
        if let Some(id) = &id {
            detail["id"] = json!(id);
        }
        if let Some(effective) = effective {
            detail["effective"] = json!(effective);
        }
        let event = Event {
            id: id.unwrap_or_default(),
            event_name: name,
            event_key: key,
            event_data: data,
            event_time: effective.unwrap_or_else(|| self.now()),
            is_processed: false,
        };
        let publish = Action::Publish { event: &event, is_dated: effective.is_some(), receiver: None };
        match permit.detail(detail).act(publish).await? {
            Acted::Published(published) => Ok(published),
            other => unexpected(&other),
        }
    }
}
