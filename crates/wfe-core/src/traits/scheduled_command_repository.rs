use std::{future::Future, pin::Pin};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, models::ScheduledCommand};

/// The future that a [`CommandHandler`] returns.
pub type CommandFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// The function that [`process_commands`](ScheduledCommandRepository::process_commands) runs for each due
/// command.
pub type CommandHandler = dyn Fn(ScheduledCommand) -> CommandFuture + Send + Sync;

/// Scheduled commands: wake-ups that outlive the process.
#[async_trait]
pub trait ScheduledCommandRepository: Send + Sync {
    /// Whether this store supports scheduled commands. If the store does not support them, the other two
    /// methods of this trait fail.
    fn supports_scheduled_commands(&self) -> bool;

    /// Stores a command, with one row for each combination of name and data. If the command is stored already,
    /// the *earlier* time is kept, so that a wake-up is never delayed or lost.
    async fn schedule_command(&self, command: &ScheduledCommand) -> Result<()>;

    /// Runs `handler` for every command with `execute_time <= as_of`, in order of time, and commits each
    /// command separately.
    ///
    /// If the handler returns `Ok`, the command is removed. A command that was scheduled again while the
    /// handler ran is kept instead, with the earliest time requested since the handler began. If the handler
    /// returns `Err`, the command is kept, and the other commands still run. The store holds no lock while a
    /// handler runs, so the handler may call the same store. Two callers may both run the same command. After
    /// a crash or a dropped future, the command is due again at its old time.
    ///
    /// # Errors
    /// The first error of a handler, after all handlers have run; or an error of the store, which stops the
    /// call at once. Commands that were removed before the error stay removed.
    async fn process_commands(
        &self,
        as_of: DateTime<Utc>,
        handler: &(
             dyn Fn(ScheduledCommand) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync
         ),
    ) -> Result<()>;
}
