//! Statements about the database as a whole: its size, its soundness, copies of it, and free space.

use crate::request::Sql;

/// The number of faults of one kind that a check reports at most, as SQLite's own checks do.
macro_rules! most {
    () => {
        "100"
    };
}

/// An upper bound of the number of rows of a table: rows may be missing between the first and the last number.
macro_rules! span {
    ($table:literal) => {
        concat!("coalesce((SELECT max(seq) FROM ", $table, ") - (SELECT min(seq) FROM ", $table, ") + 1, 0)")
    };
}

/// Pages of the database, of which free; the size of a page; and the mode in which free pages are returned: 2 if in steps.
pub(crate) const PAGES: Sql<0> = Sql::new(
    "SELECT p.page_count, f.freelist_count, s.page_size, a.auto_vacuum \
     FROM pragma_page_count AS p, pragma_freelist_count AS f, pragma_page_size AS s, pragma_auto_vacuum AS a",
);

/// How many rows the tables have. Those of instances that have not ended, and of unprocessed events, are counted, through an
/// index of their own.
pub(crate) const ROWS: Sql<0> = Sql::new(concat!(
    "SELECT (SELECT count(*) FROM workflows WHERE status = 'Runnable' OR status = 'Suspended'), ",
    span!("workflows"),
    ", ",
    span!("execution_pointers"),
    ", ",
    span!("events"),
    ", (SELECT count(*) FROM events WHERE is_processed = 0), ",
    span!("event_subscriptions"),
    ", ",
    span!("scheduled_commands"),
    ", ",
    span!("execution_errors")
));

/// Writes a copy of the database, as of one commit, to an empty file.
pub(crate) const COPY: Sql<1> = Sql::new("VACUUM INTO ?");

/// The number of instances.
pub(crate) const INSTANCES: Sql<0> = Sql::new("SELECT count(*) FROM workflows");

/// Returns free pages at the end of the file to the file system, and moves pages from there to free ones. As many pages as a
/// transaction of some milliseconds writes.
pub(crate) const RETURN_PAGES: Sql<0> = Sql::new("PRAGMA incremental_vacuum(128)");

/// Moves the log into the database, as far as that is possible without waiting.
pub(crate) const CHECKPOINT: Sql<0> = Sql::new("PRAGMA wal_checkpoint(PASSIVE)");
/// Moves the whole log into the database, and empties the log.
pub(crate) const TRUNCATE: Sql<0> = Sql::new("PRAGMA wal_checkpoint(TRUNCATE)");

/// The faults in the structure of the file.
pub(crate) const QUICK_CHECK: Sql<0> =
    Sql::new("SELECT quick_check FROM pragma_quick_check WHERE quick_check <> 'ok'");

/// The faults in the structure of the file, in the indexes and in the rules of the schema.
pub(crate) const INTEGRITY_CHECK: Sql<0> =
    Sql::new("SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'");

/// Pointers without an instance.
pub(crate) const LOST_POINTERS: Sql<0> = Sql::new(concat!(
    "SELECT 'execution_pointers, row ' || rowid || ': its instance is missing' FROM pragma_foreign_key_check LIMIT ",
    most!()
));

/// Open instances that have lost their live pointers.
pub(crate) const LOST_STEPS: Sql<0> = Sql::new(concat!(
    "SELECT 'workflows, row ' || id || ': it has not ended, and its live pointers are missing' FROM workflows \
     WHERE (status = 'Runnable' OR status = 'Suspended') AND begun = 1 \
     AND NOT EXISTS (SELECT 1 FROM execution_pointers AS p WHERE p.workflow = workflows.seq AND p.kind = 'live') LIMIT ",
    most!()
));

/// Open subscriptions of the engine that belong to no open instance.
pub(crate) const STRAY_SUBSCRIPTIONS: Sql<0> = Sql::new(concat!(
    "SELECT 'event_subscriptions, row ' || id || ': it is open, and its instance is missing or has ended' \
     FROM event_subscriptions AS s INDEXED BY event_subscriptions_waits \
     WHERE is_open = 1 AND substr(id, 1, length(workflow_id) + 2) = workflow_id || '//' AND NOT EXISTS (SELECT 1 \
       FROM workflows AS w WHERE w.id = s.workflow_id AND (w.status = 'Runnable' OR w.status = 'Suspended')) LIMIT ",
    most!()
));

/// Open subscriptions that wait for something that is not stored.
pub(crate) const UNSATISFIABLE: Sql<0> = Sql::new(concat!(
    "SELECT 'event_subscriptions, row ' || s.id || ': what it waits for is missing' \
     FROM event_subscriptions AS s INDEXED BY event_subscriptions_waits WHERE s.is_open = 1 AND s.answer <> '' \
     AND NOT EXISTS (SELECT 1 FROM events AS a WHERE a.id = s.answer) LIMIT ",
    most!()
));

/// Positions that were never given out.
pub(crate) const STRAY_POSITIONS: Sql<0> = Sql::new(concat!(
    "SELECT 'events, row ' || id || ': its position was never given out' FROM events WHERE position > ",
    last_position!(),
    " UNION ALL SELECT 'event_subscriptions, row ' || seq || ': its position was never given out' \
     FROM event_subscriptions WHERE kind = 'position' AND consumed > ",
    given_out!(),
    " LIMIT ",
    most!()
));

/// Values that are not JSON.
pub(crate) const NO_JSON: Sql<0> = Sql::new(concat!(
    "SELECT 'workflows, row ' || id || ': its data is not JSON' FROM workflows WHERE NOT json_valid(data) \
     UNION ALL SELECT 'events, row ' || id || ': its data is not JSON' FROM events WHERE NOT json_valid(event_data) \
     LIMIT ",
    most!()
));

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("PAGES", PAGES.text()),
    ("ROWS", ROWS.text()),
    ("COPY", COPY.text()),
    ("INSTANCES", INSTANCES.text()),
    ("RETURN_PAGES", RETURN_PAGES.text()),
    ("CHECKPOINT", CHECKPOINT.text()),
    ("TRUNCATE", TRUNCATE.text()),
    ("QUICK_CHECK", QUICK_CHECK.text()),
    ("INTEGRITY_CHECK", INTEGRITY_CHECK.text()),
    ("LOST_POINTERS", LOST_POINTERS.text()),
    ("LOST_STEPS", LOST_STEPS.text()),
    ("STRAY_SUBSCRIPTIONS", STRAY_SUBSCRIPTIONS.text()),
    ("UNSATISFIABLE", UNSATISFIABLE.text()),
    ("STRAY_POSITIONS", STRAY_POSITIONS.text()),
    ("NO_JSON", NO_JSON.text()),
];
