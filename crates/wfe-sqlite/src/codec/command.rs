//! Conversion of rows of the table `scheduled_commands`.

use wfe_core::{Result, models::ScheduledCommand};

use super::{Fields, names};
use crate::{request::Value, row::Row};

/// The values of the columns of a command, in the order in which `sql::commands` names the columns.
pub(crate) fn encode(command: &ScheduledCommand) -> [Value; 3] {
    [names::command(command.command_name), (&command.data).into(), command.execute_time.into()]
}

/// The position of a command in the order of due times: its time and its row number.
pub(crate) fn cursor(row: Row<'_>) -> Result<(i64, i64)> {
    let mut fields = Fields::new(row, "scheduled_commands", "");
    let seq = fields.int("seq")?;
    fields.skip();
    fields.skip();
    Ok((fields.int("execute_time")?, seq))
}

/// A command with its row number.
pub(crate) fn decode(row: Row<'_>) -> Result<(i64, ScheduledCommand)> {
    let mut fields = Fields::new(row, "scheduled_commands", "");
    let seq = fields.int("seq")?;
    let row_name = seq.to_string();
    let mut fields = Fields::new(row, "scheduled_commands", &row_name);
    fields.skip();
    let command = ScheduledCommand {
        command_name: fields.name("command_name", names::as_command)?,
        data: fields.string("data")?,
        execute_time: fields.int("execute_time")?,
    };
    Ok((seq, command))
}
