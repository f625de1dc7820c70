use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ControlRequest, Deaths, Ending, Fence, StepFailure};
#[cfg(doc)]
use super::{EventRepository, Owner, StepCommit, StepStore};
use crate::{
    RetryRefusal,
    models::{Event, EventSubscription, ExecutionPointer, WorkflowInstance},
};

/// The result of a [`start`](StepStore::start).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The id of the new instance, or of the instance that is already stored under the reference.
    pub id: String,
    /// The fencing token of a new instance that was started with an owner; the owner may run the instance at
    /// once. `None` means that the instance must be claimed before it can run.
    pub fence: Option<Fence>,
    /// Whether this call created the instance.
    pub is_new: bool,
    /// The id of the ended instance that the new instance replaces: the start was a restart.
    pub restart_of: Option<String>,
}

/// What a start does if an instance with the same definition id and reference is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Known {
    /// Starts nothing, and returns the stored instance, whatever its version and status.
    #[default]
    Existing,
    /// Starts nothing, and fails with [`AlreadyStarted`](crate::WfeError::AlreadyStarted), which names the stored
    /// instance.
    Refuse,
    /// If the stored instance has failed, starts a new one in its place, as
    /// [`restart`](StepStore::restart) does. Otherwise, returns the stored instance. If the new instance fails
    /// too, the next start restarts it, even if both starts were called at the same time.
    RestartIfFailed,
}

/// The result of a [`reopen`](StepStore::reopen).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reopened {
    /// The whole change is durable.
    Done,
    /// Nothing was written, for this reason.
    Refused(RetryRefusal),
}

/// A stored event, and what it met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Published {
    /// The id of the event.
    pub id: String,
    /// Whether this call stored the event. False: an event with the caller's id, and with this name and key, was
    /// published before; nothing was written.
    pub is_new: bool,
    /// Whether an instance has consumed the event. False for a new event.
    ///
    /// A known event that is not consumed, and meets no waits, was published too early, or for no instance: none
    /// that exists now receives it, unless the instance begins to wait later. Publish it again with another id.
    pub is_consumed: bool,
    /// The number of open waits that the event matches, of all instances, counted up to [`MANY`](Self::MANY). That
    /// number stands for itself and for every higher number. An event that is not due yet matches none.
    pub waits: usize,
}

impl Published {
    /// The number up to which waits are counted.
    pub const MANY: usize = 100;

    /// For implementations of stores: the event with this `id`, new, consumed by no instance, and met by no wait.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), is_new: true, is_consumed: false, waits: 0 }
    }
}

/// An instance that the caller owns now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The id of the instance.
    pub id: String,
    /// The caller's fencing token.
    pub fence: Fence,
    /// How many times in a row the process of the instance's owner crashed before this claim. These counts
    /// reveal an instance that crashes its process.
    pub deaths: Deaths,
}

/// The event that an open subscription receives next: the first due event that the subscription matches.
///
/// A subscription matches an event of its name and key that comes after the last event that its instance
/// consumed from that stream. As long as its instance has not consumed an event from that stream, these rules
/// apply:
///
/// * A subscription that counts from a given time matches events with `event_time >= subscribe_as_of`.
/// * A subscription that counts from the creation of its instance goes by the order of storing. (Its
///   `subscribe_as_of` is the instance's `create_time`, and its commit does not list it as
///   [`dated`](StepCommit::dated).) Such a subscription matches every event that was stored after the instance
///   and whose timestamp the store set ([`create_event_now`](EventRepository::create_event_now)). The timestamp
///   of such an event does not matter, because the clock may have been set back in between, or may not have
///   advanced. An event whose timestamp the publisher set matches in two cases. In the first case,
///   `event_time >= subscribe_as_of`. In the second case, the event became due after the instance was stored
///   and was not backdated: its `event_time` was no earlier than the store's clock when the event was stored.
///
/// *After* means later in the order in which the store commits. For a child, the creation is the commit that
/// creates the child. The events that this commit publishes are stored before the child.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The subscription.
    pub subscription_id: String,
    /// The first due event after the position of the subscription's instance in this stream.
    pub event: Event,
}

/// One consistent snapshot of everything that the engine needs to know about an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The live instance.
    pub instance: WorkflowInstance,
    /// The attributes of the instance, by which operators find it. They are not part of the model: only the engine writes
    /// them, and `persist_workflow` does not change them. Keys that begin with [`OWN_NAMES`](super::OWN_NAMES) belong to the
    /// store, and are left out.
    pub attributes: Map<String, Value>,
    /// A number that every write of the instance raises.
    pub revision: u64,
    /// The stored fencing token.
    pub fence: Fence,
    /// The [`Owner::id`] of the instance's owner, or `None` if the instance has no owner. The owner may be
    /// dead.
    pub owner: Option<u64>,
    /// The pending control request, if there is one.
    pub control: Option<ControlRequest>,
    /// How the instance ended. `None` if the instance has not ended, or if `persist_workflow` ended it.
    pub ending: Option<Ending>,
    /// The failure that suspended or ended the instance.
    pub cause: Option<StepFailure>,
    /// The instance that created this one as its child.
    pub parent: Option<String>,
    /// When the instance was last [reopened](StepStore::reopen).
    pub retried: Option<DateTime<Utc>>,
    /// The ended instance that this one replaces, if this one was started by a [`restart`](StepStore::restart).
    pub restart_of: Option<String>,
    /// The instance that replaces this one, if this one was [restarted](StepStore::restart).
    pub restarted_as: Option<String>,
    /// The open subscriptions of the instance, oldest first.
    pub waits: Vec<EventSubscription>,
    /// The next event of each open subscription, if that event is stored and due.
    pub deliveries: Vec<Delivery>,
}

/// The part of a [`Loaded`] that writers other than the owner can change, read in one snapshot. While the owner
/// works on the instance, it must read this part again.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The stored fencing token.
    pub fence: Fence,
    /// The pending control request, if there is one.
    pub control: Option<ControlRequest>,
    /// The next event of each open subscription, if that event is stored and due.
    pub deliveries: Vec<Delivery>,
}

/// The state in which a caller has read an instance that it wants to [replace](StepStore::replace).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The id of the instance.
    pub id: String,
    /// Its [`revision`](Loaded::revision).
    pub revision: u64,
    /// The number of the control request that is pending, or `None` if the instance has ended or no request is
    /// pending.
    pub request: Option<u64>,
}

impl Loaded {
    /// The state of the instance, for a [`replace`](StepStore::replace) that must not overwrite a later change.
    #[must_use]
    pub fn expected(&self) -> Expected {
        let request = self.control.as_ref().filter(|_| !self.instance.status.is_final());
        Expected {
            id: self.instance.id.clone(),
            revision: self.revision,
            request: request.map(|request| request.number),
        }
    }

    /// The part that writers other than the owner can change. The result contains the deliveries to the
    /// subscriptions whose ids are in `waits`, or to all subscriptions if `waits` is `None`.
    #[must_use]
    pub fn into_pending(self, waits: Option<&[String]>) -> Pending {
        let Self { fence, control, mut deliveries, .. } = self;
        if let Some(waits) = waits {
            let waits: HashSet<&String> = waits.iter().collect();
            deliveries.retain(|delivery| waits.contains(&delivery.subscription_id));
        }
        Pending { fence, control, deliveries }
    }
}

/// A history row.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The completion number of the pointer: 1, 2, 3 … within its instance.
    pub number: u64,
    /// The pointer, in the state in which it left the live instance.
    pub pointer: ExecutionPointer,
}

/// The result of [`finish_events`](StepStore::finish_events).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// How many events the call marked as processed.
    pub finished: usize,
    /// The last event that the call checked; the next call continues after this event. `None` if the call has
    /// checked all events, or if the last checked event no longer exists.
    pub next: Option<String>,
}
