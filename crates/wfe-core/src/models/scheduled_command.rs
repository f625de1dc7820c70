use serde::{Deserialize, Serialize};

/// What a scheduled command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CommandName {
    /// Look at an instance; the data is its id.
    ProcessWorkflow,
    /// Look at an event; the data is its id.
    ProcessEvent,
}

/// A wake-up that outlives the process: at a time, look at a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduledCommand {
    /// What to do.
    pub command_name: CommandName,
    /// To what: an id. Name and data together name the command; a store keeps one of each.
    pub data: String,
    /// Not before this time, in milliseconds since the Unix epoch.
    pub execute_time: i64,
}

impl ScheduledCommand {
    /// Look at the instance `id` at `execute_time` (milliseconds since the Unix epoch).
    pub fn process_workflow(id: impl Into<String>, execute_time: i64) -> Self {
        Self { command_name: CommandName::ProcessWorkflow, data: id.into(), execute_time }
    }

    /// Look at the event `id` at `execute_time` (milliseconds since the Unix epoch).
    pub fn process_event(id: impl Into<String>, execute_time: i64) -> Self {
        Self { command_name: CommandName::ProcessEvent, data: id.into(), execute_time }
    }
}
