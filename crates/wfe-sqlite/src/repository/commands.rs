//! [`ScheduledCommandRepository`].

use std::{collections::HashSet, future::Future, pin::Pin};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use wfe_core::{Result, models::ScheduledCommand, traits::ScheduledCommandRepository};

use crate::{
    SqlitePersistenceProvider,
    codec::{self, time},
    error,
    script::{Done, Script},
    sql,
};

/// Commands read at a time: so that memory does not grow with their number.
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
        // A command scheduled anew by its own handler, due at once, waits for the next call.
        let (mut seen, mut after, mut first_error) = (HashSet::new(), (i64::MIN, i64::MIN), None);
        // What is left to write of the command before goes with the taking of the next: one commit a command.
        let mut pending = Script::default();
        loop {
            let page = self.due(as_of, after).await?;
            after = page.last.unwrap_or(after);
            for (seq, mut command) in page.commands {
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
            if page.last.is_none() {
                break;
            }
        }
        if !pending.statements.is_empty() {
            self.writer.run(pending).await?;
        }
        first_error.map_or(Ok(()), Err)
    }
}

impl SqlitePersistenceProvider {
    async fn due(&self, as_of: i64, after: (i64, i64)) -> Result<Due> {
        let mut script = Script::default();
        script.add(&sql::commands::DUE, [as_of.into(), after.0.into(), after.1.into(), PAGE.into()]);
        let done = self.read(script).await?;
        let rows = || done.iter().flat_map(|done| &done.rows);
        // By the last one that was read, whether it decodes or not: those behind it are due in either case.
        let last = rows().last().filter(|_| rows().count() == PAGE as usize).map(codec::command::place);
        Ok(Due {
            commands: self.sound(rows().map(codec::command::decode))?,
            last: self.named(last.transpose())?,
        })
    }
}

/// A page of due commands.
struct Due {
    commands: Vec<(i64, ScheduledCommand)>,
    /// Where the next page begins; `None`: this is the last one.
    last: Option<(i64, i64)>,
}

/// Generation and time of a command just taken; `None`: it is gone, or no longer due.
fn taken(done: Option<&Done>, seq: i64) -> Result<Option<(i64, i64)>> {
    let Some(row) = done.and_then(|done| done.rows.first()) else { return Ok(None) };
    let column = |at: usize, name| {
        row.try_get(at).map_err(|source| {
            error::corrupt(
                "scheduled_commands",
                name,
                &seq.to_string(),
                "it is no number",
                Some(Box::new(source)),
            )
        })
    };
    Ok(Some((column(0, "generation")?, column(1, "execute_time")?)))
}
