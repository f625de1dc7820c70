use std::{future::Future, pin::Pin};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Result, models::ScheduledCommand};

/// What a [`CommandHandler`] returns.
pub type CommandFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What [`process_commands`](ScheduledCommandRepository::process_commands) runs for each due command.
pub type CommandHandler = dyn Fn(ScheduledCommand) -> CommandFuture + Send + Sync;

/// Wake-ups that outlive the process.
#[async_trait]
pub trait ScheduledCommandRepository: Send + Sync {
    /// Whether this store keeps commands. Where it does not, the other two methods fail.
    fn supports_scheduled_commands(&self) -> bool;

    /// Stores a command: one row for each name and data. Scheduling again keeps the *earlier* time, so that a wake-up
    /// is never delayed or lost.
    async fn schedule_command(&self, command: &ScheduledCommand) -> Result<()>;

    /// Runs `handler` for every command with `execute_time <= as_of`, in time order, each committed by itself.
    ///
    /// While its handler runs, a command counts as taken: scheduled anew meanwhile it stays, with the earliest time
    /// asked for since the handler started; otherwise `Ok` removes it. A handler's `Err` leaves its command in place
    /// and the others still run. Nothing is held locked while a handler runs: it may call the same store. Two callers
    /// may both run a command, and after a crash or a dropped future it is due again at its old time.
    ///
    /// # Errors
    /// The first error of a handler, after all have run; or the store's own error, which ends the run at once. What
    /// ran before either stays done.
    async fn process_commands(
        &self,
        as_of: DateTime<Utc>,
        handler: &(
             dyn Fn(ScheduledCommand) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync
         ),
    ) -> Result<()>;
}
