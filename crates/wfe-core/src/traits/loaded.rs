use std::collections::HashSet;

use super::{ControlRequest, Deaths, Ending, Fence, StepFailure};
#[cfg(doc)]
use super::{Owner, StepStore};
use crate::models::{Event, EventSubscription, ExecutionPointer, WorkflowInstance};

/// What a start came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The instance: the new one, or the one already stored under the reference.
    pub id: String,
    /// With an owner, and for a new instance only: the caller's right to run it at once. `None`: claim it.
    pub fence: Option<Fence>,
    /// Whether this call made it.
    pub is_new: bool,
}

/// An instance that the caller owns now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Which.
    pub id: String,
    /// The right to write it.
    pub fence: Fence,
    /// How often its owner's process died in a row before this claim. An instance that kills its process each time shows
    /// here.
    pub deaths: Deaths,
}

/// The event that an open wait takes next.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The wait.
    pub subscription_id: String,
    /// The first due event after the position of the wait's instance in this stream.
    pub event: Event,
}

/// One consistent snapshot of all that the engine has to know of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The live instance.
    pub instance: WorkflowInstance,
    /// Raised by every write of the instance.
    pub revision: u64,
    /// The stored fence.
    pub fence: Fence,
    /// Who owns it, by [`Owner::id`]; `None`: nobody. An owner that is named here may have died.
    pub owner: Option<u64>,
    /// The control request that waits, if one does.
    pub control: Option<ControlRequest>,
    /// How it ended; `None`: it has not, or was ended by a plain `persist_workflow`.
    pub ending: Option<Ending>,
    /// The failure that suspended or ended it.
    pub cause: Option<StepFailure>,
    /// The instance that made this one as its child.
    pub parent: Option<String>,
    /// Its open waits, oldest first.
    pub waits: Vec<EventSubscription>,
    /// What they take next, for those whose event is there.
    pub deliveries: Vec<Delivery>,
}

/// What there is to do for whoever works on an instance already, from one snapshot: the part of a [`Loaded`] that others change.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The stored fence.
    pub fence: Fence,
    /// The control request that waits, if one does.
    pub control: Option<ControlRequest>,
    /// What its open waits take next, for those whose event is there.
    pub deliveries: Vec<Delivery>,
}

impl Loaded {
    /// The part that others change: of the deliveries, those to the waits with these ids (`None`: to all).
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

/// What [`finish_events`](StepStore::finish_events) came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// How many events it marked processed.
    pub finished: usize,
    /// The last event that it looked at, to go on from; `None`: it has looked at all, or that event is gone.
    pub next: Option<String>,
}
