//! The names under which the tables store enumeration values.

use wfe_core::{
    models::{CommandName, PointerStatus, WorkflowStatus},
    traits::{Control, Ending, Isolation},
};

use crate::request::Value;

/// Generates two functions from one list of names, so that writing and reading agree.
macro_rules! names {
    ($write:ident, $read:ident, $type:ident: $($name:ident),+) => {
        pub(crate) fn $write(value: $type) -> Value {
            Value::Fixed(match value { $($type::$name => stringify!($name)),+ })
        }

        pub(crate) fn $read(text: &str) -> Option<$type> {
            match text { $(stringify!($name) => Some($type::$name),)+ _ => None }
        }
    };
}

names!(status, as_status, WorkflowStatus: Runnable, Suspended, Complete, Terminated);
names!(
    pointer_status, as_pointer_status, PointerStatus:
    Pending, Running, Complete, Skipped, Sleeping, WaitingForEvent, Failed, Compensated, Cancelled, PendingPredecessor
);
names!(command, as_command, CommandName: ProcessWorkflow, ProcessEvent);
names!(control, as_control, Control: Suspend, Resume, Cancel, Terminate);
names!(ending, as_ending, Ending: Completed, Failed, Cancelled, Terminated);

/// The stored name of an isolation. Only SQL statements read this name.
pub(crate) fn isolation(value: Isolation) -> Value {
    Value::Fixed(match value {
        Isolation::Alone => "Alone",
        Isolation::Turn => "Turn",
        Isolation::Over => "Over",
    })
}
