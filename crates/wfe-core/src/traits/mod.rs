//! The persistence contract: what a store must do for the WFE engine. One trait a file, each rule told once.
//!
//! [`PersistenceProvider`] and its four repositories are what a store must have. [`StepStore`] is how the engine
//! writes where the store offers it: a step's whole effect in one transaction. [`Management`] is for operators.
//!
//! What holds for every method:
//!
//! * **Exactness.** Values come back as they went in: every JSON value, every time to the nanosecond,
//!   `Some(Value::Null)` distinct from `None`, every finite double bit for bit. What cannot be stored or read back
//!   exactly is refused when it is written ([`WfeError::Unstorable`](crate::WfeError::Unstorable)): never rounded, never stored unreadable.
//!   [`limits`](crate::limits) says what that is, and has the checks.
//! * **Bounds.** The bounds of queries (`as_of`, `as_at`) saturate, up to `DateTime::MIN_UTC` and `MAX_UTC`. A time
//!   compared with milliseconds is rounded so that nothing is ever due early.
//! * **Errors.** An error leaves the store as it was before the call, with two exceptions:
//!   [`process_commands`](ScheduledCommandRepository::process_commands), which commits each command by itself, and
//!   [`WfeError::CommitUnknown`](crate::WfeError::CommitUnknown).
//! * **Crashes and dropped futures.** A call that returned is durable. One that did not, because the process died or
//!   its future was dropped, has left either all of its effect or none of it.

mod control;
mod event_repository;
mod isolation;
mod loaded;
mod management;
mod owner;
mod persistence_provider;
mod scheduled_command_repository;
mod step_commit;
mod step_store;
mod step_store_methods;
mod subscription_repository;
mod workflow_repository;

pub use control::{Control, ControlRequest, Intervention};
pub use event_repository::EventRepository;
pub use isolation::{Deaths, Isolation};
pub use loaded::{Claimed, Delivery, Finished, Loaded, Pending, Started, Swept};
pub use management::{
    Checkup, CompactReport, CountedStatus, Cursor, ErrorRecord, InstanceFilter, InstanceSummary, Management,
    Page, PurgeReport, StoreStatistics, TimeRange,
};
pub use owner::{Fence, Owner};
pub use persistence_provider::PersistenceProvider;
pub use scheduled_command_repository::{CommandFuture, CommandHandler, ScheduledCommandRepository};
pub use step_commit::{Committed, Consumed, Ending, Items, StepCommit, StepFailure};
pub use step_store::{OWN_NAMES, StepStore};
pub use subscription_repository::SubscriptionRepository;
pub use workflow_repository::WorkflowRepository;
