//! Makes a job for the host from a pointer whose body may start.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{Run, bodies::RunningBody};
use crate::{
    Result, WfeError,
    executor::{Job, events, idempotency_key},
    models::{ExecutionPointer, attributes},
    steps::{Attributes, Execution, WaitedFor},
};

impl Run {
    pub(super) fn start_body(&mut self, id: &str, now: DateTime<Utc>) -> Result<Job> {
        let data = self.data.get().map_err(|error| WfeError::Invalid(error.to_string()))?.clone();
        let node = self.node_of(id)?;
        let step = node.id.clone();
        let body = node.verb.body().cloned().ok_or(WfeError::StepNotFound(node.index))?;
        let (allowed, for_eaches) = (node.policy.timeout, node.for_eaches.clone());
        self.note_key(id)?;
        let pointer = self.pointers.edit_quietly(id)?;
        let key = idempotency_key(&self.id, pointer);
        pointer.start_time.get_or_insert(now);
        let execution = Execution {
            instance: self.id.clone(),
            definition: self.definition.shared_id(),
            version: self.definition.version(),
            reference: self.reference.clone(),
            step,
            for_eaches,
            pointer: id.to_owned(),
            attempt: pointer.retry_count.saturating_add(1),
            key,
            state: pointer.persistence_data.clone(),
            event: pointer.event_data.clone(),
            waited_for: waited_for(pointer),
            compensated: attribute(pointer, attributes::COMPENSATES)?,
            failure: attribute(pointer, attributes::FAILURE)?,
            attributes: Attributes::of(&self.attributes),
        };
        let item = pointer.context_item.clone();
        let token = CancellationToken::new();
        let number = self.bodies.next_job();
        let execution = Arc::new(execution);
        let work = RunningBody {
            job: number,
            execution: execution.clone(),
            token: token.clone(),
            allowed,
            limit: None,
        };
        self.bodies.add(id.to_owned(), work);
        let is_limited = allowed.is_some();
        Ok(Job { execution, body, data, item, token, number, is_limited })
    }
}

fn waited_for(pointer: &ExecutionPointer) -> Option<WaitedFor> {
    let name = pointer.event_name.as_deref()?;
    Some(match events::activity_name(name) {
        Some(activity) => WaitedFor::Activity(activity.to_owned()),
        None => WaitedFor::Event(name.to_owned()),
    })
}

fn attribute<T: DeserializeOwned>(pointer: &ExecutionPointer, name: &str) -> Result<Option<T>> {
    let value = pointer.extension_attributes.get(name).cloned();
    Ok(value.map(serde_json::from_value).transpose()?)
}
