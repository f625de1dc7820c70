//! What a workload needs of a subject. A subject implements the traits of what it can do, and nothing else: it then lacks the
//! workloads that need more.
//!
//! Every call that writes returns once the write is durable, except with durare, which does not wait for the disk
//! (synchronous = NORMAL).

use std::{fmt::Debug, future::Future, sync::Arc};

use crate::{Done, Place};

/// A subject that is open.
pub trait Subject: Sized + Send + Sync + 'static {
    /// Opens the place, and creates what is missing there.
    fn open(place: &Place) -> impl Future<Output = Done<Self>> + Send;

    /// Closes the subject, so that all of its data is in the file and another process can open it.
    fn close(&self) -> impl Future<Output = Done> + Send;
}

/// Instances with pointers, which a caller loads, changes and persists.
pub trait Instances: Subject {
    type Instance: Clone + Debug + Send + Sync + 'static;

    /// A new instance, which is not stored. Its pointers are completed and have the result 0. It is due at once.
    fn draft(number: u64, pointers: usize) -> Self::Instance;
    /// Sets the result of one pointer.
    fn set(instance: &mut Self::Instance, pointer: usize, result: u64);
    /// Completes the last pointer and adds another one.
    fn step(instance: &mut Self::Instance);
    fn id(instance: &Self::Instance) -> &str;
    fn pointers(instance: &Self::Instance) -> usize;
    fn is_same(one: &Self::Instance, other: &Self::Instance) -> bool;

    /// Stores a new instance. The id that the store assigns, if any, is in the instance afterwards.
    fn create(&self, instance: &mut Self::Instance) -> impl Future<Output = Done> + Send;
    fn load(&self, id: &str) -> impl Future<Output = Done<Self::Instance>> + Send;
    /// Stores what has been changed in an instance.
    fn persist(&self, instance: &mut Self::Instance) -> impl Future<Output = Done> + Send;

    /// What is stored for an instance, before a step. `known` is what this caller has stored. A subject that measures writes
    /// only returns `known`.
    fn current(&self, known: &Self::Instance) -> impl Future<Output = Done<Self::Instance>> + Send {
        self.load(Self::id(known))
    }
}

/// Steps as the engine commits them: the caller owns the instance, and sends only what has changed.
pub trait Steps: Subject {
    /// An instance that the caller owns.
    type Owned: Debug + Send + Sync + 'static;

    /// Stores a new instance with one pointer, and owns it.
    fn begin(&self, number: u64) -> impl Future<Output = Done<Self::Owned>> + Send;
    /// Completes the last pointer, adds another one, and commits both. `owned` shows them only if the commit succeeds.
    fn commit(&self, owned: &mut Self::Owned) -> impl Future<Output = Done> + Send;
    fn committed(owned: &Self::Owned) -> usize;
    /// Whether the stored instance has exactly these pointers, or those of one more commit if `or_more`.
    fn is_stored(&self, owned: &Self::Owned, or_more: bool) -> impl Future<Output = Done<bool>> + Send;
}

/// Instances of which only some are due.
pub trait DueInstances: Instances {
    /// Due at this time, in milliseconds since the Unix epoch. `None`: nothing is scheduled.
    fn schedule_at(instance: &mut Self::Instance, time: Option<i64>);
    /// The ids of the instances that are due now, earliest first.
    fn due(&self) -> impl Future<Output = Done<Vec<String>>> + Send;
    /// Makes so many copies of a stored instance, with ids of their own, in the file of a subject that is closed.
    fn multiply(place: &Place, id: &str, copies: usize) -> Done;
    /// How many instances there are in the file of a subject that is closed.
    fn count(place: &Place) -> Done<usize>;
}

/// Stored events.
pub trait Events: Subject {
    /// Stores an event with this number. It is due at this time, in milliseconds since the Unix epoch; `None`: now.
    fn create_event(&self, number: u64, due: Option<i64>) -> impl Future<Output = Done<String>> + Send;
    /// The number of an event, and whether it is processed.
    fn event(&self, id: &str) -> impl Future<Output = Done<(u64, bool)>> + Send;
    fn mark_processed(&self, id: &str) -> impl Future<Output = Done> + Send;
}

/// Events of which only some are due and not processed.
pub trait DueEvents: Events {
    /// The ids of the events that are due and not processed, oldest first.
    fn due_events(&self) -> impl Future<Output = Done<Vec<String>>> + Send;
    /// Makes so many copies of a stored event, with ids of their own, in the file of a subject that is closed.
    fn multiply_event(place: &Place, id: &str, copies: usize) -> Done;
}

/// Commands that are stored until they are due.
pub trait Commands: Subject {
    /// Stores a command with this number. It is due at this time, in milliseconds since the Unix epoch.
    fn schedule(&self, number: u64, due: i64) -> impl Future<Output = Done> + Send;
    /// The numbers and due times of all commands in the file of a subject that is closed.
    fn scheduled(place: &Place) -> Done<Vec<(u64, i64)>>;
}

/// Workflows of three empty steps.
pub trait Flows: Subject {
    /// Starts a workflow with this number as its data, and waits for its outcome. Returns the id.
    fn flow(&self, number: u64) -> impl Future<Output = Done<String>> + Send;
    /// Whether a workflow is stored as completed, with this number as its data.
    fn is_completed(&self, id: &str, number: u64) -> impl Future<Output = Done<bool>> + Send;
}

/// A host in whose file there are many workflows that have ended.
pub trait EndedFlows: Flows {
    /// Makes so many copies of an ended workflow, with ids of their own, in the file of a subject that is closed.
    fn multiply_ended(place: &Place, id: &str, copies: usize) -> Done;
    /// How many workflows are completed in the file of a subject that is closed.
    fn count_ended(place: &Place) -> Done<usize>;
}

/// Called when a step begins, with the number that belongs to the step.
pub type OnStep = Arc<dyn Fn(u64) + Send + Sync>;

/// A host with workflows that begin a step when something happens.
pub trait Host: Subject {
    /// Opens a host that calls `on_step` when a step begins.
    fn host(place: &Place, on_step: OnStep) -> impl Future<Output = Done<Self>> + Send;
    /// Whether this process runs steps. Without it, a host only stores what it is called for.
    fn run(&self) -> impl Future<Output = Done> + Send;

    /// Starts a workflow whose only step begins at once, with this number.
    fn start(&self, number: u64) -> impl Future<Output = Done<String>> + Send;
    /// Starts a workflow whose step begins with the number of the event that is published for `key`.
    fn start_waiting(&self, key: u64) -> impl Future<Output = Done<String>> + Send;
    /// Starts a workflow whose step begins at this time, in nanoseconds since the Unix epoch, which is also its number.
    fn start_timer(&self, due_ns: u64) -> impl Future<Output = Done<String>> + Send;
    fn publish(&self, key: u64, number: u64) -> impl Future<Output = Done> + Send;
    /// Returns when nothing can happen any more, except by time and by events.
    fn idle(&self) -> impl Future<Output = Done> + Send;
    /// Waits for the end of a workflow. The number with which its step began.
    fn outcome(&self, id: &str) -> impl Future<Output = Done<u64>> + Send;
    /// The number with which the step of a workflow began, if the workflow is stored as completed.
    fn stored(&self, id: &str) -> impl Future<Output = Done<Option<u64>>> + Send;
}

/// A host with workflows that run an empty step for each item, 32 items at once.
pub trait Items: Subject {
    /// Starts a workflow over this many items, and waits for its end. Returns the id.
    fn for_each(&self, items: u64) -> impl Future<Output = Done<String>> + Send;
    /// The stored results of all items, in any order. The result of an item is its number, from 0.
    fn results(&self, id: &str) -> impl Future<Output = Done<Vec<u64>>> + Send;
}

/// A host in whose file there are many workflows that sleep.
pub trait Sleepers: Host {
    /// Makes so many copies of a workflow that sleeps or waits, with ids and keys of their own, in the file of a subject that
    /// is closed.
    fn multiply_sleeping(place: &Place, id: &str, copies: usize) -> Done;
    /// How many workflows have not ended in the file of a subject that is closed.
    fn count_sleeping(place: &Place) -> Done<usize>;
}
