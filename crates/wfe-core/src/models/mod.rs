//! The types of the data that a store keeps. Each type has its own file.
//!
//! Times are in UTC, with nanoseconds. Two fields are in milliseconds since the Unix epoch instead, because
//! the engine compares them in every pass: [`WorkflowInstance::next_execution`] and
//! [`ScheduledCommand::execute_time`]. Every `i64` is a valid value of these two fields.

pub(crate) mod attributes;
mod event;
mod event_subscription;
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

pub use crate::error::ExecutionError;
pub use event::Event;
pub use event_subscription::EventSubscription;
pub use execution_pointer::ExecutionPointer;
pub use pointer_status::{PointerChange, PointerStatus};
pub use scheduled_command::{CommandName, ScheduledCommand};
pub use workflow_instance::WorkflowInstance;
pub use workflow_status::{StatusChange, WorkflowStatus};

/// Creates an id: a UUID of version 7. Such ids are ordered by the time of their creation. So rows that were
/// created at about the same time are stored close together.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "an id has to be unique, not repeatable")]
pub fn fresh_id() -> String {
    // `now_v7` panics if the clock shows a time before 1970, because a UUID of version 7 cannot hold such a
    // time. In that case, the id gets the earliest time that it can hold.
    if system_time() < DateTime::UNIX_EPOCH {
        return Uuid::new_v7(Timestamp::from_unix(NoContext, 0, 0)).to_string();
    }
    Uuid::now_v7().to_string()
}
