use std::collections::HashSet;

use super::{ControlRequest, Deaths, Ending, Fence, StepFailure};
#[cfg(doc)]
use super::{EventRepository, Owner, StepCommit, StepStore};
use crate::models::{Event, EventSubscription, ExecutionPointer, WorkflowInstance};

/// The result of a [`start`](StepStore::start).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The instance: the new one, or the one already stored under the reference.
    pub id: String,
    /// The fencing token of a new instance that was started with an owner, which may run it at once. `None`:
    /// claim it first.
    pub fence: Option<Fence>,
    /// Whether this call created the instance.
    pub is_new: bool,
}

/// An instance that the caller owns now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The instance.
    pub id: String,
    /// The caller's fencing token.
    pub fence: Fence,
    /// How many times in a row the process of its owner died before this claim: an instance that kills its
    /// process shows here.
    pub deaths: Deaths,
}

/// The event that an open subscription takes next: the first due one that it matches.
///
/// A subscription matches an event of its name and key that comes after the last one that its instance consumed
/// from that stream. Before its instance has consumed one:
///
/// * A subscription from a date on matches events with `event_time >= subscribe_as_of`.
/// * A subscription from the creation of its instance on (`subscribe_as_of` is its `create_time`, and its
///   commit does not call it [`dated`](StepCommit::dated)) goes by the order of storing. Of the events that the
///   store dated ([`create_event_now`](EventRepository::create_event_now)), it matches those stored after the
///   instance, whatever their dates: the clock may have been set back in between, or may not have moved on. Of
///   the events dated by hand, it matches those with `event_time >= subscribe_as_of`, and those that became due
///   after the instance was stored and were not backdated: their `event_time` was no earlier than the store's
///   clock when they were stored.
///
/// *After* means later in the order in which the store commits. Children count from the commit that creates
/// them, which stores its own events before them.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The subscription.
    pub subscription_id: String,
    /// The first due event after the position of the subscription's instance in this stream.
    pub event: Event,
}

/// One consistent snapshot of everything that the engine needs to know of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The live instance.
    pub instance: WorkflowInstance,
    /// Raised by every write of the instance.
    pub revision: u64,
    /// The stored fencing token.
    pub fence: Fence,
    /// Its owner, by [`Owner::id`]; `None`: it has none. The owner may have died.
    pub owner: Option<u64>,
    /// The pending control request, if there is one.
    pub control: Option<ControlRequest>,
    /// How it ended; `None`: it has not, or was ended by a plain `persist_workflow`.
    pub ending: Option<Ending>,
    /// The failure that suspended or ended it.
    pub cause: Option<StepFailure>,
    /// The instance that created this one as its child.
    pub parent: Option<String>,
    /// Its open subscriptions, oldest first.
    pub waits: Vec<EventSubscription>,
    /// What they take next, for those whose event is stored and due.
    pub deliveries: Vec<Delivery>,
}

/// The part of a [`Loaded`] that others change, from one snapshot: what the owner of an instance has to look at
/// while it works.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The stored fencing token.
    pub fence: Fence,
    /// The pending control request, if there is one.
    pub control: Option<ControlRequest>,
    /// What its open subscriptions take next, for those whose event is stored and due.
    pub deliveries: Vec<Delivery>,
}

impl Loaded {
    /// The part that others change, with the deliveries to the subscriptions with these ids (`None`: to all).
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
    /// Its completion number: 1, 2, 3 … within its instance.
    pub number: u64,
    /// The pointer, as it left the live instance.
    pub pointer: ExecutionPointer,
}

/// The result of [`finish_events`](StepStore::finish_events).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// How many events it marked as processed.
    pub finished: usize,
    /// The last event that it looked at, to continue from; `None`: it has looked at all, or that event is gone.
    pub next: Option<String>,
}
