use std::{future::Future, pin::Pin};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, models::ScheduledCommand};

/// What a [`CommandHandler`] returns.
pub type CommandFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What [`process_commands`](ScheduledCommandRepository::process_commands) runs for each due command.
pub type CommandHandler = dyn Fn(ScheduledCommand) -> CommandFuture + Send + Sync;

/// Scheduled commands: wake-ups that outlive the process.
#[async_trait]
pub trait ScheduledCommandRepository: Send + Sync {
    /// Whether this store keeps commands. If not, the other two methods fail.
    fn supports_scheduled_commands(&self) -> bool;

    /// Stores a command: one row for each name and data. If it is stored already, the *earlier* time stays, so
    /// that a wake-up is never delayed or lost.
    async fn schedule_command(&self, command: &ScheduledCommand) -> Result<()>;

    /// Runs `handler` for every command with `execute_time <= as_of`, in order of time, and commits each
    /// command by itself.
    ///
    /// `Ok` of the handler removes its command, unless it was scheduled again while the handler ran: then it
    /// stays, with the earliest time requested since the handler began. `Err` leaves the command in place, and
    /// the others still run. The store holds no lock while a handler runs, so the handler may call the same
    /// store. Two callers may both run a command. After a crash or a dropped future it is due again at its old
    /// time.
    ///
    /// # Errors
    /// The first error of a handler, after all have run; or the store's own error, which stops at once.
    /// Commands that ran before stay removed.
    async fn process_commands(
        &self,
        as_of: DateTime<Utc>,
        handler: &(
             dyn Fn(ScheduledCommand) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync
         ),
    ) -> Result<()>;
}
