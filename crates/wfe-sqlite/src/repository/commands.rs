//! Implements [`ScheduledCommandRepository`].

use std::{collections::HashSet, future::Future, pin::Pin};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe_core::{Result, models::ScheduledCommand, traits::ScheduledCommandRepository};

use crate::{
    SqlitePersistenceProvider,
    codec::{self, time},
    error,
    request::{Done, Script},
    sql,
};

/// The number of commands that are read at a time. The limit keeps memory from growing with the number of due
/// commands.
const PAGE: u32 = 256;

#[async_trait]
impl ScheduledCommandRepository for SqlitePersistenceProvider {
    fn supports_scheduled_commands(&self) -> bool {
        true
    }

    async fn schedule_command(&self, command: &ScheduledCommand) -> Result<()> {
        let mut script = Script::about(&command.data);
        script.add(&sql::commands::SCHEDULE, codec::command::encode(command));
        self.writer.run(script).await?;
        Ok(())
    }

    async fn process_commands(
        &self,
        as_of: DateTime<Utc>,
        handler: &(
             dyn Fn(ScheduledCommand) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync
         ),
    ) -> Result<()> {
        let as_of = time::millis_bound(as_of);
        // If a handler schedules its own command again, and that command is due at once, the command waits for
        // the next call.
        let (mut seen, mut after, mut first_error) = (HashSet::new(), (i64::MIN, i64::MIN), None);
        // The end of a command is written together with the claim of the next command. So there is one commit
        // for each command.
        let mut pending = Script::default();
        loop {
            let mut due = Script::default();
            due.add(&sql::commands::DUE, [as_of.into(), after.0.into(), after.1.into(), PAGE.into()]);
            let page = self.page(due, PAGE as usize, codec::command::cursor, codec::command::decode).await;
            let (commands, last) = self.named(page)?;
            after = last.unwrap_or(after);
            for (seq, mut command) in commands {
                if !seen.insert(seq) {
                    continue;
                }
                let mut script = std::mem::take(&mut pending);
                let take = script.add(&sql::commands::TAKE, [seq.into(), as_of.into()]);
                let done = self.writer.run(script).await?;
                let Some((generation, execute_time)) = self.named(taken(done.get(take), seq))? else {
                    continue;
                };
                command.execute_time = execute_time;
                match handler(command).await {
                    Ok(()) => {
                        pending.add(&sql::commands::REMOVE, [seq.into(), generation.into()]);
                        pending.add(&sql::commands::RESCHEDULE, [seq.into()]);
                    }
                    Err(error) => {
                        first_error.get_or_insert(error);
                        pending.add(&sql::commands::GIVE_BACK, [seq.into()]);
                    }
                }
            }
            if last.is_none() {
                break;
            }
        }
        if !pending.statements.is_empty() {
            self.writer.run(pending).await?;
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// The generation and the due time of a command that was just taken. `None` means that the command is gone, or is no
/// longer due.
fn taken(done: Option<&Done>, seq: i64) -> Result<Option<(i64, i64)>> {
    let Some(row) = done.and_then(|done| done.rows.first()) else { return Ok(None) };
    let column = |at: usize, name| {
        row.get(at).map_err(|source| {
            error::corrupt(
                "scheduled_commands",
                name,
                &seq.to_string(),
                "it is not a number",
                Some(Box::new(source)),
            )
        })
    };
    Ok(Some((column(0, "generation")?, column(1, "execute_time")?)))
}
