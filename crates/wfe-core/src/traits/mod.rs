//! The persistence contract: what a store must do for the WFE engine. Each trait has its own file, and each
//! rule is stated once.
//!
//! Every store implements [`PersistenceProvider`] and its four repositories. A store that also implements
//! [`StepStore`] lets the engine write a step's whole effect in one transaction. [`Management`] is for
//! operators.
//!
//! These rules hold for every method:
//!
//! * **Exactness.** Values are read back exactly as they were written: every JSON value, every time to the
//!   nanosecond, `Some(Value::Null)` distinct from `None`, every finite double bit for bit. A value that
//!   cannot be read back exactly is refused when it is written
//!   ([`WfeError::Unstorable`](crate::WfeError::Unstorable)), not rounded. [`limits`](crate::limits) lists the
//!   values that cannot be stored, and checks for them.
//! * **Bounds.** The bound of a query (`as_of`, `as_at`) may be any time. A bound that no store can hold is
//!   earlier, or later, than every stored time. A time that is compared with milliseconds is rounded so that
//!   nothing is ever due early.
//! * **Reads.** A read returns data of one snapshot and writes nothing, so it succeeds even while another
//!   process is in the middle of a commit. The reads are the getters of the repositories, and these methods of
//!   [`StepStore`]: `load`, `inspect`, `load_many`, `pending`, `requested`, `ended`, `upcoming`,
//!   `upcoming_event`, `named`, `open_waits`, `finished`, `find`, `items`, `failures`, `last_failures`,
//!   `living_owners` and `hosts`.
//! * **Errors.** An error leaves the store as it was before the call, with two exceptions:
//!   [`process_commands`](ScheduledCommandRepository::process_commands), which commits each command
//!   separately, and [`WfeError::CommitUnknown`](crate::WfeError::CommitUnknown).
//! * **Crashes and dropped futures.** When a call has returned, its effect is durable. A call that did not
//!   return, because the process died or its future was dropped, has stored either its whole effect or nothing.

mod control;
mod defaults;
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

pub use crate::error::{Control, Ending, StepFailure, StoredFailure};
pub use control::{ControlRequest, ControlState, Intervention, Requested};
pub use event_repository::EventRepository;
pub use isolation::{Deaths, Isolation};
pub use loaded::{
    Claimed, Delivery, Expected, Finished, Known, Loaded, Pending, Published, Reopened, Started, Swept,
};
pub use management::{
    AUDIT, Acted, Action, Audit, AuditFilter, AuditRecord, BackupReport, Cause, CheckDepth, CheckpointMode,
    CheckpointReport, Checkup, CompactReport, Count, Cursor, DEFINITION, EndedCount, ErrorRecord,
    EventFilter, Face, FailureGroup, Finding, Host, HostCard, InstanceState, InstanceSummary, ListCursor,
    MAX_PAGE, MAX_QUERY_ATTRIBUTES, MAX_ROWS, MAX_SEARCH_BYTES, Management, OpenCount, OpenWait, Order, Page,
    Progress, PurgeFilter, PurgeReport, Query, RunningBody, StepCount, StoreStatistics, StoredEvent,
    StoredOutline, TaskCount, TextMatch, TimeRange, WaitFilter, WaitSummary, Weight, Window,
};
pub use owner::{Fence, Owner};
pub use persistence_provider::PersistenceProvider;
pub use scheduled_command_repository::{CommandFuture, CommandHandler, ScheduledCommandRepository};
pub use step_commit::{Committed, Consumed, Items, StepCommit};
pub use step_store::{OWN_NAMES, StepStore};
pub use subscription_repository::SubscriptionRepository;
pub use workflow_repository::WorkflowRepository;
