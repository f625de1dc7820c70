//! Statements on `sqlite_sequence`, in which SQLite keeps a counter for each table: the highest row number so
//! far. Row numbers and event positions are drawn from these counters. Any program can write to
//! `sqlite_sequence`, and no `CHECK` can be added to it.

use crate::request::Sql;

/// The highest row number that WFE accepts. It is far below the highest row number of SQLite, so that there
/// is always a next number.
macro_rules! most {
    () => {
        "4611686018427387904"
    };
}

/// The condition that a row of `sqlite_sequence` is a usable counter of this table.
macro_rules! sound {
    ($table:expr) => {
        concat!("name = ", $table, " AND typeof(seq) = 'integer' AND seq BETWEEN 0 AND ", most!())
    };
}

/// The tables that need a repair. One reason is a counter that is missing, duplicated, not an integer, too
/// high, or lower than the number of a row. The other reason is a row whose number is too high, in a table
/// whose rows may be renumbered. The statement makes one look-up at the end of each table.
pub(crate) const BROKEN: Sql<0> = Sql::new(concat!(
    "SELECT name FROM (\
       SELECT 'workflows' AS name, (SELECT max(seq) FROM workflows WHERE seq <= ",
    most!(),
    ") AS newest, 0 AS is_beyond \
       UNION ALL SELECT 'events', (SELECT max(seq) FROM events WHERE seq <= ",
    most!(),
    "), 0 \
       UNION ALL SELECT 'scheduled_commands', (SELECT max(seq) FROM scheduled_commands WHERE seq <= ",
    most!(),
    "), EXISTS (SELECT 1 FROM scheduled_commands WHERE seq > ",
    most!(),
    ") \
       UNION ALL SELECT 'execution_errors', (SELECT max(seq) FROM execution_errors WHERE seq <= ",
    most!(),
    "), EXISTS (SELECT 1 FROM execution_errors WHERE seq > ",
    most!(),
    ")) AS t \
     WHERE is_beyond \
       OR (SELECT count(*) FROM sqlite_sequence AS s WHERE s.name = t.name) <> (newest IS NOT NULL OR EXISTS (\
         SELECT 1 FROM sqlite_sequence AS s WHERE s.name = t.name)) \
       OR EXISTS (SELECT 1 FROM sqlite_sequence AS s WHERE s.name = t.name AND NOT (\
         typeof(s.seq) = 'integer' AND s.seq BETWEEN max(coalesce(newest, 0), 0) AND ",
    most!(),
    "))"
));

/// Among the failures whose number is too high, renumbers the first one. Its new number follows the highest
/// number that is not too high.
pub(crate) const RENUMBER_ERROR: Sql<0> = Sql::new(concat!(
    "UPDATE execution_errors SET seq = 1 + (SELECT coalesce(max(seq), 0) FROM execution_errors WHERE seq < ",
    most!(),
    ") WHERE seq = (SELECT min(seq) FROM execution_errors WHERE seq > ",
    most!(),
    ")"
));

/// Like `RENUMBER_ERROR`, but for scheduled commands. If a command is renumbered while a caller runs it, the
/// caller does not find the command afterwards, so the command runs once more.
pub(crate) const RENUMBER_COMMAND: Sql<0> = Sql::new(concat!(
    "UPDATE scheduled_commands SET seq = 1 + (SELECT coalesce(max(seq), 0) FROM scheduled_commands WHERE seq < ",
    most!(),
    ") WHERE seq = (SELECT min(seq) FROM scheduled_commands WHERE seq > ",
    most!(),
    ")"
));

/// Rebuilds the counter of a table from the highest known row number. The counter of `events` must also be at
/// least as high as every stored position: the positions of events, the positions that instances have reached
/// in their streams, and the start positions of instances and subscriptions.
macro_rules! make {
    ($table:literal, $others:expr) => {
        Sql::new(concat!(
            "INSERT INTO sqlite_sequence (name, seq) SELECT '",
            $table,
            "', max((SELECT coalesce(max(seq), 0) FROM ",
            $table,
            " WHERE seq <= ",
            most!(),
            "), (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE ",
            sound!(concat!("'", $table, "'")),
            ")",
            $others,
            ")"
        ))
    };
}

pub(crate) const MAKE_WORKFLOWS: Sql<0> = make!("workflows", "");
pub(crate) const MAKE_EVENTS: Sql<0> = make!(
    "events",
    concat!(
        ", (SELECT coalesce(max(position), 0) FROM events WHERE position <= ",
        most!(),
        "), (SELECT coalesce(max(consumed), 0) FROM event_subscriptions WHERE consumed <= ",
        most!(),
        "), (SELECT coalesce(max(born), 0) FROM event_subscriptions WHERE born <= ",
        most!(),
        "), (SELECT coalesce(max(born), 0) FROM workflows WHERE born <= ",
        most!(),
        ")"
    )
);
pub(crate) const MAKE_COMMANDS: Sql<0> = make!("scheduled_commands", "");
pub(crate) const MAKE_ERRORS: Sql<0> = make!("execution_errors", "");

/// Removes all counters of a table (bound twice) except the counter that was just rebuilt.
pub(crate) const CLEAR: Sql<2> = Sql::new(
    "DELETE FROM sqlite_sequence WHERE name = ? AND rowid < (SELECT max(rowid) FROM sqlite_sequence WHERE name = ?)",
);

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("BROKEN", BROKEN.text()),
    ("RENUMBER_ERROR", RENUMBER_ERROR.text()),
    ("RENUMBER_COMMAND", RENUMBER_COMMAND.text()),
    ("MAKE_WORKFLOWS", MAKE_WORKFLOWS.text()),
    ("MAKE_EVENTS", MAKE_EVENTS.text()),
    ("MAKE_COMMANDS", MAKE_COMMANDS.text()),
    ("MAKE_ERRORS", MAKE_ERRORS.text()),
    ("CLEAR", CLEAR.text()),
];
