//! Statements on `scheduled_commands`.
//!
//! `generation` counts how often a command was scheduled. If a caller takes a command at one generation and later finds
//! another generation, the command was scheduled again meanwhile. While a command is taken, `again` holds the earliest
//! time that was requested since the command was taken. This time becomes the command's due time when a handler
//! succeeds. Until then the old due time stays, so that a crash makes the command due again. If two callers run the
//! same command, the command may run once more often than it was scheduled, but no scheduled run is lost.

use crate::request::Sql;

/// Schedules a command. If the command exists already, it keeps the earlier of the two times.
pub(crate) const SCHEDULE: Sql<3> = Sql::new(
    "INSERT INTO scheduled_commands (command_name, data, execute_time) VALUES (?, ?, ?) \
     ON CONFLICT (command_name, data) DO UPDATE SET generation = generation + 1, \
     execute_time = min(execute_time, excluded.execute_time), \
     again = iif(taken, min(coalesce(again, excluded.execute_time), excluded.execute_time), NULL)",
);

/// Reads a page of the commands that are due at a given time, ordered by due time and row number. The page begins after
/// a given due time and row number.
pub(crate) const DUE: Sql<4> = Sql::new(
    "SELECT seq, command_name, data, execute_time FROM scheduled_commands \
     WHERE execute_time <= ? AND (execute_time, seq) > (?, ?) ORDER BY execute_time, seq LIMIT ?",
);

/// Takes a command, if it is still due. Keeps the value of `again`: the command may have been scheduled again while
/// another handler ran, and that handler may still run or may have crashed.
pub(crate) const TAKE: Sql<2> = Sql::new(
    "UPDATE scheduled_commands SET taken = 1 WHERE seq = ? AND execute_time <= ? RETURNING generation, execute_time",
);

/// After a handler has succeeded: removes the command, unless it was scheduled again since this generation of it was
/// taken.
pub(crate) const REMOVE: Sql<2> =
    Sql::new("DELETE FROM scheduled_commands WHERE seq = ? AND generation = ? AND again IS NULL");

/// After a handler has succeeded: if the command was scheduled again meanwhile, makes it due at the earliest time that
/// was requested.
pub(crate) const RESCHEDULE: Sql<1> = Sql::new(
    "UPDATE scheduled_commands SET execute_time = again, again = NULL, taken = 0 WHERE seq = ? AND again IS NOT NULL",
);

/// After a handler has failed: makes the command available to other handlers again, at its earliest due time.
pub(crate) const GIVE_BACK: Sql<1> =
    Sql::new("UPDATE scheduled_commands SET taken = 0, again = NULL WHERE seq = ?");

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("SCHEDULE", SCHEDULE.text()),
    ("DUE", DUE.text()),
    ("TAKE", TAKE.text()),
    ("REMOVE", REMOVE.text()),
    ("RESCHEDULE", RESCHEDULE.text()),
    ("GIVE_BACK", GIVE_BACK.text()),
];
