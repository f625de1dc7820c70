//! Statements on `events`.
//!
//! The events of one name and key form a stream, in the order in which they become due. The column `position`
//! stores this order. Positions are drawn from the counter of `events.seq`, so they only grow and are never
//! reused. An event that is already due when it is stored gets its position at once. Any other event gets its
//! position from the first write after its due time (`DRAW_POSITIONS` and `GIVE_POSITIONS`). Nearly always,
//! no event is waiting for a position. The first statement finds this out quickly by the index
//! `events_unripe`, and the second one then does not run.
//!
//! The column `wanted` is 1 for each event that an open subscription may need, so that the search for
//! matching events can skip the other events. The column is also 1 for each processed event. If a processed
//! event is marked as unprocessed again, `wanted` therefore has the right value already. The column `timely`
//! is 1 for events that were not backdated. (The names of the columns and indexes cannot be improved, because
//! every database file contains them. This documentation explains what they mean.)

use crate::request::Sql;

/// The model's columns, in the order in which the codec reads them.
macro_rules! model {
    () => {
        "id, event_name, event_key, event_data, event_time, is_processed"
    };
}

/// The name of a column that holds an impossible value in the row of the event `e`, or NULL if there is no
/// such column.
macro_rules! fault {
    () => {
        concat!(
            "CASE WHEN e.position NOT BETWEEN 1 AND ",
            given_out!(),
            " THEN 'position' WHEN e.timely NOT IN (0, 1) THEN 'timely' END"
        )
    };
}

pub(crate) use fault;

/// Inserts a new event, with its number, and with its position if the event is due.
macro_rules! new {
    () => {
        concat!(
            "INSERT INTO events (seq, position, wanted, timely, undated, ",
            model!(),
            ") SELECT number, iif(is_due, number, NULL), \
               iif(is_due AND NOT is_done, EXISTS (SELECT 1 FROM event_subscriptions AS s WHERE s.is_open = 1 \
                 AND s.event_name = new_name AND s.event_key = new_key), 1), \
               is_timely, is_undated, new_id, new_name, new_key, new_data, new_time, is_done \
             FROM (SELECT 1 + ",
            last_position!(),
            " AS number, ? AS is_due, ? AS is_timely, ? AS is_undated, ? AS new_id, ? AS new_name, ? AS new_key, ? AS new_data, ? AS new_time, ? AS is_done)"
        )
    };
}

/// Draws as many positions as there are events that have become due by this time (bound twice) and have no
/// position yet.
pub(crate) const DRAW_POSITIONS: Sql<2> = Sql::new(
    "UPDATE sqlite_sequence SET seq = seq + (SELECT count(*) FROM events WHERE position IS NULL AND event_time <= ?) \
     WHERE name = 'events' AND EXISTS (SELECT 1 FROM events WHERE position IS NULL AND event_time <= ?)",
);

/// Runs if `DRAW_POSITIONS` has drawn positions. Assigns them to the events, in the order of their timestamps. From then on, an
/// unprocessed event is `wanted` only if there is an open subscription to the name and key of the event.
pub(crate) const GIVE_POSITIONS: Sql<1> = Sql::new(
    "UPDATE events SET position = due.position, wanted = is_processed OR EXISTS (\
       SELECT 1 FROM event_subscriptions AS s WHERE s.is_open = 1 \
       AND s.event_name = events.event_name AND s.event_key = events.event_key) FROM (\
       SELECT seq, (SELECT seq FROM sqlite_sequence WHERE name = 'events') \
         - count(*) OVER () + row_number() OVER (ORDER BY event_time, seq) AS position \
       FROM events WHERE position IS NULL AND event_time <= ?) AS due \
     WHERE events.seq = due.seq",
);

/// Returns whether some event that has become due by this time has no position yet.
pub(crate) const HAS_UNPOSITIONED: Sql<1> =
    Sql::new("SELECT EXISTS (SELECT 1 FROM events WHERE position IS NULL AND event_time <= ?)");

/// Among the events that have no position yet, returns the earliest timestamp that is later than this time.
pub(crate) const NEXT_UPCOMING: Sql<1> =
    Sql::new("SELECT min(event_time) FROM events WHERE position IS NULL AND event_time > ?");

/// Guard: no event has this id.
pub(crate) const ID_IS_FREE: Sql<1> = Sql::new(guard!("NOT EXISTS (SELECT 1 FROM events WHERE id = ?)"));

/// Guard: no event has this id (first argument), except possibly an event of this name and key (second and
/// third).
pub(crate) const ID_IS_FREE_FOR: Sql<3> = Sql::new(guard!(
    "NOT EXISTS (SELECT 1 FROM events WHERE id = ? AND (event_name <> ? OR event_key <> ?))"
));

/// Inserts a new event. The first three arguments say whether the event is due, whether it was not backdated,
/// and whether it was published without a timestamp. The columns of the model follow. This statement runs
/// after `DRAW_POSITIONS` and `GIVE_POSITIONS`, so that events that became due earlier get lower positions.
/// An event that is not due yet counts as `wanted` until it becomes due.
pub(crate) const INSERT: Sql<9> = Sql::new(new!());

/// Like `INSERT`, but inserts nothing if an event with this id (last argument) exists already.
pub(crate) const INSERT_UNLESS: Sql<10> =
    Sql::new(concat!(new!(), " WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = ?)"));

/// Like `INSERT`, but inserts nothing if an event with this id (next argument) exists already, or if the event is meant
/// for one instance (last two arguments; otherwise NULL) and this instance is unknown or has ended.
pub(crate) const PUBLISH: Sql<12> = Sql::new(concat!(
    new!(),
    " WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = ?) AND (? IS NULL OR EXISTS (\
       SELECT 1 FROM workflows WHERE id = ? AND status IN ('Runnable', 'Suspended')))"
));

/// One event.
pub(crate) const LOAD: Sql<1> =
    Sql::new(concat!("SELECT ", model!(), ", ", fault!(), " FROM events AS e WHERE id = ?"));

/// Reads the ids of the unprocessed events whose timestamp is not after a given time, oldest first, and the
/// `fault` of each event.
pub(crate) const UNPROCESSED: Sql<1> = Sql::new(concat!(
    "SELECT id, ",
    fault!(),
    " FROM events AS e WHERE is_processed = 0 AND event_time <= ? ORDER BY event_time, seq"
));

/// Reads the ids of the events of a name and key whose timestamp is not after a given time, oldest first, and
/// the `fault` of each event.
pub(crate) const OF_STREAM: Sql<3> = Sql::new(concat!(
    "SELECT id, ",
    fault!(),
    " FROM events AS e WHERE event_name = ? AND event_key = ? AND event_time <= ? ORDER BY event_time, seq"
));

/// Guard: an event has this id.
pub(crate) const EXISTS: Sql<1> = Sql::new(guard!("EXISTS (SELECT 1 FROM events WHERE id = ?)"));

/// Marks an event as processed or unprocessed. The row is not written if the event already has this mark.
pub(crate) const MARK: Sql<3> =
    Sql::new("UPDATE events SET is_processed = ?, wanted = 1 WHERE id = ? AND is_processed <> ?");

/// Implements the early-event rule: among the events of a name and key whose timestamp is not before a given
/// time, marks the oldest event as unprocessed again.
pub(crate) const REVIVE_OLDEST: Sql<3> = Sql::new(
    "UPDATE events SET is_processed = 0, wanted = 1 WHERE is_processed = 1 AND seq = (SELECT seq FROM events \
     WHERE event_name = ? AND event_key = ? AND event_time >= ? ORDER BY event_time, seq LIMIT 1)",
);

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("DRAW_POSITIONS", DRAW_POSITIONS.text()),
    ("GIVE_POSITIONS", GIVE_POSITIONS.text()),
    ("HAS_UNPOSITIONED", HAS_UNPOSITIONED.text()),
    ("NEXT_UPCOMING", NEXT_UPCOMING.text()),
    ("ID_IS_FREE", ID_IS_FREE.text()),
    ("ID_IS_FREE_FOR", ID_IS_FREE_FOR.text()),
    ("INSERT", INSERT.text()),
    ("INSERT_UNLESS", INSERT_UNLESS.text()),
    ("PUBLISH", PUBLISH.text()),
    ("LOAD", LOAD.text()),
    ("UNPROCESSED", UNPROCESSED.text()),
    ("OF_STREAM", OF_STREAM.text()),
    ("EXISTS", EXISTS.text()),
    ("MARK", MARK.text()),
    ("REVIVE_OLDEST", REVIVE_OLDEST.text()),
];
