//! Statements on `sqlite_sequence`, where SQLite keeps the highest number of each table: numbers and positions
//! are drawn from it. Any program may write to it, and it can have no CHECK.

use crate::request::Sql;

/// The highest number that a row may have: far below the limit of SQLite, so that there is always a next one.
macro_rules! most {
    () => {
        "4611686018427387904"
    };
}

/// The usable numbers in `sqlite_sequence` for this table.
macro_rules! sound {
    ($table:expr) => {
        concat!("name = ", $table, " AND typeof(seq) = 'integer' AND seq BETWEEN 0 AND ", most!())
    };
}

/// The tables whose counter is missing, duplicated, not a number, or lower than that of a row; and the tables
/// whose rows may be renumbered and have one that leaves no next number. One look-up at the end of each table.
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

/// Renumbers the first failure whose number leaves no next one, after the others.
pub(crate) const RENUMBER_ERROR: Sql<0> = Sql::new(concat!(
    "UPDATE execution_errors SET seq = 1 + (SELECT coalesce(max(seq), 0) FROM execution_errors WHERE seq < ",
    most!(),
    ") WHERE seq = (SELECT min(seq) FROM execution_errors WHERE seq > ",
    most!(),
    ")"
));

/// As `RENUMBER_ERROR`, for commands. A caller that runs such a command does not find it afterwards, so it runs
/// once more.
pub(crate) const RENUMBER_COMMAND: Sql<0> = Sql::new(concat!(
    "UPDATE scheduled_commands SET seq = 1 + (SELECT coalesce(max(seq), 0) FROM scheduled_commands WHERE seq < ",
    most!(),
    ") WHERE seq = (SELECT min(seq) FROM scheduled_commands WHERE seq > ",
    most!(),
    ")"
));

/// Rebuilds the counter of a table: the highest known number. For events, positions count too: those that
/// subscriptions have reached, and the start positions of instances and subscriptions. The next position must
/// come after all of them.
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

/// Removes all counters of a table (first) except the one that was just rebuilt.
pub(crate) const CLEAR: Sql<2> = Sql::new(
    "DELETE FROM sqlite_sequence WHERE name = ? AND rowid < (SELECT max(rowid) FROM sqlite_sequence WHERE name = ?)",
);

/// All of them, for the tests.
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
