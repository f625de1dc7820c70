//! A step store on the base traits (those of `PersistenceProvider`), for a provider without its own step
//! store.
//!
//! This store serves one process. Owners, fencing tokens and pending control requests are in memory. Data that
//! has no field in the models of the base traits is stored in the `extension_attributes` of pointers (see
//! [`attributes`]). The items and the history of a container are stored in the container's pointer; the ending
//! and its cause are stored in the instance's first pointer. Each commit reads and writes the whole instance,
//! so each item of a long for-each costs more than the item before it. The failures of a step are stored by a
//! second call, after the effects of the step are stored. A reference is stored as the instance's name. A
//! process does not know that an earlier process crashed. An instance that kills its process is therefore run
//! again by every later process, concurrently with all other instances.
//!
//! This store refuses subscriptions and events, because it could miss events or deliver them wrongly. With the
//! base traits alone, an event could be matched with a subscription only by timestamp:
//! `event_time >= subscribe_as_of`. Timestamps do not always show which of two things happened first. If the
//! clock is set back after an instance began, a new event gets a timestamp before the start of the instance,
//! and would be missed. An event that was published before the instance began can have the same timestamp as
//! the start. If the clock was set back in between, the event can even have a later timestamp. Such an event
//! would be delivered wrongly.

mod attributes;
mod ownership;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};
use wfe_core::{
    CorruptValues, Kind, Result, WfeError, logging,
    models::WorkflowInstance,
    traits::{
        Claimed, Committed, Control, ControlState, Fence, Finished, Loaded, Owner, PersistenceProvider,
        Requested, Started, StepCommit, StepStore,
    },
};

use ownership::Ownership;

/// The number of instances that a scan reads at once.
const CHUNK: usize = 256;

pub(crate) struct PlainStore {
    provider: Arc<dyn PersistenceProvider>,
    /// Each call holds this lock from its beginning to its end, so that no other call changes the data between
    /// the read and the write of this call.
    ownership: Mutex<Ownership>,
    corrupt: CorruptValues,
}

impl PlainStore {
    pub fn new(provider: Arc<dyn PersistenceProvider>) -> Self {
        Self { provider, ownership: Mutex::default(), corrupt: CorruptValues::default() }
    }

    async fn lock(&self) -> MutexGuard<'_, Ownership> {
        self.ownership.lock().await
    }

    /// Reads these instances, and leaves out the instances that cannot be read. If the provider returns no
    /// instances because one of them is corrupt, each instance is read individually.
    async fn instances(&self, ids: &[String]) -> Result<Vec<WorkflowInstance>> {
        match self.provider.get_workflow_instances(ids).await {
            Err(WfeError::Corrupt { .. }) => {}
            read => return read,
        }
        let mut instances = Vec::with_capacity(ids.len());
        for id in ids {
            match self.provider.get_workflow_instance(id).await {
                Ok(instance) => instances.push(instance),
                Err(WfeError::WorkflowNotFound(_)) => {}
                Err(error @ WfeError::Corrupt { .. }) => {
                    if self.corrupt.is_new(&error) {
                        logging::error!(wfe.instance.id = id, %error, "an instance cannot be read; it is left out");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(instances)
    }
}

#[async_trait]
impl StepStore for PlainStore {
    async fn register(&self) -> Result<Owner> {
        Ok(self.lock().await.register())
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        let mut ownership = self.lock().await;
        let mut instance = instance.clone();
        if let Some(reference) = &instance.reference {
            if !instance.name.is_empty() {
                return Err(WfeError::Invalid(
                    "this store keeps a reference as the instance's name; give a name or a reference, not both"
                        .to_owned(),
                ));
            }
            instance.name = name_of(&instance.workflow_definition_id, reference);
            match self.provider.get_workflow_instance_by_name(&instance.name).await {
                Ok(stored) => return started_before(stored, &instance),
                Err(WfeError::WorkflowNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        match self.provider.create_new_workflow(&instance).await {
            Ok(id) => {
                let fence = owner.map(|owner| ownership.take(&id, owner).fence);
                Ok(Started { id, fence, is_new: true, restart_of: None })
            }
            Err(WfeError::AlreadyExists { kind: Kind::WorkflowName, .. }) if instance.reference.is_some() => {
                let stored = self.provider.get_workflow_instance_by_name(&instance.name).await?;
                started_before(stored, &instance)
            }
            Err(error) => Err(error),
        }
    }

    async fn find(&self, definition: &str, reference: &str) -> Result<Option<String>> {
        let _whole = self.lock().await;
        match self.provider.get_workflow_instance_by_name(&name_of(definition, reference)).await {
            Ok(found) => {
                let is_found = found.workflow_definition_id == definition
                    && found.reference.as_deref() == Some(reference);
                Ok(is_found.then_some(found.id))
            }
            Err(WfeError::WorkflowNotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let mut ownership = self.lock().await;
        let id = &step.instance_id;
        if !ownership.is_held(id, fence) {
            return Ok(Committed::Lost);
        }
        if let Some(request) = ownership.control(id)
            && step.applied != Some(request.number)
        {
            return Ok(Committed::Control(request));
        }
        refuse_unsupported(step)?;
        let mut instance = match self.provider.get_workflow_instance(id).await {
            Ok(instance) => instance,
            Err(WfeError::WorkflowNotFound(_)) => return Ok(Committed::Lost),
            Err(error) => return Err(error),
        };
        attributes::apply(&mut instance, step)?;
        self.provider.persist_workflow(&instance).await?;
        ownership.committed(id, step.applied, step.release);
        if !step.failures.is_empty() {
            let errors: Vec<_> = step.failures.iter().map(|failure| failure.error.clone()).collect();
            // The step's effect is already stored. If this returned an error, the caller would store the
            // effect again.
            if let Err(error) = self.provider.persist_errors(&errors).await {
                logging::error!(wfe.instance.id = id, %error, "failures of a step could not be stored");
            }
        }
        Ok(Committed::Done)
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        let mut ownership = self.lock().await;
        let mut ids = self.provider.get_runnable_instances(as_at).await?;
        ids.extend(ownership.requested());
        ids.retain(|id| ownership.is_free(id));
        let mut claimed: Vec<Claimed> = Vec::new();
        for chunk in ids.chunks(CHUNK) {
            for instance in self.instances(chunk).await? {
                let key = (instance.workflow_definition_id, instance.version);
                if claimed.len() < limit && definitions.contains(&key) && ownership.is_free(&instance.id) {
                    claimed.push(ownership.take(&instance.id, owner));
                }
            }
            if claimed.len() >= limit {
                break;
            }
        }
        Ok(claimed)
    }

    async fn acquire(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>> {
        let mut ownership = self.lock().await;
        if !ownership.is_free(id) {
            return Ok(None);
        }
        let instance = match self.provider.get_workflow_instance(id).await {
            Ok(instance) => instance,
            Err(WfeError::WorkflowNotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let due = instance.status == wfe_core::models::WorkflowStatus::Runnable
            && instance.next_execution.is_some_and(|at| at <= as_at.timestamp_millis());
        let requested = ownership.control(id).is_some() && !instance.status.is_final();
        if !due && !requested {
            return Ok(None);
        }
        let key = (instance.workflow_definition_id, instance.version);
        if !definitions.contains(&key) {
            let (id, version) = key;
            return Err(WfeError::DefinitionNotFound { id, version });
        }
        Ok(Some(ownership.take(id, owner)))
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        let ownership = self.lock().await;
        let mut instance = self.provider.get_workflow_instance(id).await?;
        let kept = attributes::of_instance(&instance)?;
        let (ending, cause) = attributes::take_end(&mut instance)?;
        Ok(Loaded {
            instance,
            attributes: kept,
            revision: 0,
            fence: ownership.fence(id),
            owner: ownership.owner(id),
            control: ownership.control(id),
            ending,
            cause,
            parent: None,
            retried: None,
            restart_of: None,
            restarted_as: None,
            waits: Vec::new(),
            deliveries: Vec::new(),
        })
    }

    async fn request(&self, id: &str, control: Control) -> Result<Requested> {
        let mut ownership = self.lock().await;
        let mut instance = self.provider.get_workflow_instance(id).await?;
        // An ending that does not decode does not keep the caller from the answer: the status says enough.
        let ending = attributes::take_end(&mut instance).ok().and_then(|(ending, _)| ending);
        let pending = ownership.control(id).map(|request| request.control);
        let state = ControlState { status: instance.status, ending, pending, intervention: None };
        let requested = state.decide(id, control, None)?;
        if requested == Requested::Accepted {
            ownership.request(id, control);
        }
        Ok(requested)
    }

    async fn finish_event(&self, event_id: &str) -> Result<bool> {
        Err(WfeError::Invalid(format!("event {event_id:?}: {NO_EVENTS}")))
    }

    async fn finished(
        &self,
        id: &str,
        container: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Result<Finished>)>> {
        let _whole = self.lock().await;
        match self.provider.get_workflow_instance(id).await {
            Ok(instance) => Ok(attributes::history(&instance, container, after, limit)),
            Err(WfeError::WorkflowNotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>> {
        let _whole = self.lock().await;
        match self.provider.get_workflow_instance(id).await {
            Ok(instance) => Ok(attributes::items(&instance, container, from, limit)),
            Err(WfeError::WorkflowNotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn upcoming(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>> {
        let ownership = self.lock().await;
        let ids = self.provider.get_runnable_instances(DateTime::<Utc>::MAX_UTC).await?;
        let mut upcoming = Vec::new();
        for chunk in ids.chunks(CHUNK) {
            for instance in self.instances(chunk).await? {
                let key = (instance.workflow_definition_id, instance.version);
                if let Some(at) = instance.next_execution
                    && at > after.timestamp_millis()
                    && definitions.contains(&key)
                    && ownership.is_free(&instance.id)
                {
                    upcoming.push((at, instance.id));
                }
            }
        }
        upcoming.sort_unstable();
        upcoming.truncate(limit);
        Ok(upcoming)
    }
}

/// The name under which this store keeps an instance with this reference.
fn name_of(definition: &str, reference: &str) -> String {
    format!("{definition}/{reference}")
}

/// Returns the result of a start whose reference was used before. This store makes the name of the wanted
/// instance from its definition and its reference. If the stored instance has this name, but another
/// definition or reference, it is a different instance, and the result is an error.
fn started_before(stored: WorkflowInstance, wanted: &WorkflowInstance) -> Result<Started> {
    let of =
        |instance: &WorkflowInstance| (instance.workflow_definition_id.clone(), instance.reference.clone());
    if of(&stored) == of(wanted) {
        return Ok(Started { id: stored.id, fence: None, is_new: false, restart_of: None });
    }
    Err(WfeError::AlreadyExists { kind: Kind::WorkflowName, id: wanted.name.clone() })
}

const NO_EVENTS: &str = "this store implements only the base traits, which cannot store waits, events and \
                         sub-workflows in one transaction with a step; use a store that implements StepStore";

fn refuse_unsupported(step: &StepCommit) -> Result<()> {
    let supported = step.subscribed.is_empty()
        && step.unsubscribed.is_empty()
        && step.consumed.is_empty()
        && step.published.is_empty()
        && step.created.is_empty()
        && step.requested.is_empty()
        && step.commands.is_empty();
    if supported { Ok(()) } else { Err(WfeError::Invalid(NO_EVENTS.to_owned())) }
}
