//! Statements on `scheduled_commands`.
//!
//! `generation` counts schedulings: a caller that took a command at one generation and finds another one knows
//! that it was scheduled again. While a command is taken, `again` collects the earliest time requested since;
//! that becomes the command's time when a handler succeeds. Until then the old time stays, so that a crash
//! makes the command due again. If two callers run one command, a doubtful case makes it run once more, never
//! once less.

use crate::request::Sql;

/// Schedules; an existing command keeps the earlier time.
pub(crate) const SCHEDULE: Sql<3> = Sql::new(
    "INSERT INTO scheduled_commands (command_name, data, execute_time) VALUES (?, ?, ?) \
     ON CONFLICT (command_name, data) DO UPDATE SET generation = generation + 1, \
     execute_time = min(execute_time, excluded.execute_time), \
     again = iif(taken, min(coalesce(again, excluded.execute_time), excluded.execute_time), NULL)",
);

/// A page of the commands due by a time, in order of (time, row), after those before (time, row).
pub(crate) const DUE: Sql<4> = Sql::new(
    "SELECT seq, command_name, data, execute_time FROM scheduled_commands \
     WHERE execute_time <= ? AND (execute_time, seq) > (?, ?) ORDER BY execute_time, seq LIMIT ?",
);

/// Takes a command, if it is still due. The value of `again` from another handler, running or dead, stays.
pub(crate) const TAKE: Sql<2> = Sql::new(
    "UPDATE scheduled_commands SET taken = 1 WHERE seq = ? AND execute_time <= ? RETURNING generation, execute_time",
);

/// After a handler that succeeded: a command not scheduled since it was taken at this generation is done.
pub(crate) const REMOVE: Sql<2> =
    Sql::new("DELETE FROM scheduled_commands WHERE seq = ? AND generation = ? AND again IS NULL");

/// After a handler that succeeded: a command scheduled since is due at the earliest time requested since.
pub(crate) const RESCHEDULE: Sql<1> = Sql::new(
    "UPDATE scheduled_commands SET execute_time = again, again = NULL, taken = 0 WHERE seq = ? AND again IS NOT NULL",
);

/// After a handler that failed: the command stays, at its earliest time.
pub(crate) const GIVE_BACK: Sql<1> =
    Sql::new("UPDATE scheduled_commands SET taken = 0, again = NULL WHERE seq = ?");

/// All of them, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("SCHEDULE", SCHEDULE.text()),
    ("DUE", DUE.text()),
    ("TAKE", TAKE.text()),
    ("REMOVE", REMOVE.text()),
    ("RESCHEDULE", RESCHEDULE.text()),
    ("GIVE_BACK", GIVE_BACK.text()),
];
