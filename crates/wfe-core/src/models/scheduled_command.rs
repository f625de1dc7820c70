use serde::{Deserialize, Serialize};

/// The kind of a scheduled command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CommandName {
    /// Process an instance. The data of the command is the id of the instance.
    ProcessWorkflow,
    /// Process an event. The data of the command is the id of the event.
    ProcessEvent,
}

/// A stored command: process an instance or an event at a given time. It survives the end of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledCommand {
    /// The kind of the command.
    pub command_name: CommandName,
    /// The id of the instance or the event. Name and data identify the command: a store keeps at most one
    /// command with the same name and data.
    pub data: String,
    /// The earliest time of the command, in milliseconds since the Unix epoch.
    pub execute_time: i64,
}

impl ScheduledCommand {
    /// Creates the command to process the instance `id` at `execute_time`, in milliseconds since the Unix
    /// epoch.
    pub fn process_workflow(id: impl Into<String>, execute_time: i64) -> Self {
        Self { command_name: CommandName::ProcessWorkflow, data: id.into(), execute_time }
    }

    /// Creates the command to process the event `id` at `execute_time`, in milliseconds since the Unix epoch.
    pub fn process_event(id: impl Into<String>, execute_time: i64) -> Self {
        Self { command_name: CommandName::ProcessEvent, data: id.into(), execute_time }
    }
}
