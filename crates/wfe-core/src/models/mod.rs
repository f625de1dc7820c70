//! What a store keeps: one type a file.
//!
//! Times are UTC to the nanosecond, except the two fields that the engine compares on every pass
//! ([`WorkflowInstance::next_execution`] and [`ScheduledCommand::execute_time`]): these are milliseconds since
//! the Unix epoch, and every `i64` is a valid one.

pub(crate) mod attributes;
mod event;
mod event_subscription;
mod execution_error;
mod execution_pointer;
mod optional_value;
pub(crate) mod pointer_id;
mod pointer_status;
mod scheduled_command;
mod workflow_instance;
mod workflow_status;

use chrono::DateTime;
use uuid::{NoContext, Timestamp, Uuid};

use crate::clock::system_time;

pub use event::Event;
pub use event_subscription::EventSubscription;
pub use execution_error::ExecutionError;
pub use execution_pointer::ExecutionPointer;
pub use pointer_status::{PointerChange, PointerStatus};
pub use scheduled_command::{CommandName, ScheduledCommand};
pub use workflow_instance::WorkflowInstance;
pub use workflow_status::{StatusChange, WorkflowStatus};

/// A fresh id: a time-ordered UUID (version 7), so that rows made together lie together.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "an id has to be unique, not repeatable")]
pub fn fresh_id() -> String {
    // It panics before 1970, which has no place in the time of such an id: then that is the first one there is.
    if system_time() < DateTime::UNIX_EPOCH {
        return Uuid::new_v7(Timestamp::from_unix(NoContext, 0, 0)).to_string();
    }
    Uuid::now_v7().to_string()
}
