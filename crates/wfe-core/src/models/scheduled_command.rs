use serde::{Deserialize, Serialize};

/// The kind of a scheduled command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CommandName {
    /// Process an instance. The data of the command is the id of the instance.
    ProcessWorkflow,
    /// Process an event. The data of the command is the id of the event.
    ProcessEvent,
}

/// A command that is stored, so that it is not lost when the program ends. The command is to process an
/// instance or an event at a given time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledCommand {
    /// The kind of the command.
    pub command_name: CommandName,
    /// The id of the instance or the event. The name and the data together identify the command. A store
    /// keeps no second command with the same name and data.
    pub data: String,
    /// The earliest time at which the command is carried out, in milliseconds since the Unix epoch.
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
