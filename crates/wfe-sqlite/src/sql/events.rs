//! Statements on `events`.
//!
//! The events of one name and key are a stream, in the order in which they become due. `position` is that
//! order. It is drawn from the counter of `events.seq`, so that it only grows and is never reused: either when
//! the event is stored (if it is due already), or by the first write after its date: `DRAW_POSITIONS` and
//! `GIVE_POSITIONS`, which nearly always find nothing to do, through the index `events_unripe`.
//!
//! The column `wanted` is 1 for events that an open subscription may need: it keeps the search for matching
//! events from scanning the others. It is 1 for every processed event too, so that marking one as unprocessed
//! needs nothing more. The column `timely` is 1 for events that were not backdated. (Names of columns and
//! indexes are in every database file; the docs say what they mean.)

use crate::request::Sql;

/// The model's columns, in the order in which the codec reads them.
macro_rules! model {
    () => {
        "id, event_name, event_key, event_data, event_time, is_processed"
    };
}

/// The column of the event `e` with an impossible value; NULL: none.
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

/// A new row, with its number and its position.
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

/// Draws a position for each event that has become due by this time (twice).
pub(crate) const DRAW_POSITIONS: Sql<2> = Sql::new(
    "UPDATE sqlite_sequence SET seq = seq + (SELECT count(*) FROM events WHERE position IS NULL AND event_time <= ?) \
     WHERE name = 'events' AND EXISTS (SELECT 1 FROM events WHERE position IS NULL AND event_time <= ?)",
);

/// Gives them out, in order of time. From now on such an event is `wanted` only if an open subscription has its
/// name and key.
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

/// The date, after a time, of the next event that is not due yet.
pub(crate) const NEXT_UPCOMING: Sql<1> =
    Sql::new("SELECT min(event_time) FROM events WHERE position IS NULL AND event_time > ?");

/// Guard: no event has this id.
pub(crate) const ID_IS_FREE: Sql<1> = Sql::new(guard!("NOT EXISTS (SELECT 1 FROM events WHERE id = ?)"));

/// Guard: no event of another name or key (second and third) has this id.
pub(crate) const ID_IS_FREE_FOR: Sql<3> = Sql::new(guard!(
    "NOT EXISTS (SELECT 1 FROM events WHERE id = ? AND (event_name <> ? OR event_key <> ?))"
));

/// A new event: first whether it is due, whether it was not backdated, and whether it was undated, then the
/// model. It comes after the two statements that give positions to events that were due before it. One that is
/// not due counts as `wanted` until it is.
pub(crate) const INSERT: Sql<9> = Sql::new(new!());

/// As `INSERT`; nothing is inserted if the id (last) exists.
pub(crate) const INSERT_UNLESS: Sql<10> =
    Sql::new(concat!(new!(), " WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = ?)"));

/// One event.
pub(crate) const LOAD: Sql<1> =
    Sql::new(concat!("SELECT ", model!(), ", ", fault!(), " FROM events AS e WHERE id = ?"));

/// Ids of unprocessed events up to a time, oldest first, and the faults of these.
pub(crate) const UNPROCESSED: Sql<1> = Sql::new(concat!(
    "SELECT id, ",
    fault!(),
    " FROM events AS e WHERE is_processed = 0 AND event_time <= ? ORDER BY event_time, seq"
));

/// Ids of the events of a name and key up to a time, oldest first, and the faults of these.
pub(crate) const OF_STREAM: Sql<3> = Sql::new(concat!(
    "SELECT id, ",
    fault!(),
    " FROM events AS e WHERE event_name = ? AND event_key = ? AND event_time <= ? ORDER BY event_time, seq"
));

/// Guard: an event has this id.
pub(crate) const EXISTS: Sql<1> = Sql::new(guard!("EXISTS (SELECT 1 FROM events WHERE id = ?)"));

/// Marks an event; one that is marked already is not written.
pub(crate) const MARK: Sql<3> =
    Sql::new("UPDATE events SET is_processed = ?, wanted = 1 WHERE id = ? AND is_processed <> ?");

/// The early-event rule: the oldest event of a name and key from a time on becomes unprocessed again.
pub(crate) const REVIVE_OLDEST: Sql<3> = Sql::new(
    "UPDATE events SET is_processed = 0, wanted = 1 WHERE is_processed = 1 AND seq = (SELECT seq FROM events \
     WHERE event_name = ? AND event_key = ? AND event_time >= ? ORDER BY event_time, seq LIMIT 1)",
);

/// All of them, for the tests.
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
