//! Statements on `events`.
//!
//! The events of one name and key form a stream, in the order in which they become due. The column `position`
//! stores this order. Positions are drawn from the counter of `events.seq`, so they only grow and are never
//! reused. An event that is due already gets its position when it is stored. Any other event gets its position
//! from the first write after its due time (`DRAW_POSITIONS` and `GIVE_POSITIONS`). These two statements nearly
//! always find nothing to do, and the index `events_unripe` shows this quickly.
//!
//! The column `wanted` is 1 for events that an open subscription may need, so that the search for matching
//! events does not scan all other events. The column is also 1 for every processed event, so that marking a
//! processed event as unprocessed requires no further change. The column `timely` is 1 for events that were not
//! backdated. (The names of columns and indexes are stored in every database file; the documentation explains
//! what they mean.)

use crate::request::Sql;

/// The model's columns, in the order in which the codec reads them.
macro_rules! model {
    () => {
        "id, event_name, event_key, event_data, event_time, is_processed"
    };
}

/// The name of the column of the event `e` that holds an impossible value, or NULL if no column does.
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

/// Inserts a new event, with its number and its position.
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

/// Draws a position for each event that has become due by this time (bound twice).
pub(crate) const DRAW_POSITIONS: Sql<2> = Sql::new(
    "UPDATE sqlite_sequence SET seq = seq + (SELECT count(*) FROM events WHERE position IS NULL AND event_time <= ?) \
     WHERE name = 'events' AND EXISTS (SELECT 1 FROM events WHERE position IS NULL AND event_time <= ?)",
);

/// Assigns the positions that were drawn, in order of time. From then on, an unprocessed event is `wanted` only
/// if an open subscription has its name and key.
pub(crate) const GIVE_POSITIONS: Sql<1> = Sql::new(
    "UPDATE events SET position = due.position, wanted = is_processed OR EXISTS (\
       SELECT 1 FROM event_subscriptions AS s WHERE s.is_open = 1 \
       AND s.event_name = events.event_name AND s.event_key = events.event_key) FROM (\
       SELECT seq, (SELECT seq FROM sqlite_sequence WHERE name = 'events') \
         - count(*) OVER () + row_number() OVER (ORDER BY event_time, seq) AS position \
       FROM events WHERE position IS NULL AND event_time <= ?) AS due \
     WHERE events.seq = due.seq",
);

/// Whether an event without a position has become due by this time.
pub(crate) const HAS_UNPOSITIONED: Sql<1> =
    Sql::new("SELECT EXISTS (SELECT 1 FROM events WHERE position IS NULL AND event_time <= ?)");

/// The earliest timestamp after this time of an event that is not due yet.
pub(crate) const NEXT_UPCOMING: Sql<1> =
    Sql::new("SELECT min(event_time) FROM events WHERE position IS NULL AND event_time > ?");

/// Guard: no event has this id.
pub(crate) const ID_IS_FREE: Sql<1> = Sql::new(guard!("NOT EXISTS (SELECT 1 FROM events WHERE id = ?)"));

/// Guard: no event of another name or key (second and third) has this id.
pub(crate) const ID_IS_FREE_FOR: Sql<3> = Sql::new(guard!(
    "NOT EXISTS (SELECT 1 FROM events WHERE id = ? AND (event_name <> ? OR event_key <> ?))"
));

/// Inserts a new event. The first three arguments say whether the event is due, whether it was not backdated,
/// and whether it was published without a timestamp. Then follows the model. This statement runs after the two
/// that give positions to events that became due earlier. An event that is not due yet counts as `wanted` until
/// it becomes due.
pub(crate) const INSERT: Sql<9> = Sql::new(new!());

/// Like `INSERT`, but inserts nothing if the id (last) exists.
pub(crate) const INSERT_UNLESS: Sql<10> =
    Sql::new(concat!(new!(), " WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = ?)"));

/// One event.
pub(crate) const LOAD: Sql<1> =
    Sql::new(concat!("SELECT ", model!(), ", ", fault!(), " FROM events AS e WHERE id = ?"));

/// The ids of the unprocessed events up to a time, oldest first, each with its `fault`.
pub(crate) const UNPROCESSED: Sql<1> = Sql::new(concat!(
    "SELECT id, ",
    fault!(),
    " FROM events AS e WHERE is_processed = 0 AND event_time <= ? ORDER BY event_time, seq"
));

/// The ids of the events of a name and key up to a time, oldest first, each with its `fault`.
pub(crate) const OF_STREAM: Sql<3> = Sql::new(concat!(
    "SELECT id, ",
    fault!(),
    " FROM events AS e WHERE event_name = ? AND event_key = ? AND event_time <= ? ORDER BY event_time, seq"
));

/// Guard: an event has this id.
pub(crate) const EXISTS: Sql<1> = Sql::new(guard!("EXISTS (SELECT 1 FROM events WHERE id = ?)"));

/// Marks an event as processed or unprocessed. An event that already has this mark is not written.
pub(crate) const MARK: Sql<3> =
    Sql::new("UPDATE events SET is_processed = ?, wanted = 1 WHERE id = ? AND is_processed <> ?");

/// The early-event rule: marks the oldest event of a name and key, from a time on, as unprocessed again.
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
    ("LOAD", LOAD.text()),
    ("UNPROCESSED", UNPROCESSED.text()),
    ("OF_STREAM", OF_STREAM.text()),
    ("EXISTS", EXISTS.text()),
    ("MARK", MARK.text()),
    ("REVIVE_OLDEST", REVIVE_OLDEST.text()),
];
