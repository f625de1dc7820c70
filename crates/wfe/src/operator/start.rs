//! Starts instances without their definition.

use serde::Serialize;
use serde_json::{Map, Value, json};
use wfe_core::{
    Result, WfeError,
    models::WorkflowInstance,
    traits::{Acted, Action, Known},
};

use super::{
    ActionKind, Operator,
    rights::{Of, unexpected},
};
use crate::host::{refuse_empty_reference, refuse_reserved};

/// An instance to start. [`Operator::start`] takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInstance {
    definition: String,
    version: Option<u32>,
    data: Value,
    reference: Option<String>,
    known: Known,
    name: Option<String>,
    description: Option<String>,
    attributes: Map<String, Value>,
}

impl NewInstance {
    /// An instance of this definition, with this data.
    pub fn new(definition: impl Into<String>, data: Value) -> Self {
        Self {
            definition: definition.into(),
            version: None,
            data,
            reference: None,
            known: Known::Existing,
            name: None,
            description: None,
            attributes: Map::new(),
        }
    }

    /// Sets the version of the definition. By default, it is the newest one of which the store has an outline.
    #[must_use]
    pub fn version(self, version: u32) -> Self {
        Self { version: Some(version), ..self }
    }

    /// Sets the caller's own key for the instance, which makes the start idempotent: see
    /// [`Starting::reference`](crate::host::Starting::reference).
    #[must_use]
    pub fn reference(self, reference: impl Into<String>) -> Self {
        Self { reference: Some(reference.into()), ..self }
    }

    /// Sets what happens if the reference is known: see [`Starting::if_known`](crate::host::Starting::if_known).
    #[must_use]
    pub fn if_known(self, known: Known) -> Self {
        Self { known, ..self }
    }

    /// Sets the name, unique among all instances.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Sets the description.
    #[must_use]
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// Sets an attribute, by which the instance can be found. A later call with the same key replaces the value. A store
    /// takes texts, numbers, booleans and times.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }
}

/// A started instance. Its JSON, in which `restart_of` is left out unless the start has replaced a failed instance:
/// `{"id": "0193…", "version": 3, "is_new": true, "restart_of": "0192…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StartedView {
    /// The id of the instance.
    pub id: String,
    /// The version that a new instance runs. For an instance that was stored before, it is the version that was asked for.
    pub version: u32,
    /// Whether this call started the instance. False: one with the same definition id and reference was stored before.
    pub is_new: bool,
    /// The id of the failed instance that the new one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_of: Option<String>,
}

impl Operator {
    /// Starts an instance. It begins when a host that has its definition claims it; nothing checks before that whether the
    /// definition can read the data. If it cannot, the instance is suspended with the code
    /// [`DEFINITION`](crate::steps::StepError::DEFINITION): terminate it, and restart it with other data.
    ///
    /// The middleware of hosts is not asked. The record of the action has the definition, not the data.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * [`OutlineNotFound`](WfeError::OutlineNotFound): no version was given, and no host has stored an outline of the
    ///   definition.
    /// * [`Invalid`](WfeError::Invalid): the id of the definition or the name begins with `wfe.`, which is reserved for the
    ///   engine; or the reference is empty.
    /// * [`AlreadyExists`](WfeError::AlreadyExists), [`AlreadyStarted`](WfeError::AlreadyStarted): as for
    ///   [`Workflow::start`](crate::host::Workflow::start).
    /// * The errors of the store.
    pub async fn start(&self, start: NewInstance) -> Result<StartedView> {
        let NewInstance { definition, version, data, reference, known, name, description, attributes } =
            start;
        let permit = self.permit(ActionKind::Start, Of::Definition(&definition)).await?;
        refuse_reserved("definition", "id", &definition)?;
        reference.as_deref().map_or(Ok(()), refuse_empty_reference)?;
        let name = name.unwrap_or_default();
        refuse_reserved("instance", "name", &name)?;
        let version = self.version_to_start(&definition, version).await?;
        let mut detail = json!({ "definition": definition, "version": version });
        if let Some(reference) = &reference {
            detail["reference"] = json!(reference);
        }
        // Without pointers, the instance begins when a host claims it, as children and those of schedules do.
        let mut instance = WorkflowInstance::created_at(definition, version, data, self.now());
        (instance.id, instance.name) = (fresh_id(), name);
        (instance.reference, instance.description) = (reference, description);
        let permit = permit.detail(detail).of(&instance.id);
        match permit.act(Action::Start { instance: &instance, known, attributes: &attributes }).await? {
            Acted::Started(started) => Ok(StartedView {
                id: started.id,
                version,
                is_new: started.is_new,
                restart_of: started.restart_of,
            }),
            other => unexpected(&other),
        }
    }

    /// This version, or the newest one of which the store has an outline.
    pub(super) async fn version_to_start(&self, definition: &str, version: Option<u32>) -> Result<u32> {
        match version {
            Some(version) => Ok(version),
            None => self
                .newest_version(definition)
                .await?
                .ok_or_else(|| WfeError::OutlineNotFound { id: definition.to_owned(), version: 0 }),
        }
    }
}

/// An id as a store assigns it. The record of a start names the instance, so its id has to be known before.
pub(super) fn fresh_id() -> String {
    WorkflowInstance::new("", 0, Value::Null).id
}
