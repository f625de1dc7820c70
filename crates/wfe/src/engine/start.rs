//! Starts an instance: stores it, publishes its start, and passes it to the engine.

use std::sync::Arc;

use serde_json::{Map, Value};
use wfe_core::{
    Result, WfeError,
    executor::LifecycleEvent,
    models::{WorkflowInstance, WorkflowStatus},
    traits::{Claimed, Deaths, Expected, Fence, Known, Loaded, Owner, Started},
};

use super::{
    log,
    message::{NewInstance, Order},
    state::{
        notifications::{Notifications, Permit},
        shared::Shared,
    },
    steps::slots::take_slots,
};
use crate::metrics;

/// What a start does besides storing a new instance.
#[derive(Debug, Clone)]
pub(crate) enum StartRule {
    /// It stores an instance with these attributes, unless the instance's reference is known.
    Known { known: Known, attributes: Map<String, Value> },
    /// It replaces the ended instance with this id, which has these attributes. The new instance keeps them.
    Restart { of: String, attributes: Map<String, Value> },
}

impl StartRule {
    /// The attributes of the new instance.
    fn attributes(&self) -> &Map<String, Value> {
        match self {
            Self::Known { attributes, .. } | Self::Restart { attributes, .. } => attributes,
        }
    }
}

impl Default for StartRule {
    fn default() -> Self {
        Self::Known { known: Known::Existing, attributes: Map::new() }
    }
}

/// An instance that is stored.
pub(crate) struct StoredStart {
    pub id: String,
    /// Whether this call stored it. False: an instance with the same definition id and reference was stored before.
    pub is_new: bool,
    /// The ended instance that the new one replaces.
    pub restart_of: Option<String>,
}

/// Stores a new instance. If `permit` is set, also has the engine run the instance. If `permit` is `None`, the host
/// does not run, and the instance waits in the store.
///
/// The start is published before the order is sent, and therefore before any other event of the instance. The host
/// counts the instance as work in progress before the caller knows its id. A caller that waits for the end of the
/// instance therefore gets the end without reading the store, and the host does not count as idle before the instance
/// has run.
pub(super) async fn store_new(
    shared: &Arc<Shared>,
    mut instance: WorkflowInstance,
    rule: &StartRule,
    permit: Option<Permit>,
) -> Result<StoredStart> {
    // If there is no capacity in memory, the instance waits in the store and is claimed later.
    let limited = shared.options.limits.instances(&instance.workflow_definition_id);
    let slot = limited.and_then(|slots| take_slots(slots, 1));
    // A suspended instance waits in the store until it is resumed.
    let is_runnable = instance.status == WorkflowStatus::Runnable;
    let has_room =
        is_runnable && permit.is_some() && shared.room() > 0 && slot.is_some() == limited.is_some();
    let mut owner = if has_room { shared.owner() } else { None };
    // An instance without an owner may be claimed by any host, including this one, as soon as it is stored.
    let pending_start = || shared.start_barrier.of_definition(&instance.workflow_definition_id);
    let mut _pending_start = owner.is_none().then(pending_start);
    let mut started = start(shared, owner.as_deref(), &instance, rule).await;
    if let Err(WfeError::OwnerLost { .. }) = started {
        // Nothing was stored. The engine's next claim detects that the host needs a new owner.
        (owner, _pending_start) = (None, Some(pending_start()));
        started = start(shared, None, &instance, rule).await;
    }
    let started = match started {
        Ok(started) => started,
        Err(error) => {
            if matches!(error, WfeError::CommitUnknown { .. }) && permit.is_some() {
                shared.channel.notify(Notifications::owner_in_doubt);
            }
            return Err(error);
        }
    };
    if !started.is_new {
        return Ok(StoredStart { id: started.id, is_new: false, restart_of: None });
    }
    instance.id.clone_from(&started.id);
    let event = LifecycleEvent::started(&instance);
    log::started(&event, started.restart_of.as_deref());
    metrics::started(&event);
    shared.publish(event);
    if let (Some(fence), Some(owner), Some(permit)) = (started.fence, owner, permit) {
        if instance.name.is_empty() {
            instance.name.clone_from(&started.id);
        }
        let claimed = Claimed { id: started.id.clone(), fence, deaths: Deaths::default() };
        let loaded = just_started(instance, rule.attributes().clone(), fence, owner.id());
        let work = shared.begin(&started.id, owner, slot);
        let new = NewInstance { claimed, loaded, work, permit };
        // Sending fails only if the engine has ended. The instance is then found after the next start.
        let _later = shared.channel.order(Order::Start(Box::new(new)));
    } else {
        // This also happens on a host that does not run, because it may have been started meanwhile.
        shared.channel.notify(Notifications::unowned_instance);
    }
    Ok(StoredStart { id: started.id, is_new: true, restart_of: started.restart_of })
}

async fn start(
    shared: &Shared,
    owner: Option<&Owner>,
    instance: &WorkflowInstance,
    rule: &StartRule,
) -> Result<Started> {
    match rule {
        StartRule::Known { known, attributes } if !attributes.is_empty() => {
            shared.store.start_with(owner, instance, *known, attributes).await
        }
        StartRule::Known { known: Known::Existing, .. } => shared.store.start(owner, instance).await,
        StartRule::Known { known, .. } => shared.store.start_if(owner, instance, *known).await,
        StartRule::Restart { of, .. } => shared.store.restart(owner, of, instance).await,
    }
}

/// Stores a new instance in the place of another one, if that one is still as expected. Any host may claim the new
/// instance. Returns its id.
pub(super) async fn store_in_place_of(
    shared: &Arc<Shared>,
    old: &Expected,
    mut instance: WorkflowInstance,
) -> Result<Option<String>> {
    let _pending_start = shared.start_barrier.of_definition(&instance.workflow_definition_id);
    let Some(id) = shared.store.replace(old, &instance).await? else { return Ok(None) };
    instance.id.clone_from(&id);
    let event = LifecycleEvent::started(&instance);
    metrics::started(&event);
    shared.publish(event);
    shared.channel.notify(Notifications::unowned_instance);
    Ok(Some(id))
}

/// The stored state of an instance that was started a moment ago. Revision 0 means that the instance was never changed.
fn just_started(
    instance: WorkflowInstance,
    attributes: Map<String, Value>,
    fence: Fence,
    owner: u64,
) -> Loaded {
    Loaded {
        instance,
        revision: 0,
        fence,
        owner: Some(owner),
        control: None,
        ending: None,
        cause: None,
        parent: None,
        retried: None,
        restart_of: None,
        restarted_as: None,
        attributes,
        waits: Vec::new(),
        deliveries: Vec::new(),
    }
}
